package frame

import (
	"errors"
	"io"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// inflater reads compressed messages, one after the other: 40 kB, most of it the window.
type inflater struct {
	r   io.Reader // of flate
	src tailed
}

// maxFinals bounds the blocks of a message that say that they are the last. RFC 7692, 7.2.3.4, lets a browser flush with them, which
// costs us as much as a message each.
const maxFinals = 16

var (
	errDeflated = protocol("compressed message that cannot be read")
	errFinals   = &ProtocolError{ws.StatusPolicyViolation, "compressed message in too many final blocks"}
)

// inflate reads a compressed message into a buffer. It stops at the limit, however much p would become.
func (rs *Readers) inflate(p []byte) (*buffer, *ProtocolError) {
	z, ok := rs.inflaters.Get().(*inflater)
	if !ok {
		z = &inflater{r: flate.NewReader(nil)}
	}
	defer rs.inflaters.Put(z)
	z.src = tailed{p, inflateTail}
	defer func() { z.src = tailed{} }() // it is not ours to keep
	buf := rs.grow(nil, min(3*len(p), rs.limits.MaxSize))
	var err *ProtocolError
	for finals := 0; err == nil && z.src.left() > 0; finals++ {
		if finals == maxFinals {
			err = errFinals
			break
		}
		z.r.(flate.Resetter).Reset(&z.src, buf.b) // an error is one of the source
		buf, err = rs.fill(buf, z.r)
	}
	if err != nil {
		rs.take(buf)
		return nil, err
	}
	return buf, nil
}

// fill reads up to the end of a final block.
func (rs *Readers) fill(buf *buffer, r io.Reader) (*buffer, *ProtocolError) {
	for {
		n, err := r.Read(buf.b[len(buf.b):cap(buf.b)])
		buf.b = buf.b[:len(buf.b)+n]
		switch {
		case len(buf.b) > rs.limits.MaxSize:
			return buf, rs.errSize
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, errDeflated
		case len(buf.b) == cap(buf.b): // below the limit, so there is a larger one
			buf = rs.grow(buf, len(buf.b)+1)
		}
	}
}

// inflateTail is what the browser has taken off the end (RFC 7692, 7.2.2, "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end"), and a
// final block without content, which ends the reading.
const inflateTail = syncMarker + "\x01\x00\x00\xff\xff"

// tailed gives b, and then the tail. It is an io.ByteReader, so that no byte is taken that is not needed.
type tailed struct {
	b    []byte
	tail string
}

func (t *tailed) left() int { return len(t.b) + len(t.tail) }

func (t *tailed) ReadByte() (c byte, err error) {
	switch {
	case len(t.b) > 0:
		c, t.b = t.b[0], t.b[1:]
	case len(t.tail) > 0:
		c, t.tail = t.tail[0], t.tail[1:]
	default:
		return 0, io.EOF
	}
	return c, nil
}

func (t *tailed) Read(p []byte) (n int, err error) {
	n = copy(p, t.b)
	t.b = t.b[n:]
	if n == 0 {
		n = copy(p, t.tail)
		t.tail = t.tail[n:]
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
