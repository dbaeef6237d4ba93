package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	slots     []slot              // dense: a free one is taken before another is made
	free      uint32              // a free slot, +1; 0: there is none
	greets    map[int32]*greeting // by slot: connections that are no sessions yet
	gen       uint32
	events    []netpoll.Event
	head      *headReader
	read      []byte // what a socket had to say, until the next is read
	cork      cork
	batch     batch
	wheel     wheel
	due       []netpoll.Tag // reminded in this second, in parts: those before dueAt are done
	dueAt     int
	duePart   int        // how many at a time
	dueNext   time.Time  // when it is the next part's turn
	secEnd    time.Time  // when the second is over
	busy      []*Session // those that go on with catching up in this turn
	departing *departure // nil: nobody is sent away
	sec       uint32     // seconds since the gateway began
	feeds     []followed // by shard: what may be promised to sessions
	promise   promise
	list      []delivery // being worked on: the first of them are done
	at        int        // so many
	swept     int        // slots that a delivery to all has passed
	clock     clock
	tally     tally
	diary     diary
	sighting  sighting
	stopping  bool
	paused    bool // the listener is not watched: no descriptors left
	open      int  // sockets

	alive atomic.Int64 // Unix seconds of the last turn

	// Guarded by mu.
	mu         sync.Mutex
	deliveries []delivery
	calls      []func()
	ended      bool // nothing is queued any more
}

// slot is a descriptor that this loop owns: a session, or a connection before its upgrade.
type slot struct {
	session *Session
	gen     uint32 // 0: the slot is free
	word    uint32 // of a free slot: the next one, +1; of a session: the second in which it began
}

func newLoop(index int, g *Gateway, listener int) (*loop, error) {
	p, err := netpoll.New()
	if err != nil {
		return nil, err
	}
	l := &loop{
		index: index, gate: g, poller: p, listener: listener,
		greets: map[int32]*greeting{}, head: newHeadReader(), read: make([]byte, 64<<10), events: make([]netpoll.Event, 0, 256),
		diary: newDiary(),
	}
	l.sec = g.seconds()
	l.wheel.now = l.sec
	l.alive.Store(time.Now().Unix())
	l.batch.open(l)
	if listener >= 0 {
		if err := p.AddListener(listener, netpoll.Tag{}); err != nil {
			l.batch.close()
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
	l.secEnd = time.Now().Add(time.Second)
	l.rest()
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
	} else if l.dueAt < len(l.due) && !time.Now().Before(l.dueNext) {
		l.remindPart()
	}
	for i := range l.events {
		l.event(&l.events[i])
	}
	l.runCalls()
	done := l.drain(turnDeliveries)
	for _, s := range l.swapBusy() {
		if s.state == joining && s.out == nil {
			s.step()
		}
	}
	l.goOn()
	l.tally.flush(l.gate.metrics)
	if !done || len(l.busy) > 0 {
		l.poller.Wake() // there is more to do, after the sockets had their turn
	}
}

// turnDeliveries is how many deliveries a loop makes before it looks at its sockets again: some 5 ms of writing.
const turnDeliveries = 512

func (l *loop) swapBusy() []*Session {
	b := l.busy
	l.busy = nil
	return b
}

// second is what happens once a second: deadlines and heartbeats.
func (l *loop) second(sec uint32) {
	l.sec = sec
	now := time.Now()
	l.alive.Store(now.Unix())
	l.secEnd = now.Add(time.Second)
	l.takePromise()
	if l.paused && !l.stopping {
		l.paused = l.poller.AddListener(l.listener, netpoll.Tag{}) != nil
	}
	l.due = append(l.due[:0], l.due[l.dueAt:]...) // what a busy second has left
	l.dueAt = 0
	l.wheel.advance(sec, func(t netpoll.Tag) { l.due = append(l.due, t) })
	l.duePart = max(dueLeast, (len(l.due)+dueParts-1)/dueParts)
	l.remindPart()
}

// A second's reminders are spread over it. Most are heartbeats, which cost a write here and a pong there: of 19,000 quiet sessions 760 fall due
// in each second, and done at once they held up all deliveries for 20 ms.
const (
	dueParts = 16
	dueLeast = 32 // fewer are not worth a wake-up
)

// remindPart reminds some of those that are due, and sees to it that the loop goes on with the others.
func (l *loop) remindPart() {
	part := l.due[l.dueAt:]
	part = part[:min(l.duePart, len(part))]
	l.dueAt += len(part)
	for _, t := range part {
		l.remind(t)
	}
	l.dueNext = time.Now().Add(time.Second / (dueParts + 1))
	l.rest()
}

// rest is until the next part's turn, or the end of the second.
func (l *loop) rest() {
	until := l.secEnd
	if l.dueAt < len(l.due) {
		until = l.dueNext
	}
	l.poller.SetDeadline(until)
}

// remind is the wheel's: the time has come that something in this slot asked for.
func (l *loop) remind(t netpoll.Tag) {
	if s, g := l.owner(t); s != nil {
		s.check()
	} else if g != nil {
		g.check()
	}
}

// owner is what a tag stands for: a session, a greeting, or neither, if that was closed meanwhile.
func (l *loop) owner(t netpoll.Tag) (*Session, *greeting) {
	if int(t.Slot) >= len(l.slots) || l.slots[t.Slot].gen != t.Gen {
		return nil, nil
	}
	if s := l.slots[t.Slot].session; s != nil {
		return s, nil
	}
	return nil, l.greets[t.Slot]
}

// adopt makes a descriptor this loop's own. The caller puts a session or a greeting there.
func (l *loop) adopt(fd int) (netpoll.Tag, error) {
	i := int32(l.free) - 1
	if i < 0 {
		i = int32(len(l.slots))
	}
	l.gen++
	if l.gen == 0 { // 0 is the listener's, and that of free slots
		l.gen = 1
	}
	t := netpoll.Tag{Slot: i, Gen: l.gen}
	if err := l.poller.Add(fd, t); err != nil {
		return t, err
	}
	if l.free > 0 {
		l.free = l.slots[i].word
		l.slots[i] = slot{gen: t.Gen}
	} else {
		l.slots = append(l.slots, slot{gen: t.Gen})
	}
	l.open++
	return t, nil
}

// release gives a descriptor up. It is the only place where a slot is emptied; the caller closes the descriptor, or hands
// it on.
func (l *loop) release(fd int, i int32) {
	l.batch.flushBeforeClose()
	l.poller.Forget(fd)
	delete(l.greets, i)
	l.slots[i] = slot{word: l.free}
	l.free = uint32(i) + 1
	l.open--
}

func (l *loop) event(ev *netpoll.Event) {
	if ev.Gen == 0 {
		l.accept()
		return
	}
	switch s, g := l.owner(ev.Tag); {
	case g != nil:
		g.readable()
	case s != nil:
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
		l.greet(fd, nil)
	}
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
	l.each(func(s *Session) { s.destroy(causeStopped) }, (*greeting).close)
	l.batch.close()
	l.tally.flush(l.gate.metrics)
}

// each goes through everything that is open.
func (l *loop) each(session func(*Session), greet func(*greeting)) {
	for i := range l.slots {
		if s := l.slots[i].session; s != nil {
			session(s)
		} else if g := l.greets[int32(i)]; g != nil {
			greet(g)
		}
	}
}
