package frame

import (
	"iter"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Frame is what a browser sent: a control frame, or a text or binary message put together from its fragments.
type Frame struct {
	Op      ws.OpCode // OpText, OpBinary, OpPing, OpPong or OpClose
	Payload []byte    // unmasked
}

// Reader reads the frames of one connection from its bytes. It is for one goroutine at a time.
//
// A Reader that is Idle holds nothing and serves any connection; one that is not belongs to its connection.
type Reader struct {
	home *Readers // Fixed at creation.

	// The frame in hand.
	within bool                   // its header is read, its payload not wholly
	held   uint8                  // bytes in head
	head   [ws.MaxHeaderSize]byte // the beginning of a header that is not complete
	frame  header
	left   int // bytes of payload still to come

	// The text or binary message in hand.
	op        ws.OpCode // 0: none
	packed    bool      // it is compressed
	size      int       // bytes of it in buf
	valid     int       // bytes of it that are whole characters
	fragments int

	buf     *buffer // the message so far, then the control frame in its midst so far
	ended   bool    // nothing is read any more
	deflate bool    // messages may be compressed
}

// Frames reads b, which it modifies, and yields each frame that is complete with it, in order. A payload is valid until the
// loop goes on or ends. What b has of an incomplete frame is copied, and goes on with the next call.
//
// An error is yielded last. After an error, a close frame, or a loop left early the Reader has ended: it holds no bytes
// and ignores what follows. RFC 6455, 1.4: "after receiving a control frame indicating the connection should be closed, a
// peer discards any further data received", and 7.1.7: "An endpoint MUST NOT continue to attempt to process data (including
// a responding Close frame) from the remote endpoint after being instructed to _Fail the WebSocket Connection_."
func (r *Reader) Frames(b []byte) iter.Seq2[Frame, *ProtocolError] {
	return func(yield func(Frame, *ProtocolError) bool) {
		for !r.ended {
			f, rest, err := r.next(b)
			if err != nil {
				r.end()
				yield(Frame{}, err)
				return
			}
			if f.Op == 0 {
				return
			}
			if !yield(f, nil) || f.Op == ws.OpClose {
				r.end()
				return
			}
			r.settle()
			b = rest
		}
	}
}

// Idle tells that the Reader is between two messages and holds nothing, so that the connection can do without it.
func (r *Reader) Idle() bool { return !r.within && r.held == 0 && r.op == 0 && !r.ended }

// Ended tells that an error or a close frame was the last that this connection had to say.
func (r *Reader) Ended() bool { return r.ended }

// next takes from b up to the end of the first whole frame. If there is none, it takes all and returns Op 0.
func (r *Reader) next(b []byte) (f Frame, rest []byte, err *ProtocolError) {
	for {
		if !r.within {
			if b, err = r.begin(b); err != nil || !r.within {
				return Frame{}, nil, err
			}
		}
		n := min(r.left, len(b))
		f, err = r.payload(b[:n:n])
		b = b[n:]
		// Left without a frame and without an error: that was a fragment, and the next one may be in b.
		if err != nil || f.Op != 0 || r.left > 0 {
			return f, b, err
		}
	}
}

// begin reads a header, a part of which may be in r.head.
func (r *Reader) begin(b []byte) (rest []byte, err *ProtocolError) {
	from := b
	if r.held > 0 {
		from = append(r.head[:r.held], b[:min(len(b), len(r.head)-int(r.held))]...)
	}
	h, n, err := readHeader(from, r.deflate)
	if err == nil && n > 0 {
		err = r.checkOrder(h)
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		r.held = uint8(copy(r.head[:], from))
		return nil, nil
	}
	rest = b[n-int(r.held):]
	r.held, r.within, r.frame, r.left = 0, true, h, int(h.size)
	if h.op.IsData() && h.op != ws.OpContinuation {
		r.op, r.packed = h.op, h.packed()
	}
	return rest, nil
}

// checkOrder checks the rules that depend on what came before.
func (r *Reader) checkOrder(h header) *ProtocolError {
	if h.op.IsControl() {
		// RFC 6455, 5.4: "Control frames MAY be injected in the middle of a fragmented message."
		return nil
	}
	switch limits := &r.home.limits; {
	// RFC 6455, 5.4: "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0,
	// followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with
	// the FIN bit set and an opcode of 0."
	case h.op == ws.OpContinuation && r.op == 0:
		return errContinuation
	case h.op != ws.OpContinuation && r.op != 0:
		return errInterleaved
	// RFC 6455, 7.4.1: 1003 "indicates that an endpoint is terminating the connection because it has received a type of data
	// it cannot accept (e.g., an endpoint that understands only text data MAY send this if it receives a binary message)."
	case h.op == ws.OpBinary && limits.RefuseBinary:
		return errBinary
	// RFC 6455, 10.4: "Implementations that have implementation- and/or platform-specific limitations regarding the frame size
	// or total message size after reassembly from multiple frames MUST protect themselves against exceeding those limits."
	case h.size > uint64(limits.MaxSize-r.size):
		return r.home.errSize
	// Empty fragments never reach the size limit: without this a message could go on for ever.
	case r.fragments >= limits.MaxSize:
		return r.home.errFragments
	}
	return nil
}

// payload takes p, the next bytes of the frame in hand. It returns a frame if they complete one.
func (r *Reader) payload(p []byte) (Frame, *ProtocolError) {
	ascii := unmask(p, r.frame.key)
	r.left -= len(p)
	r.within = r.left > 0
	r.frame.key = turn(r.frame.key, len(p))
	whole := len(p) == int(r.frame.size)
	switch {
	case r.frame.op.IsControl():
		return r.control(p, whole)
	case whole && r.frame.fin() && r.frame.op != ws.OpContinuation:
		return r.single(p, ascii)
	default:
		return r.fragment(p)
	}
}

// single takes a message in one frame and one piece, as most are: it is never copied.
func (r *Reader) single(p []byte, ascii bool) (Frame, *ProtocolError) {
	if r.packed {
		return r.unpack(p)
	}
	if r.op == ws.OpText && !ascii && !utf8.Valid(p) {
		return Frame{}, errText
	}
	f := Frame{r.op, p}
	r.op = 0
	return f, nil
}

// control takes a control frame, or a part of one.
func (r *Reader) control(p []byte, whole bool) (Frame, *ProtocolError) {
	if !whole {
		r.keep(p)
		if r.within {
			return Frame{}, nil
		}
		p = r.buf.b[r.size:]
	}
	if r.frame.op == ws.OpClose {
		if err := checkClose(p); err != nil {
			return Frame{}, err
		}
	}
	return Frame{r.frame.op, p}, nil
}

// fragment takes a part of a message.
func (r *Reader) fragment(p []byte) (Frame, *ProtocolError) {
	r.keep(p)
	r.size += len(p)
	last := r.frame.fin() && !r.within
	if r.op == ws.OpText && !r.packed && !r.checkText(last) {
		return Frame{}, errText
	}
	if !last {
		if !r.within {
			r.fragments++
		}
		return Frame{}, nil
	}
	f := Frame{Op: r.op}
	if r.buf != nil { // else it was all empty fragments
		f.Payload = r.buf.b
	}
	if r.packed {
		return r.unpack(f.Payload)
	}
	r.op, r.size, r.valid, r.fragments = 0, 0, 0, 0
	return f, nil
}

// unpack takes a compressed message that is complete. What it becomes takes its place in the buffer.
func (r *Reader) unpack(p []byte) (Frame, *ProtocolError) {
	buf, err := r.home.inflate(p)
	if err != nil {
		return Frame{}, err
	}
	r.release()
	r.buf = buf
	if r.op == ws.OpText && !utf8.Valid(buf.b) {
		return Frame{}, errText
	}
	f := Frame{r.op, buf.b}
	r.op, r.size, r.valid, r.fragments, r.packed = 0, 0, 0, 0, false
	return f, nil
}

// checkText checks the text in hand as far as it has come, so that a bad byte is not answered only at the end.
//
// RFC 6455, 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a
// valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_." And 5.6: "a particular text frame might include a
// partial UTF-8 sequence; however, the whole message MUST contain valid UTF-8."
func (r *Reader) checkText(last bool) bool {
	if r.valid == r.size {
		return true
	}
	unseen := r.buf.b[r.valid:r.size]
	n, ok := wholeRunes(unseen)
	r.valid += n
	return ok && (!last || r.valid == r.size)
}

// keep copies p into the buffer.
func (r *Reader) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if r.buf == nil {
		r.buf = r.home.grow(nil, len(p))
	} else if n := len(r.buf.b) + len(p); n > cap(r.buf.b) {
		r.buf = r.home.grow(r.buf, n)
	}
	r.buf.b = append(r.buf.b, p...)
}

// settle drops what was yielded.
func (r *Reader) settle() {
	switch {
	case r.buf == nil:
	case r.op == 0:
		r.release()
	default:
		r.buf.b = r.buf.b[:r.size]
	}
}

// end makes the Reader deaf.
func (r *Reader) end() {
	r.release()
	r.ended = true
}

func (r *Reader) release() {
	if r.buf != nil {
		r.home.take(r.buf)
		r.buf = nil
	}
}
