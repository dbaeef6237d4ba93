package tlsfront

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tidings/gateway/netpoll"
)

// relay is one goroutine that owns a share of the pipes.
type relay struct {
	// Fixed at creation.
	poller  *netpoll.Poller
	metrics *metrics

	// Owned by run.
	pipes   []*pipe // by slot; nil: free
	free    []int32
	gen     uint32
	open    int
	closing map[*pipe]struct{} // their loop is gone
	buf     []byte             // in the clear, from one side to the other
	ending  bool

	// Guarded by mu.
	mu       sync.Mutex
	incoming []*pipe
	end      bool // when the last pipe is closed
	ended    bool
}

// record is the most that one TLS record holds, and so what one Read or Write handles without a rest.
const record = 16 << 10

// The two descriptors of a pipe have the tags 2·slot and 2·slot+1.
const sides = 2

func newRelay(m *metrics) (*relay, error) {
	p, err := netpoll.New()
	if err != nil {
		return nil, err
	}
	return &relay{poller: p, metrics: m, buf: make([]byte, record), closing: map[*pipe]struct{}{}}, nil
}

// take makes the pipe the relay's. It is false when the relay has ended.
func (r *relay) take(p *pipe) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.incoming = append(r.incoming, p)
	r.poller.Wake()
	return true
}

// leave has run end when there is no pipe left.
func (r *relay) leave() {
	r.mu.Lock()
	r.end = true
	r.mu.Unlock()
	r.poller.Wake()
}

// run relays until the context ends, or leave was called and every pipe is closed.
func (r *relay) run(ctx context.Context) error {
	defer r.poller.Close()
	defer r.closeAll()
	defer context.AfterFunc(ctx, r.poller.Wake)()
	var events []netpoll.Event
	var err error
	next := time.Now().Add(time.Second)
	r.poller.SetDeadline(next)
	for ctx.Err() == nil && !(r.ending && r.open == 0) {
		if events, err = r.poller.Wait(events); err != nil {
			return fmt.Errorf("TLS relay: %w", err)
		}
		for i := range events {
			r.event(&events[i])
		}
		r.welcome()
		if now := time.Now(); now.After(next) {
			next = now.Add(time.Second)
			r.poller.SetDeadline(next)
			r.expire(now)
		}
	}
	return nil
}

func (r *relay) welcome() {
	r.mu.Lock()
	list := r.incoming
	r.incoming, r.ending = nil, r.end
	r.mu.Unlock()
	for _, p := range list {
		r.add(p)
	}
}

func (r *relay) add(p *pipe) {
	if n := len(r.free); n > 0 {
		p.slot = r.free[n-1]
		r.free = r.free[:n-1]
	} else {
		p.slot = int32(len(r.pipes))
		r.pipes = append(r.pipes, nil)
	}
	r.gen++
	p.gen = r.gen
	r.pipes[p.slot] = p
	r.open++
	r.metrics.connections.Inc()
	p.outerWatch, p.innerWatch = watched{input: true}, watched{input: true}
	if r.poller.Add(p.wire.fd, p.tag(0)) != nil || r.poller.Add(p.inner, p.tag(1)) != nil {
		r.close(p)
		return
	}
	r.move(p) // what came behind the handshake may be in crypto/tls already
}

func (p *pipe) tag(side int32) netpoll.Tag { return netpoll.Tag{Slot: p.slot*sides + side, Gen: p.gen} }

func (r *relay) event(ev *netpoll.Event) {
	p := r.pipes[ev.Slot/sides]
	if p == nil || p.gen != ev.Gen {
		return
	}
	if ev.Hangup && ev.Slot%sides == 1 && !p.loopGone {
		r.abandon(p)
	}
	if !r.move(p) && ev.Hangup && ev.Slot%sides == 0 {
		r.close(p) // a reset, or both have ended: TCP has nothing more to give
	}
}

// abandon is for a pipe whose loop has closed its end. A hang-up would be reported for ever, so that the end is not watched any more.
func (r *relay) abandon(p *pipe) {
	p.loopGone = true
	r.poller.Remove(p.inner)
}

// move moves what can be moved, and is true when that was the pipe's end.
func (r *relay) move(p *pipe) (closed bool) {
	gone := p.loopGone
	err := p.inward(r.buf)
	if err == nil {
		err = p.outward(r.buf)
	}
	if err != nil || p.over() {
		r.close(p)
		return true
	}
	if p.loopGone {
		if !gone {
			r.poller.Remove(p.inner)
		}
		if p.until.IsZero() {
			p.until = time.Now().Add(lingering)
			r.closing[p] = struct{}{}
		}
	}
	r.watch(p)
	return false
}

// watch asks for what is waited for: input of a side whose other side takes it, output of a side that something is kept for.
func (r *relay) watch(p *pipe) {
	outer := watched{input: !p.peerEnded && len(p.toLoop) == 0, output: len(p.wire.pending) > 0}
	inner := watched{input: !p.loopEnded && len(p.wire.pending) == 0, output: len(p.toLoop) > 0}
	if outer != p.outerWatch {
		p.outerWatch = outer
		r.poller.Watch(p.wire.fd, p.tag(0), outer.input, outer.output)
	}
	if inner != p.innerWatch && !p.loopGone {
		p.innerWatch = inner
		r.poller.Watch(p.inner, p.tag(1), inner.input, inner.output)
	}
}

// expire closes those whose peers do not take the rest.
func (r *relay) expire(now time.Time) {
	for p := range r.closing {
		if now.After(p.until) {
			r.close(p)
		}
	}
}

// close is where every pipe ends.
func (r *relay) close(p *pipe) {
	delete(r.closing, p)
	r.pipes[p.slot] = nil
	r.free = append(r.free, p.slot)
	r.open--
	r.metrics.connections.Dec()
	for _, fd := range [...]int{p.wire.fd, p.inner} {
		r.poller.Forget(fd)
		netpoll.Close(fd)
	}
}

func (r *relay) closeAll() {
	r.mu.Lock()
	list := r.incoming
	r.incoming, r.ended = nil, true
	r.mu.Unlock()
	for _, p := range list {
		netpoll.Close(p.wire.fd)
		netpoll.Close(p.inner)
	}
	for _, p := range r.pipes {
		if p != nil {
			r.close(p)
		}
	}
}
