package loadgen

import (
	"bytes"
	"strconv"
)

// stampKey stands before the time of sending in an event's data. The time is a string: it has more digits than a JSON number can
// be trusted with.
var stampKey = []byte(`"at":"`)

// Stamp puts the member with a time of sending behind dst, in Unix nanoseconds.
func Stamp(dst []byte, at int64) []byte {
	dst = append(dst, stampKey...)
	return append(strconv.AppendInt(dst, at, 10), '"')
}

// stamp finds the time of sending in a frame's text.
func stamp(text []byte) (at int64, ok bool) {
	i := bytes.Index(text, stampKey)
	if i < 0 {
		return 0, false
	}
	for _, c := range text[i+len(stampKey):] {
		if c == '"' {
			return at, at > 0
		}
		if c < '0' || c > '9' || at > 1<<59 {
			return 0, false
		}
		at = at*10 + int64(c-'0')
	}
	return 0, false
}
