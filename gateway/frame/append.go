package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// maxCloseReason is what a control frame leaves beside the code.
const maxCloseReason = ws.MaxControlFramePayloadSize - 2

// The Append functions put one frame behind dst, as append does, and allocate only if dst has no room. RFC 6455, 5.1: "A
// server MUST NOT mask any frames that it sends to the client."

// HeaderLen is the number of bytes that AppendHeader appends for n bytes of payload: 2, 4 or 10.
func HeaderLen(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xffff:
		return 4
	}
	return 10
}

// AppendHeader appends the header of a frame; n bytes of payload must follow.
func AppendHeader(dst []byte, op ws.OpCode, fin bool, n int) []byte {
	b := byte(op)
	if fin {
		b |= 0x80
	}
	switch HeaderLen(n) {
	case 2:
		return append(dst, b, byte(n))
	case 4:
		return append(dst, b, 126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, b, 127), uint64(n))
}

// AppendText appends a text frame. The payload must be valid UTF-8, or the browser will close with 1007.
func AppendText(dst, payload []byte) []byte {
	return append(AppendHeader(dst, ws.OpText, true, len(payload)), payload...)
}

// Payload is what a frame carries that these functions made.
func Payload(frame []byte) []byte { return frame[headerLen(frame[1]):] }

// AppendPing appends a ping. Only the first 125 bytes of payload are sent.
func AppendPing(dst, payload []byte) []byte { return appendControl(dst, ws.OpPing, payload) }

// AppendPong appends a pong, which answers a ping with its payload. Only the first 125 bytes of payload are sent.
func AppendPong(dst, payload []byte) []byte { return appendControl(dst, ws.OpPong, payload) }

func appendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	payload = payload[:min(len(payload), ws.MaxControlFramePayloadSize)]
	return append(AppendHeader(dst, op, true, len(payload)), payload...)
}

// AppendClose appends a close frame. The reason is cut at the last character that fits 123 bytes, and before the first that
// is not UTF-8. A code that must not be sent, such as the 1005 that CloseCode returns, leaves the frame empty: so
// AppendClose(dst, CloseCode(payload), "") answers any close frame.
func AppendClose(dst []byte, code ws.StatusCode, reason string) []byte {
	if !mayClose(code) {
		return AppendHeader(dst, ws.OpClose, true, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, ws.OpClose, true, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

func cutReason(reason string) string {
	n := 0
	for n < len(reason) {
		r, size := utf8.DecodeRuneInString(reason[n:])
		if r == utf8.RuneError && size == 1 || n+size > maxCloseReason {
			break
		}
		n += size
	}
	return reason[:n]
}
