package ingest

import (
	"sync"
	"time"
)

// Limits of what one reader has in hand.
const (
	// maxInHand is twice what the server delivers unacknowledged: a take-over reads more.
	maxInHand = 2 * maxAckPending

	// maxSpan bounds how far the newest event in hand is ahead of the oldest, in events of the partition. If this process
	// dies now, the next one reads all of them again, acknowledged or not.
	maxSpan = 8192

	// remembered events that are done: twice this number. Redeliveries of events whose acknowledgement was lost come within
	// seconds; one that is forgotten is handled again, which stores nothing twice.
	remembered = 4096
)

// lanes keeps what one reader has in hand: a queue per aggregate, which the crew drives while it is not empty.
type lanes struct {
	src  *Source
	grip *grip
	room chan struct{} // holds one when something was done since it was last taken

	// Guarded by mu.
	mu             sync.Mutex
	lanes          map[string][]*work // by aggregate; the first of each is being handled
	inHand         map[eventID]*work
	oldest, newest *work
	put1           uint64 // how many were ever put
	done, doneOld  map[eventID]struct{}
}

// work is one event in hand.
type work struct {
	// Fixed at creation.
	*delivery
	aggregate string
	again     bool // it may have been handled before
	since     time.Time
	ordinal   uint64

	// Guarded by lanes.mu; ack and times of the delivery, too.
	progress   time.Time
	prev, next *work
}

func newLanes(s *Source, g *grip) *lanes {
	return &lanes{
		src:    s,
		grip:   g,
		room:   make(chan struct{}, 1),
		lanes:  make(map[string][]*work),
		inHand: make(map[eventID]*work),
		done:   make(map[eventID]struct{}),
	}
}

// put takes d in hand, behind all others of its aggregate. What is in hand or done already is recognised. It returns false
// when there is no room for now.
func (l *lanes) put(d *delivery, again bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := d.id()
	if l.isDone(id) {
		l.src.acks.add(d.ack) // the one before was lost
		l.src.metrics.events.duplicate.Inc()
		return true
	}
	if w := l.inHand[id]; w != nil {
		w.ack, w.times = d.ack, max(w.times, d.times)
		return true
	}
	if l.full() || !l.src.budget.TryAcquire(d.weight()) {
		return false
	}
	now := time.Now()
	w := &work{delivery: d, aggregate: storedAggregate(d.msg.Subject), again: again, since: now, progress: now, ordinal: l.put1}
	l.put1++
	l.link(w)
	queue := append(l.lanes[w.aggregate], w)
	l.lanes[w.aggregate] = queue
	if len(queue) == 1 {
		l.src.crew.do(l.src.work, job{l, w})
	}
	return true
}

// weight is what an event takes of the byte budget.
func (d *delivery) weight() int64 { return min(int64(len(d.msg.Data))+512, maxBytesInHand) }

func (l *lanes) full() bool {
	return len(l.inHand) >= maxInHand || l.oldest != nil && l.put1-l.oldest.ordinal >= maxSpan
}

// drive handles the lane that w is the first of, until it is empty.
func (l *lanes) drive(w *work, h *hand) {
	for w != nil {
		w = l.finished(w, l.src.handleWork(l, w))
		h.finished.Add(1)
	}
}

// finished takes w out of its lane and returns the next one.
func (l *lanes) finished(w *work, done bool) *work {
	l.src.budget.Release(w.weight())
	l.mu.Lock()
	l.unlink(w)
	if done {
		l.remember(w.id())
		l.src.acks.add(w.ack)
	}
	queue := l.lanes[w.aggregate]
	queue[0] = nil
	queue = queue[1:]
	var next *work
	if len(queue) > 0 {
		next = queue[0]
		l.lanes[w.aggregate] = queue
	} else {
		delete(l.lanes, w.aggregate)
	}
	l.mu.Unlock()
	select {
	case l.room <- struct{}{}:
	default:
	}
	return next
}

// deliveries is how often the consumer has delivered w.
func (l *lanes) deliveries(w *work) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.times
}

func (l *lanes) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inHand) == 0
}

// unacked returns the events that the server would soon deliver again if it did not hear that they are worked on.
func (l *lanes) unacked(now time.Time) (acks []ackReply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := l.oldest; w != nil; w = w.next {
		if now.Sub(w.progress) >= progressEvery && w.ack != "" {
			w.progress = now
			acks = append(acks, w.ack)
		}
	}
	return acks
}

func (l *lanes) link(w *work) {
	l.inHand[w.id()] = w
	l.src.metrics.inHand.Inc()
	if w.prev = l.newest; w.prev != nil {
		w.prev.next = w
	} else {
		l.oldest = w
	}
	l.newest = w
}

func (l *lanes) unlink(w *work) {
	delete(l.inHand, w.id())
	l.src.metrics.inHand.Dec()
	l.src.doneAt.Store(time.Now().UnixNano())
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.oldest = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.newest = w.prev
	}
}

func (l *lanes) isDone(id eventID) bool {
	if _, ok := l.done[id]; ok {
		return true
	}
	_, ok := l.doneOld[id]
	return ok
}

func (l *lanes) remember(id eventID) {
	if len(l.done) >= remembered {
		l.done, l.doneOld = make(map[eventID]struct{}, remembered), l.done
	}
	l.done[id] = struct{}{}
}
