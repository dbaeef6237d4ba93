// Package order is what the floor is told: whom to write to, and the time that the frame carries.
package order

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Size is the length of an order in bytes: an int32, and the time as it stands in the frame.
const Size = 4 + digits

// digits is the length of a time in Unix nanoseconds, from 2001 to 2286.
const digits = 19

// All is the index that stands for every connection.
const All = -1

// Append puts an order behind dst: the connection by the order in which they came, and the time of sending.
func Append(dst []byte, index int, at int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(int32(index)))
	return fmt.Appendf(dst, "%0*d", digits, at)
}

// Cut reads the first order of b, which holds at least one. The text is b's.
func Cut(b []byte) (index int, at []byte) {
	return int(int32(binary.LittleEndian.Uint32(b))), b[4:Size]
}

// Frame is a ready WebSocket text frame with a time in it that can be changed.
type Frame struct {
	Bytes []byte
	at    []byte // the part of Bytes that is the time
}

// NewFrame makes a frame with so many bytes of payload, 128 to 65,535, as loadgen.Stamp wants it.
func NewFrame(payload int) *Frame {
	zeros := strings.Repeat("0", digits)
	text := `{"at":"` + zeros + `","text":"`
	text += strings.Repeat("x", max(0, payload-len(text)-2)) + `"}`
	b := append(binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(text))), text...)
	i := bytes.Index(b, []byte(zeros))
	return &Frame{Bytes: b, at: b[i : i+digits]}
}

// Set puts the time of an order into the frame.
func (f *Frame) Set(at []byte) { copy(f.at, at) }
