package wsclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// reader takes frames from the bytes that came. An incomplete frame stays, so that a read that ran out of time can go on.
type reader struct {
	b       []byte // came, and not read yet from off on
	off     int
	op      ws.OpCode // of the fragmented message in hand, 0 if there is none
	message []byte

	header [ws.MaxHeaderSize]byte // room for ws.ReadHeaderBuffer
	bytes  bytes.Reader
}

const (
	firstBuffer = 512      // thousands of tabs are mostly idle
	maxFrame    = 64 << 20 // more is a broken length
)

// take takes the next frame, or message put together, from what is there. Without one, op is 0.
func (r *reader) take() (op ws.OpCode, payload []byte, err error) {
	for {
		h, payload, err := r.next()
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return 0, nil, nil
		case err != nil:
			return 0, nil, fmt.Errorf("the server broke the protocol: %w", err)
		case h.OpCode == ws.OpClose && (len(payload) == 1 || !utf8.Valid(payload[min(2, len(payload)):])):
			return 0, nil, fmt.Errorf("the server broke the protocol: a close frame with %q", payload)
		case h.OpCode.IsControl():
			return h.OpCode, payload, nil
		}
		op, payload, ok := r.assemble(h, payload)
		switch {
		case !ok:
		case op == ws.OpText && !utf8.Valid(payload):
			return 0, nil, fmt.Errorf("the server broke the protocol: %.100q is not UTF-8", payload)
		default:
			return op, payload, nil
		}
	}
}

// next takes a frame from what is there; io.ErrUnexpectedEOF if it is not wholly there.
func (r *reader) next() (ws.Header, []byte, error) {
	r.bytes.Reset(r.b[r.off:])
	h, err := ws.ReadHeaderBuffer(&r.bytes, r.header[:])
	switch {
	case err == io.EOF:
		return h, nil, io.ErrUnexpectedEOF
	case err != nil:
		return h, nil, err
	}
	state := ws.StateClientSide
	if r.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return h, nil, err
	}
	if h.Length > maxFrame {
		return h, nil, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	from := len(r.b) - r.bytes.Len()
	if from-r.off != ws.HeaderSize(h) {
		return h, nil, errors.New("a length not in its shortest form")
	}
	end := from + int(h.Length)
	if end > len(r.b) {
		return h, nil, io.ErrUnexpectedEOF
	}
	r.off = end
	return h, r.b[from:end], nil
}

// assemble puts fragments together; ok tells that the message is complete.
func (r *reader) assemble(h ws.Header, payload []byte) (op ws.OpCode, message []byte, ok bool) {
	if h.Fin && h.OpCode != ws.OpContinuation {
		return h.OpCode, payload, true
	}
	if h.OpCode != ws.OpContinuation {
		r.op, r.message = h.OpCode, nil
	}
	r.message = append(r.message, payload...)
	if !h.Fin {
		return 0, nil, false
	}
	op, r.op = r.op, 0
	return op, r.message, true
}

// room returns where the next bytes from the socket go: behind what is there.
func (r *reader) room() []byte {
	if r.off > 0 {
		r.b = r.b[:copy(r.b, r.b[r.off:])]
		r.off = 0
	}
	if len(r.b) == cap(r.b) {
		r.b = append(make([]byte, 0, max(firstBuffer, 2*cap(r.b))), r.b...)
	}
	return r.b[len(r.b):cap(r.b)]
}

// came tells that n bytes are in the room.
func (r *reader) came(n int) { r.b = r.b[:len(r.b)+n] }
