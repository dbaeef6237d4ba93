package loadgen

import "bytes"

// cursor is the last one a tab was given, as long as it has room: opaque, and without a pointer for the collector to follow.
type cursor struct {
	size uint8
	text [55]byte
}

var cursorKey = []byte(`"cursor":"`)

// from takes the cursor out of a frame's text. A frame without one, as of an ephemeral notification, changes nothing. The data of a
// notification, which may hold anything, stands behind it.
func (c *cursor) from(text []byte) {
	i := bytes.Index(text, cursorKey)
	if i < 0 {
		return
	}
	text = text[i+len(cursorKey):]
	if end := bytes.IndexByte(text, '"'); end >= 0 && end <= len(c.text) {
		c.size = uint8(copy(c.text[:], text[:end]))
	}
}

func (c *cursor) bytes() []byte { return c.text[:c.size] }
