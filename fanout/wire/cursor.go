package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrCursor is wrapped by every error of ParseCursor.
var ErrCursor = errors.New("bad cursor")

// Cursor is a place in the log: everything up to and including Seq has been seen. Clients treat its text as opaque.
type Cursor struct {
	Shard int
	Epoch uint64
	Seq   uint64 // stream sequence; 0 is before the first Record
}

// String is the form that clients keep: shard, epoch in base 36, sequence, as in "0.mbq2v7dd.1042".
func (c Cursor) String() string { return string(c.Append(nil)) }

// Append puts the text of c behind dst.
func (c Cursor) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(c.Shard), 10)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, c.Epoch, 36)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, c.Seq, 10)
}

// ParseCursor reads the text of a Cursor. Only the text that String gives is accepted.
func ParseCursor(s string) (Cursor, error) {
	if len(s) > 64 {
		return Cursor{}, fmt.Errorf("%w: %d bytes", ErrCursor, len(s))
	}
	shard, rest, ok := strings.Cut(s, ".")
	epoch, seq, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return Cursor{}, fmt.Errorf("%w: %q, want shard.epoch.sequence", ErrCursor, s)
	}
	sh, err1 := strconv.ParseUint(shard, 10, 16)
	ep, err2 := strconv.ParseUint(epoch, 36, 64)
	sq, err3 := strconv.ParseUint(seq, 10, 64)
	c := Cursor{int(sh), ep, sq}
	if err1 != nil || err2 != nil || err3 != nil || c.String() != s {
		return Cursor{}, fmt.Errorf("%w: %q, want shard.epoch.sequence", ErrCursor, s)
	}
	return c, nil
}
