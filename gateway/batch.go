package gateway

import "tidings/gateway/netpoll"

// batch collects deliveries to different sessions, which then go out with one system call, where the system allows that: a batch of
// 256 costs 0.73 of as many writes (BenchmarkFanOut).
type batch struct {
	ring *netpoll.Ring // nil: every delivery is a write of its own
	sent []batched     // by the ring's tokens
}

type batched struct {
	session *Session
	frame   queued
}

const (
	batchMost  = 256
	batchLeast = 16 // deliveries that wait: below that a batch is not worth it
)

func (b *batch) open(l *loop) {
	if !l.gate.cfg.IOURing {
		return
	}
	ring, err := netpoll.NewRing(batchMost, b.done)
	if err != nil {
		if l.index == 0 {
			l.gate.log.Info("browsers are written to one by one", "error", err)
		}
		return
	}
	b.ring = ring
}

func (b *batch) close() {
	if b.ring != nil {
		b.ring.Close()
	}
	b.ring = nil
}

// deliver is Session.deliver, perhaps later: not before flush is it done. waiting is how many deliveries there are, with this one.
func (b *batch) deliver(s *Session, e *entry, waiting int) {
	if s.batched {
		b.flush() // two frames of one socket are not for one batch
	}
	if b.ring == nil || s.out != nil || waiting < batchLeast && len(b.sent) == 0 {
		s.deliver(e)
		return
	}
	if !s.wants(e) {
		return
	}
	q := queued{b: s.bytesOf(e), before: s.pos, moves: true, traced: e.traced}
	s.pos, s.batched = e.seq, true
	s.loop.tally.notifications[s.dialect]++
	s.observe(e)
	b.sent = append(b.sent, batched{s, q})
	if b.ring.Send(int(s.fd), q.b, uint64(len(b.sent)-1)); b.ring.Pending() == 0 {
		b.clear()
	}
}

func (b *batch) flush() {
	if len(b.sent) > 0 {
		b.ring.Flush()
		b.clear()
	}
}

// flushBeforeClose is for who closes a descriptor: the number could be another connection's before the batch goes out. What is
// reported now is over.
func (b *batch) flushBeforeClose() {
	if b.ring != nil && b.ring.Pending() > 0 {
		b.flush()
	}
}

func (b *batch) clear() {
	clear(b.sent)
	b.sent = b.sent[:0]
}

// done is told what a socket took.
func (b *batch) done(token uint64, n int, err error) {
	d := &b.sent[token]
	d.session.batched = false
	if d.frame.traced && n < len(d.frame.b) {
		d.session.loop.sighting.queued++
	}
	d.session.wrote(n, err, len(d.frame.b), func(int) []queued { return []queued{d.frame} })
}
