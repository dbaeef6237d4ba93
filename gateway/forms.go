package gateway

import (
	"sync"
	"sync/atomic"

	"tidings/gateway/frame"
)

// form is how notifications are written for a session.
type form byte

const (
	framed form = iota // as WebSocket frames
	events             // as events of a stream
	// 8 to 15: as WebSocket frames, compressed in a window of so many bits
)

func (f form) deflated() bool { return f >= 8 }

// forms makes what is sent of an entry to others than most: when the first of them needs it, once, for all. It works without
// the shard's lock; two loops that need the same at once wait for each other.
type forms struct {
	least     int // bytes of text that are worth compressing
	deflaters frame.Deflaters
	metrics   *metrics
	making    [16]sync.Mutex // by sequence
}

// made is an entry in another form.
type made struct {
	b    []byte
	size int64 // in memory, beside the entry
}

// leftTail stands for the forms of an entry that is not in the tail any more: what is made of it now is not kept.
var leftTail = new(made)

// madeSize is what a form costs in memory beside its bytes.
const madeSize = 48

// of is what a session of this form is sent. The bytes are shared, and never modified.
func (f *forms) of(e *entry, as form) []byte {
	switch {
	case as == events:
		return f.kept(e, &e.event, as)
	case as.deflated():
		// What is not larger than the window has nothing in it that is further away than the window reaches.
		if n := len(frame.Payload(e.frame)); n >= f.least && n <= 1<<as {
			return f.kept(e, &e.deflated, as)
		}
	}
	return e.frame
}

func (f *forms) kept(e *entry, at *atomic.Pointer[made], as form) []byte {
	if m := at.Load(); m != nil && m != leftTail {
		return m.b
	}
	mu := &f.making[e.seq%uint64(len(f.making))]
	mu.Lock()
	defer mu.Unlock()
	if m := at.Load(); m != nil && m != leftTail {
		return m.b // by another loop, meanwhile
	}
	m := f.make(e, as)
	if at.CompareAndSwap(nil, m) && e.shard != nil {
		e.shard.extra.Add(m.size)
	}
	return m.b
}

func (f *forms) make(e *entry, as form) *made {
	text := frame.Payload(e.frame)
	b := e.frame
	if as == events {
		b = appendNotificationEvent(make([]byte, 0, len(text)+64), text)
	} else if small := f.deflaters.Text(text); small != nil {
		b = small
	} else {
		return &made{b, madeSize} // random bytes, most likely
	}
	if as.deflated() {
		f.metrics.compressed(len(e.frame), len(b))
	}
	return &made{b, int64(len(b) + madeSize)}
}

// leave is for an entry that leaves the tail: it gives the bytes of its forms that were kept.
func (e *entry) leave() (bytes int64) {
	for _, at := range [...]*atomic.Pointer[made]{&e.event, &e.deflated} {
		if m := at.Swap(leftTail); m != nil && m != leftTail {
			bytes += m.size
		}
	}
	return bytes
}
