package loadgen

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455, section 11.8, that a server of notifications sends.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
)

// maxFrame bounds what a tab keeps of a frame that came in parts.
const maxFrame = 1 << 20

var (
	errFrame = errors.New("the server sent a frame that is masked, fragmented, or larger than 1 MiB")
	errHead  = errors.New("the server's answer to the handshake is longer than 8 KiB")
)

// cutFrame takes the first frame off b. size is 0 when b does not hold all of it yet.
func cutFrame(b []byte) (op byte, payload []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1] > 127 {
		return 0, nil, 0, errFrame
	}
	head, n := 2, uint64(b[1])
	switch {
	case n == 126 && len(b) < 4, n == 127 && len(b) < 10:
		return 0, nil, 0, nil
	case n == 126:
		head, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case n == 127:
		head, n = 10, binary.BigEndian.Uint64(b[2:])
	}
	if n > maxFrame {
		return 0, nil, 0, errFrame
	}
	size = head + int(n)
	if len(b) < size {
		return 0, nil, 0, nil
	}
	return b[0] & 0x0f, b[head:size], size, nil
}

// appendPong answers a ping. RFC 6455, 5.1: "a client MUST mask all frames"; a mask of zeros changes nothing and is as good for
// measuring.
func appendPong(dst, payload []byte) []byte {
	dst = append(dst, 0x8a, 0x80|byte(len(payload)), 0, 0, 0, 0)
	return append(dst, payload...)
}
