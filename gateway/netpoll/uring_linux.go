package netpoll

import (
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring writes to many sockets with one system call: io_uring, used for nothing but sends that never wait. It is for a frame
// that goes to hundreds of sockets; for a few, Write is as good.
//
// It belongs to one goroutine, which may move between threads. A descriptor may be in a batch once: the second send would go
// out even if the first found no room. And it must not be closed while it is in a batch (see Pending): somebody else in the
// process may be given the number at once, and then the bytes. Built with -race, Send panics at the first of the two.
type Ring struct {
	// Fixed at creation.
	ringMemory
	enter enterFunc
	done  func(token uint64, n int, err error)

	// Owned by the goroutine that sends.
	sends      []pending // by place in the submission queue; as many as it has
	head, tail uint32    // the batch. They count up for ever, as the kernel's own counters do
	reporting  bool      // done is being called
	plain      bool      // closed, or the kernel lost track of a send: every Send is a Write
	check      misuse
}

// pending is one send. It holds the bytes until the kernel has taken them, as the collector does not see the address that the
// kernel has. The address stays good: what a Ring refers to is on the heap, where nothing moves.
type pending struct {
	b     []byte
	token uint64
	fd    int
	res   int32 // bytes taken, or the negative error number
}

// NewRing makes a Ring that sends up to entries frames at a time, rounded up to a power of two and 32768 at most. done is told
// what became of each: the caller's token, and what Write would have returned.
//
// An error says why the system has no ring for us, which is common in containers. Write does without.
func NewRing(entries int, done func(token uint64, n int, err error)) (*Ring, error) {
	return newRing(entries, done, ringCalls{setup: ioUringSetup, enter: ioUringEnter})
}

// Send puts b into the batch, and flushes it when it is full. b must not change until it is reported.
func (r *Ring) Send(fd int, b []byte, token uint64) {
	if r.reporting || r.plain {
		n, err := Write(fd, b)
		r.done(token, n, err)
		return
	}
	r.queue(fd, b, token)
	if r.Pending() == len(r.sends) {
		r.Flush()
	}
}

// Pending is how many sends are in the batch.
func (r *Ring) Pending() int { return int(r.tail - r.head) }

// Flush sends the batch. When all of it is over it reports every send, in the order they came in, so that done may close any
// descriptor. done may also call Send, which then writes and reports at once.
func (r *Ring) Flush() {
	if r.head == r.tail {
		return
	}
	first, n := r.head, r.tail-r.head
	r.submit()
	r.report(first, n)
}

// Close gives the ring back. What is in the batch is neither sent nor reported; a later Send is a Write.
func (r *Ring) Close() error {
	if r.fd < 0 {
		return nil
	}
	r.head, r.plain = r.tail, true
	return r.release()
}

func (r *Ring) queue(fd int, b []byte, token uint64) {
	r.check.queued(fd, b)
	i := r.tail & r.sqMask
	r.sends[i] = pending{b: b, token: token, fd: fd, res: -int32(unix.EIO)}
	e := &r.sqes[i] // the rest of it stays the same for ever
	e.fd = int32(fd)
	e.addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	e.len = uint32(min(len(b), math.MaxInt32))
	r.tail++
}

// submit gives every send of the batch its result, and leaves an empty batch.
func (r *Ring) submit() {
	atomic.StoreUint32(r.sqTail, r.tail)
	for left := r.tail - r.head; left > 0; left = r.tail - atomic.LoadUint32(r.sqHead) {
		if n, err := r.enter(r.fd, left, 0, 0); err != unix.EINTR && (err != 0 || n == 0) {
			break
		}
	}
	taken := atomic.LoadUint32(r.sqHead)
	r.await(taken - r.head)
	for i := taken; i != r.tail; i++ { // the kernel had no memory for these
		r.sends[i&r.sqMask].write()
	}
	atomic.StoreUint32(r.sqTail, taken)
	r.head, r.tail = taken, taken
}

// await collects n results. A send that does not wait is over when the kernel has looked at it, so they are there already; if
// not, this waits for them, since the kernel reads the bytes until then.
func (r *Ring) await(n uint32) {
	for got := r.collect(); got < n; got += r.collect() {
		if _, err := r.enter(r.fd, 0, n-got, enterGetEvents); err != 0 && err != unix.EINTR {
			r.plain = true
			return
		}
	}
}

// collect takes the results that are there.
func (r *Ring) collect() uint32 {
	head, tail := atomic.LoadUint32(r.cqHead), atomic.LoadUint32(r.cqTail)
	for i := head; i != tail; i++ {
		c := &r.cqes[i&r.cqMask]
		s := &r.sends[c.userData]
		if s.res = c.res; s.res == -int32(unix.EINTR) {
			s.write()
		}
	}
	atomic.StoreUint32(r.cqHead, tail)
	return tail - head
}

func (r *Ring) report(first, n uint32) {
	r.check.flushed()
	r.reporting = true
	for i := first; i != first+n; i++ {
		s := &r.sends[i&r.sqMask]
		if !r.plain { // else the kernel may not be through with them
			s.b = nil
		}
		n, err := outcome(int(max(s.res, 0)), unix.Errno(max(-s.res, 0)))
		r.done(s.token, n, err)
	}
	r.reporting = false
}

// write does without the ring.
func (s *pending) write() {
	n, err := sendto(s.fd, s.b)
	for err == unix.EINTR {
		n, err = sendto(s.fd, s.b)
	}
	if s.res = int32(n); err != 0 {
		s.res = -int32(err)
	}
}
