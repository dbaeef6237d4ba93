package frame

import (
	"fmt"
	"sync"

	"github.com/gobwas/ws"
)

// Limits are what a server demands of its browsers beyond the RFC.
type Limits struct {
	MaxSize      int  // bytes of one text or binary message, over all its fragments; 0 means 4096
	RefuseBinary bool // answer the first header of a binary message with 1003
}

const (
	defaultMaxSize = 4096
	smallestBuffer = 128 // holds any control frame
)

// Readers hands out Readers with the same limits, and the buffers that they borrow. It is safe for concurrent use.
type Readers struct {
	// Fixed at creation.
	limits       Limits
	errSize      *ProtocolError
	errFragments *ProtocolError

	readers   sync.Pool // of *Reader
	inflaters sync.Pool // of *inflater
	buffers   []class   // by size; the last holds a message of MaxSize with a control frame in its midst
}

// class is a pool of buffers of one size.
type class struct {
	size int
	pool sync.Pool // of *buffer
}

type buffer struct {
	b     []byte
	class int
}

// NewReaders makes the home of all Readers of a server.
func NewReaders(l Limits) *Readers {
	if l.MaxSize <= 0 {
		l.MaxSize = defaultMaxSize
	}
	rs := &Readers{
		limits: l,
		errSize: &ProtocolError{ws.StatusMessageTooBig,
			fmt.Sprintf("larger than %d bytes", l.MaxSize)},
		errFragments: &ProtocolError{ws.StatusPolicyViolation,
			fmt.Sprintf("more than %d fragments", l.MaxSize)},
	}
	most := l.MaxSize + ws.MaxControlFramePayloadSize
	for size := smallestBuffer; size < most; size *= 2 {
		rs.buffers = append(rs.buffers, class{size: size})
	}
	rs.buffers = append(rs.buffers, class{size: most})
	return rs
}

// Get returns an idle Reader.
func (rs *Readers) Get() *Reader {
	if r, ok := rs.readers.Get().(*Reader); ok {
		return r
	}
	return &Reader{home: rs}
}

// Deflate says that the connection has agreed to permessage-deflate (RFC 7692) without context takeover of the browser: messages may be
// compressed. The limits are the same, for what comes and for what it becomes.
func (r *Reader) Deflate() { r.deflate = true }

// Put takes r back, idle or not. The caller must not use it afterwards, nor a payload that it gave.
func (rs *Readers) Put(r *Reader) {
	r.release()
	*r = Reader{home: rs}
	rs.readers.Put(r)
}

// grow returns a buffer with room for n bytes and the content of old, which may be nil and is taken back. It is as large
// as the bytes that have come ask for, at most twice, never as large as a header promises: headers are cheap to send.
func (rs *Readers) grow(old *buffer, n int) *buffer {
	i := 0
	for rs.buffers[i].size < n {
		i++
	}
	buf, ok := rs.buffers[i].pool.Get().(*buffer)
	if !ok {
		buf = &buffer{b: make([]byte, 0, rs.buffers[i].size), class: i}
	}
	if old != nil {
		buf.b = append(buf.b, old.b...)
		rs.take(old)
	}
	return buf
}

// take takes a buffer back.
func (rs *Readers) take(buf *buffer) {
	buf.b = buf.b[:0]
	rs.buffers[buf.class].pool.Put(buf)
}
