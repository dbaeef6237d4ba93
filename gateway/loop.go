package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tidings/gateway/frame"
	"tidings/gateway/netpoll"
)

// loop is one goroutine that owns a share of the sockets: it accepts them, reads and writes them, and nobody else touches what
// belongs to their sessions. Others hand it work: deliveries from the feeds, and calls.
type loop struct {
	// Fixed at creation.
	index    int
	gate     *Gateway
	poller   *netpoll.Poller
	listener int

	// Owned by the loop.
	slots    []slot // by descriptor
	gen      uint32
	events   []netpoll.Event
	read     []byte // what a socket had to say, until the next is read
	cork     cork
	wheel    wheel
	busy     []*Session // those that go on with catching up in this turn
	sec      uint32     // seconds since the gateway began
	feeds    []followed // by shard, as of the beginning of this second
	stopping bool
	paused   bool // the listener is not watched: no descriptors left
	open     int  // sockets

	alive atomic.Int64 // Unix seconds of the last turn

	// Guarded by mu.
	mu         sync.Mutex
	deliveries []delivery
	calls      []func()
	ended      bool       // nothing is queued any more
	spare      []delivery // emptied, for the next swap
}

// slot is a descriptor that this loop owns: a connection before its upgrade, or a session.
type slot struct {
	gen     uint32
	greet   *greeting
	session *Session
}

// followed is a shard's position that a loop may promise to its sessions.
type followed struct {
	position
	heart    []byte // the heartbeat for it, made when first needed
	heartSeq uint64
}

func newLoop(index int, g *Gateway, listener int) (*loop, error) {
	p, err := netpoll.New()
	if err != nil {
		return nil, err
	}
	l := &loop{
		index: index, gate: g, poller: p, listener: listener,
		read: make([]byte, 64<<10), events: make([]netpoll.Event, 0, 256),
	}
	l.sec = g.seconds()
	l.wheel.now = l.sec
	l.alive.Store(time.Now().Unix())
	if listener >= 0 {
		if err := p.AddListener(listener, netpoll.Tag{}); err != nil {
			p.Close()
			return nil, err
		}
	}
	return l, nil
}

// run serves until a call has set stopping and the last socket is closed, or the context ends.
func (l *loop) run(ctx context.Context) error {
	defer l.poller.Close()
	defer l.closeAll()
	stop := context.AfterFunc(ctx, l.poller.Wake)
	defer stop()
	l.poller.SetDeadline(time.Now().Add(time.Second))
	for ctx.Err() == nil && !(l.stopping && l.open == 0) {
		var err error
		if l.events, err = l.poller.Wait(l.events); err != nil {
			return fmt.Errorf("loop %d: %w", l.index, err)
		}
		l.turn()
	}
	return nil
}

func (l *loop) turn() {
	if sec := l.gate.seconds(); sec != l.sec {
		l.second(sec)
	}
	for i := range l.events {
		l.event(&l.events[i])
	}
	l.drain()
	for _, s := range l.swapBusy() {
		if s.state == joining && s.out == nil {
			s.step()
		}
	}
	if len(l.busy) > 0 {
		l.poller.Wake() // there is more to do, after the sockets had their turn
	}
}

func (l *loop) swapBusy() []*Session {
	b := l.busy
	l.busy = nil
	return b
}

// second is what happens once a second: deadlines and heartbeats.
func (l *loop) second(sec uint32) {
	l.sec = sec
	l.alive.Store(time.Now().Unix())
	l.poller.SetDeadline(time.Now().Add(time.Second))
	l.feeds = l.gate.positions(l.feeds)
	l.drain() // what a position covers is in the queue: a heartbeat must not overtake it
	if l.paused && !l.stopping {
		l.paused = l.poller.AddListener(l.listener, netpoll.Tag{}) != nil
	}
	l.wheel.advance(sec, func(fd int32, gen uint32) {
		switch c := l.slot(fd, gen); {
		case c == nil:
		case c.greet != nil:
			c.greet.check()
		case c.session != nil:
			c.session.check()
		}
	})
}

func (l *loop) slot(fd int32, gen uint32) *slot {
	if int(fd) >= len(l.slots) || l.slots[fd].gen != gen {
		return nil
	}
	return &l.slots[fd]
}

// adopt makes a descriptor this loop's own. The caller fills the slot.
func (l *loop) adopt(fd int) (*slot, error) {
	if fd >= len(l.slots) {
		l.slots = append(l.slots, make([]slot, fd+1-len(l.slots)+256)...)
	}
	l.gen++
	if l.gen == 0 { // 0 is the listener's, and that of empty slots
		l.gen = 1
	}
	if err := l.poller.Add(fd, netpoll.Tag{Slot: int32(fd), Gen: l.gen}); err != nil {
		return nil, err
	}
	l.open++
	c := &l.slots[fd]
	*c = slot{gen: l.gen}
	return c, nil
}

// release gives a descriptor up. It is the only place where a slot is emptied; the caller closes the descriptor, or hands
// it on.
func (l *loop) release(fd int) {
	l.poller.Forget(fd)
	l.slots[fd] = slot{}
	l.open--
}

func (l *loop) event(ev *netpoll.Event) {
	if ev.Gen == 0 {
		l.accept()
		return
	}
	c := l.slot(ev.Slot, ev.Gen)
	switch {
	case c == nil: // closed while its event was on the way
	case c.greet != nil:
		c.greet.readable()
	case c.session != nil:
		s := c.session
		if ev.Writable {
			s.writable()
		}
		if (ev.Readable || ev.Hangup) && s.state != closed { // its descriptor may be another's by now
			s.readable(ev.Hangup)
		}
	}
}

// accept takes a few connections; if there are more, the listener is reported again, to this loop or another.
func (l *loop) accept() {
	if l.stopping {
		return
	}
	for range 16 {
		fd, err := netpoll.Accept(l.listener)
		if errors.Is(err, netpoll.ErrAgain) {
			return
		}
		if err != nil {
			// No descriptors left, most likely. Look again in a second instead of spinning on a listener that is readable.
			l.gate.log.Error("cannot accept connections, waiting a second", "error", err)
			l.paused = l.poller.Remove(l.listener) == nil
			return
		}
		l.greet(fd)
	}
}

// push queues deliveries. The loop keeps no reference to list.
func (l *loop) push(list []delivery) {
	l.mu.Lock()
	l.deliveries = append(l.deliveries, list...)
	l.mu.Unlock()
	l.poller.Wake()
}

// call runs f on the loop. It is false, and f will not run, when the loop has ended.
func (l *loop) call(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.calls = append(l.calls, f)
	l.poller.Wake()
	return true
}

func (l *loop) drain() {
	l.mu.Lock()
	list, calls := l.deliveries, l.calls
	if len(list) > 0 {
		l.deliveries, l.spare = l.spare, nil
	}
	l.calls = nil
	l.mu.Unlock()
	for i := range list {
		if d := &list[i]; d.session != nil {
			d.session.deliver(d.entry)
		} else {
			l.lose(d.lost)
		}
	}
	if len(list) > 0 && cap(list) <= 64<<10 {
		clear(list)
		l.mu.Lock()
		l.spare = list[:0]
		l.mu.Unlock()
	}
	for _, f := range calls {
		f()
	}
}

// lose tells every session of a shard that positions are lost.
func (l *loop) lose(lost *loss) {
	for i := range l.slots {
		if s := l.slots[i].session; s != nil && s.shard == lost.shard {
			s.lose(lost)
		}
	}
}

// heartbeat is the frame that tells a session it has everything up to seq, with a ping behind it. It is shared by all
// sessions that are as far as their shard.
func (l *loop) heartbeat(f *followed, s *Session) []byte {
	if s.pos == f.seq && f.heart != nil && f.heartSeq == f.seq {
		return f.heart
	}
	b := frame.AppendText(nil, appendPosition(nil, s.shard.id, f.epoch, s.pos))
	b = frame.AppendPing(b, nil)
	if s.pos == f.seq {
		f.heart, f.heartSeq = b, f.seq
	}
	return b
}

// closeAll is the end of the loop: what is open is closed without a word.
func (l *loop) closeAll() {
	l.mu.Lock()
	calls := l.calls
	l.calls, l.ended = nil, true
	l.mu.Unlock()
	for _, f := range calls {
		f()
	}
	for fd := range l.slots {
		switch c := &l.slots[fd]; {
		case c.greet != nil:
			c.greet.close()
		case c.session != nil:
			c.session.destroy(causeStopped)
		}
	}
}
