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
)

// forms makes what is sent of an entry to others than most: when the first of them needs it, once, for all. It works without
// the shard's lock; two loops that need the same at once wait for each other.
type forms struct {
	making [16]sync.Mutex // by sequence
}

// made is an entry in another form.
type made struct{ b []byte }

// leftTail stands for the forms of an entry that is not in the tail any more: what is made of it now is not kept.
var leftTail = new(made)

// madeSize is what a form costs in memory beside its bytes.
const madeSize = 48

// of is what a session of this form is sent. The bytes are shared, and never modified.
func (f *forms) of(e *entry, as form) []byte {
	if as == framed {
		return e.frame
	}
	return f.kept(e, &e.event, as)
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
	m := &made{f.make(e, as)}
	if at.CompareAndSwap(nil, m) && e.shard != nil {
		e.shard.extra.Add(int64(len(m.b) + madeSize))
	}
	return m.b
}

func (f *forms) make(e *entry, as form) []byte {
	text := frame.Payload(e.frame)
	return appendNotificationEvent(make([]byte, 0, len(text)+64), text)
}

// leave is for an entry that leaves the tail: it gives the bytes of its forms that were kept.
func (e *entry) leave() (bytes int64) {
	for _, at := range [...]*atomic.Pointer[made]{&e.event} {
		if m := at.Swap(leftTail); m != nil && m != leftTail {
			bytes += int64(len(m.b) + madeSize)
		}
	}
	return bytes
}
