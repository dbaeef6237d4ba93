package frame

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is the mask of the frames that tests write; no two of its bytes are equal, so that a wrong offset shows.
var key = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// client is a frame as a browser sends it: b0 is the first byte, the payload is masked.
func client(b0 byte, payload string) []byte {
	return append(clientHeader(b0, uint64(len(payload))), masked(payload)...)
}

// clientHeader is the header of a frame with n bytes of payload, in the shortest form.
func clientHeader(b0 byte, n uint64) []byte {
	b := []byte{b0}
	switch {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), n)
	}
	return append(b, key[:]...)
}

// masked masks byte by byte, as RFC 6455, 5.3 has it.
func masked(payload string) []byte {
	b := []byte(payload)
	for i := range b {
		b[i] ^= key[i%4]
	}
	return b
}

// closing is a close frame as a browser sends it.
func closing(code int, reason string) []byte {
	return client(opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// First bytes of frames: FIN and opcode.
const (
	opText    = 0x81
	opBinary  = 0x82
	opClose   = 0x88
	opPing    = 0x89
	opPong    = 0x8a
	textStart = 0x01
	binStart  = 0x02
	goesOn    = 0x00
	goesEnd   = 0x80
)

// show is a frame in a form that tests compare.
func show(op ws.OpCode, payload []byte) string {
	name := map[ws.OpCode]string{ws.OpText: "text", ws.OpBinary: "binary", ws.OpClose: "close", ws.OpPing: "ping", ws.OpPong: "pong"}[op]
	if op == ws.OpClose && len(payload) >= 2 {
		return fmt.Sprintf("close %d %q", CloseCode(payload), payload[2:])
	}
	if len(payload) > 60 {
		return fmt.Sprintf("%s %d bytes %08x", name, len(payload), crc32.ChecksumIEEE(payload))
	}
	return fmt.Sprintf("%s %q", name, payload)
}

// split cuts b at the given places, which are in ascending order.
func split(b []byte, at ...int) [][]byte {
	var parts [][]byte
	from := 0
	for _, i := range at {
		parts = append(parts, b[from:i])
		from = i
	}
	return append(parts, b[from:])
}

// read feeds the segments to a Reader and returns what came out and the state of the Reader: "idle", "inside" or "ended".
// Each segment is overwritten after its call, since its bytes are only lent; the bytes held are watched.
func read(t testing.TB, rs *Readers, segments [][]byte) (got []string, state string) {
	t.Helper()
	return readWith(t, rs.Get(), segments)
}

func readWith(t testing.TB, r *Reader, segments [][]byte) (got []string, state string) {
	t.Helper()
	defer r.home.Put(r)
	fed := 0
	for _, s := range segments {
		lent := append([]byte(nil), s...)
		fed += len(lent)
		for f, err := range r.Frames(lent) {
			if err != nil {
				if len(err.Reason) > maxCloseReason {
					t.Errorf("reason %q has %d bytes, want at most %d", err.Reason, len(err.Reason), maxCloseReason)
				}
				got = append(got, fmt.Sprintf("error %d %s", err.Code, err.Reason))
				continue
			}
			got = append(got, show(f.Op, f.Payload))
		}
		for i := range lent {
			lent[i] = 0xdb
		}
		checkHeld(t, r, fed)
	}
	switch {
	case r.Ended():
		return got, "ended"
	case r.Idle():
		return got, "idle"
	}
	return got, "inside"
}

// checkHeld fails if r holds more than it may after fed bytes.
func checkHeld(t testing.TB, r *Reader, fed int) {
	t.Helper()
	if r.buf == nil {
		return
	}
	if r.Idle() || r.Ended() {
		t.Errorf("a Reader that is idle (%v) or ended (%v) holds a buffer of %d bytes", r.Idle(), r.Ended(), cap(r.buf.b))
	}
	most := min(max(smallestBuffer, 2*fed), r.home.limits.MaxSize+ws.MaxControlFramePayloadSize)
	if cap(r.buf.b) > most {
		t.Errorf("buffer of %d bytes after %d bytes of input, want at most %d", cap(r.buf.b), fed, most)
	}
}
