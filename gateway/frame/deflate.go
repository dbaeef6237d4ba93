package frame

import (
	"bytes"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// Deflaters make text frames whose payload is compressed (RFC 7692), each by itself: any connection that has agreed to the extension
// can be sent the same one, as long as its window holds the payload. It is safe for concurrent use.
type Deflaters struct {
	pool sync.Pool // of *deflater
}

// deflater is 1.2 MB of tables; there is one for each goroutine that compresses at a time, and none when nobody does for a while.
type deflater struct {
	w   *flate.Writer
	out bytes.Buffer
}

// deflateLevel makes 320 B of 512, and 460 of 1,024. compress/flate needs two to three times as long for the same at its level 6, and at
// its level 1 as long for 8 % more.
const deflateLevel = 5

// syncMarker ends what a deflater flushes, and is not sent. RFC 7692, 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail
// end."
const syncMarker = "\x00\x00\xff\xff"

// Text makes a text frame, nil if compressing does not make it smaller.
func (d *Deflaters) Text(payload []byte) []byte {
	z, ok := d.pool.Get().(*deflater)
	if !ok {
		w, err := flate.NewWriter(nil, deflateLevel)
		if err != nil { // the level is one of theirs
			return nil
		}
		z = &deflater{w: w}
	}
	defer d.pool.Put(z)
	z.out.Reset()
	z.w.Reset(&z.out)
	z.w.Write(payload) // a buffer takes everything
	z.w.Flush()
	b, ok := bytes.CutSuffix(z.out.Bytes(), []byte(syncMarker))
	if !ok || len(b) >= len(payload) {
		return nil
	}
	f := AppendHeader(make([]byte, 0, HeaderLen(len(b))+len(b)), ws.OpText, true, len(b))
	f[0] |= rsv1
	return append(f, b...)
}
