package frame

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// header is what the first bytes of a frame say. It is ours and not ws.Header because it fits in registers, which takes four fields at
// most: with a fifth a frame took 30 ns instead of 21.
type header struct {
	op   ws.OpCode
	bits byte   // FIN and RSV1, where they are in the first byte
	key  uint32 // the mask as a little-endian word
	size uint64 // bytes of payload; below 1<<63
}

const (
	fin  = 0x80
	rsv1 = 0x40 // of a message: it is compressed (RFC 7692, 6)
)

func (h header) fin() bool    { return h.bits&fin != 0 }
func (h header) packed() bool { return h.bits&rsv1 != 0 }

// readHeader reads the header at the start of b. Its length n is 0 if b ends before the header does. Rules that one
// frame can break alone are checked here, those that depend on the frames before in Reader.begin. deflate tells that messages may
// be compressed.
func readHeader(b []byte, deflate bool) (h header, n int, err *ProtocolError) {
	if len(b) < ws.MinHeaderSize {
		return header{}, 0, nil
	}
	n = headerLen(b[1])
	if len(b) < n {
		return header{}, 0, nil
	}
	h.op = ws.OpCode(b[0] & 0x0f)
	h.bits = b[0] & (fin | rsv1)
	switch b[1] & 0x7f {
	default:
		h.size = uint64(b[1] & 0x7f)
	case 126:
		h.size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		h.size = binary.BigEndian.Uint64(b[2:])
	}
	if err := checkHeader(b[0], b[1], h, deflate); err != nil {
		return header{}, 0, err
	}
	h.key = binary.LittleEndian.Uint32(b[n-4:])
	return h, n, nil
}

// headerLen is the length of the header whose second byte is b1.
func headerLen(b1 byte) int {
	n := ws.MinHeaderSize
	switch b1 & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b1&0x80 != 0 {
		n += 4
	}
	return n
}

func checkHeader(b0, b1 byte, h header, deflate bool) *ProtocolError {
	switch length := b1 & 0x7f; {
	// RFC 6455, 5.2, RSV: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values. If a nonzero
	// value is received and none of the negotiated extensions defines the meaning of such a nonzero value, the receiving
	// endpoint MUST _Fail the WebSocket Connection_."
	case b0&0x70 != 0 && (!deflate || b0&0x70 != rsv1):
		return errReserved
	// RFC 7692, 6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments of a data
	// message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
	case h.packed() && (h.op.IsControl() || h.op == ws.OpContinuation):
		return errCompressed

	// RFC 6455, 5.1: "The server MUST close the connection upon receiving a frame that is not masked. In this case, a server
	// MAY send a Close frame with a status code of 1002 (protocol error)".
	case b1&0x80 == 0:
		return errUnmasked

	// RFC 6455, 5.2, Opcode: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
	case h.op.IsReserved():
		return errOpcode

	// RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
	case h.op.IsControl() && !h.fin():
		return errControlFin
	case h.op.IsControl() && length > ws.MaxControlFramePayloadSize:
		return errControlSize

	// RFC 6455, 5.2, Payload length: "the most significant bit MUST be 0".
	case h.size>>63 != 0:
		return errLengthSign

	// RFC 6455, 5.2, Payload length: "Note that in all cases, the minimal number of bytes MUST be used to encode the length,
	// for example, the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124."
	case length == 126 && h.size < 126, length == 127 && h.size <= 0xffff:
		return errLength
	}
	return nil
}
