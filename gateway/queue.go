package gateway

import (
	"time"

	"tidings/fanout/wire"
	"tidings/gateway/frame"
)

// delivery is one entry on its way to a loop: for one session, or, without one, for all of the loop's sessions of the entry's
// shard. An entry without a kind says that those have lost their positions. One that is not for all, without a session, is traced, and its
// deliveries here were all before this one.
type delivery struct {
	session *Session
	entry   *entry
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

func (l *loop) runCalls() {
	l.mu.Lock()
	calls := l.calls
	l.calls = nil
	l.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// drain makes deliveries in the order in which they were queued, about as many as most. It tells whether those were all. What
// is left is done later, with the sockets' events in between: no order depends on those.
func (l *loop) drain(most int) (all bool) {
	l.clock.refresh()
	defer l.batch.flush()
	for {
		if l.at == len(l.list) && !l.swap() {
			return true
		}
		if most <= 0 {
			return false
		}
		switch d := &l.list[l.at]; {
		case d.session != nil:
			l.batch.deliver(d.session, d.entry, len(l.list)-l.at)
			most--
			l.at++
		case d.entry.kind == 0:
			l.batch.flush()
			l.lose(d.entry)
			l.at++
		case d.entry.kind != wire.All:
			l.passed(d.entry)
			l.at++
		default:
			most -= l.sweep(d.entry, most)
			if l.swept == len(l.slots) {
				if d.entry.traced {
					l.passed(d.entry)
				}
				l.swept = 0
				l.at++
			}
		}
	}
}

// swap takes what was queued while the list was worked on. It is false when that is nothing.
func (l *loop) swap() bool {
	done := l.list
	if cap(done) > 64<<10 {
		done = nil
	}
	clear(done)
	l.mu.Lock()
	l.list, l.deliveries, l.at = l.deliveries, done[:0], 0
	l.mu.Unlock()
	l.promise.swapped(l, len(l.list) > 0)
	return len(l.list) > 0
}

// sweep delivers an entry to the next slots, to most sessions, and gives to how many. Sessions that come while it is under
// way may be passed or not: they began behind the entry.
func (l *loop) sweep(e *entry, most int) (n int) {
	a, err := wire.ParseAudience(e.audience)
	if err != nil { // cannot be: it was parsed when it arrived
		l.swept = len(l.slots)
		return 0
	}
	for ; l.swept < len(l.slots) && n < most; l.swept++ {
		if s := l.slots[l.swept].session; s != nil && s.shard == e.shard && !a.Excepts(s.user, s.groups()) {
			l.batch.deliver(s, e, len(l.slots)-l.swept)
			n++
		}
	}
	return n
}

// lose tells every session of a shard that positions are lost.
func (l *loop) lose(e *entry) {
	for i := range l.slots {
		if s := l.slots[i].session; s != nil && s.shard == e.shard {
			s.lose(e.life)
		}
	}
}

// followed is a shard's position that a loop may promise to its sessions.
type followed struct {
	position
	heart    [2][]byte // the heartbeat for it, as frames and as an event, made when first needed
	heartSeq uint64
}

// followed is what may be promised to sessions of a shard; nil where that is nothing yet: a loop learns of a new shard within a second,
// or later when it has much to deliver.
func (l *loop) followed(sh *shard) *followed {
	if sh.id >= len(l.feeds) {
		return nil
	}
	return &l.feeds[sh.id]
}

// promise is what may be promised to sessions soon: whatever it covers was in the loop's queue when it was read.
type promise struct {
	feeds   []followed
	waiting bool // until the queue of that time is drained
	taken   bool // which is being worked on
}

// takePromise asks the shards for their positions, once a second. A heartbeat must not overtake what its position covers.
func (l *loop) takePromise() {
	if !l.promise.waiting {
		l.promise.feeds = l.gate.positions(l.promise.feeds, l.feeds)
		l.promise.waiting = true
	}
	l.drain(turnDeliveries)
}

// swapped is told that all the loop had taken is done, and whether it has taken more.
func (p *promise) swapped(l *loop, more bool) {
	if p.waiting && (p.taken || !more) {
		l.feeds, p.feeds = p.feeds, l.feeds
		p.waiting, p.taken = false, false
		return
	}
	p.taken = p.waiting
}

// heartbeat is the frame that tells a session it has everything up to seq, with a ping behind it. It is shared by all
// sessions that are as far as their shard.
func (l *loop) heartbeat(f *followed, s *Session) []byte {
	if f.heartSeq != f.seq {
		f.heart, f.heartSeq = [2][]byte{}, f.seq
	}
	heart := &f.heart[framed]
	if s.form == events {
		heart = &f.heart[events]
	}
	if s.pos == f.seq && *heart != nil {
		return *heart
	}
	b := heartbeat(wire.Cursor{Shard: s.shard.id, Epoch: f.epoch, Seq: s.pos}, s.form)
	if s.pos == f.seq {
		*heart = b
	}
	return b
}

func heartbeat(c wire.Cursor, as form) []byte {
	if as == events {
		return appendEvent(nil, "", c.Append(nil), positionText(c))
	}
	return frame.AppendPing(frame.AppendText(nil, positionText(c)), nil)
}

// clock is the time of deliveries, read once for several.
type clock struct {
	now  int64 // Unix nanoseconds
	left int
}

// clockLasts: a delivery takes some 5 to 10 µs, so that the time of the last is known to 0.2 ms.
const clockLasts = 16

func (c *clock) refresh() { c.left = 0 }

func (c *clock) read() int64 {
	if c.left == 0 {
		c.now, c.left = time.Now().UnixNano(), clockLasts
	}
	c.left--
	return c.now
}

// tally counts what happens too often to add it to what all loops share each time.
type tally struct {
	notifications                      [dialects]int
	heartbeats, frames, sent, received int
	skewed                             int
}

func (t *tally) flush(m *metrics) {
	if *t == (tally{}) {
		return
	}
	for d, n := range t.notifications {
		m.notifications[d].Add(float64(n))
	}
	m.heartbeats.Add(float64(t.heartbeats))
	m.frames.Add(float64(t.frames))
	m.bytes.Add(float64(t.sent))
	m.received.Add(float64(t.received))
	m.latency.skewed.Add(float64(t.skewed))
	*t = tally{}
}
