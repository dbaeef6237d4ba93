package ingest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// atWork is how many lanes are driven at a time: more than are ever on their way into the log. Each that waits has a stack, which the
	// collector reads, shrinks, and lets grow again: with a goroutine for each of thousands of lanes the fanout took 59 µs an event, with
	// 512 it takes 46. With fewer, what goes to NATS at a time becomes less, and that pays: 64 cost it 25 µs an event more.
	atWork = 512

	// stuckAfter: who has finished nothing for so long, or up to twice as long, is not counted among those at work. Lanes of events that
	// are tried again and again hold nobody up.
	stuckAfter = 50 * time.Millisecond
)

// crew drives lanes. A goroutine that has emptied its lane waits for another: a new one has to grow its stack first, which was a
// fifth of what an event cost here. Whoever came last goes first, while its stack is still in the processor's cache.
type crew struct {
	up sync.WaitGroup

	// Guarded by mu.
	mu      sync.Mutex
	idle    []*hand
	few     int // the fewest that were idle at a time since trim
	busy    []*hand
	working int   // those of busy that are not stuck
	waiting []job // for a hand, while there are enough at work
	look    *time.Timer
}

// hand is one goroutine of the crew.
type hand struct {
	next     chan job // has room for one
	finished atomic.Uint32

	// Guarded by crew.mu.
	at    int    // its place in busy
	seen  uint32 // what it had finished when that was looked at last
	stuck bool
}

// job is a lane that has work again.
type job struct {
	lanes *lanes
	first *work
}

// do drives a lane, when its turn has come, in a goroutine that may wait for more until ctx ends.
func (c *crew) do(ctx context.Context, j job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.working < atWork {
		c.start(ctx, j)
		return
	}
	if c.waiting = append(c.waiting, j); len(c.waiting) == 1 {
		c.look = time.AfterFunc(stuckAfter, func() { c.excuse(ctx) })
	}
}

func (c *crew) start(ctx context.Context, j job) {
	n := len(c.idle)
	if n == 0 {
		h := &hand{next: make(chan job, 1)}
		c.begin(h)
		c.up.Go(func() { c.work(ctx, h, j) })
		return
	}
	h := c.idle[n-1]
	c.idle[n-1] = nil
	c.idle = c.idle[:n-1]
	c.few = min(c.few, n-1)
	c.begin(h)
	h.next <- j
}

// begin counts h among those at work.
func (c *crew) begin(h *hand) {
	h.at, h.stuck = len(c.busy), false
	h.seen = h.finished.Load() - 1 // it has begun just now
	c.busy = append(c.busy, h)
	c.working++
}

// work drives the lane of j and those that come after, until it is sent away or ctx ends.
func (c *crew) work(ctx context.Context, h *hand, j job) {
	for ok := true; ok; {
		j.lanes.drive(j.first, h)
		if j, ok = c.another(h); ok {
			continue
		}
		select {
		case j, ok = <-h.next:
		case <-ctx.Done():
			if c.leave(h) {
				return
			}
			j, ok = <-h.next
		}
	}
}

// another is the lane that has waited for the longest, unless there are enough at work without h: then h rests.
func (c *crew) another(h *hand) (j job, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.busy) - 1
	c.busy[h.at], c.busy[last].at = c.busy[last], h.at
	c.busy[last] = nil
	c.busy = c.busy[:last]
	if !h.stuck {
		c.working--
	}
	if len(c.waiting) == 0 || c.working >= atWork {
		c.idle = append(c.idle, h)
		return j, false
	}
	c.begin(h)
	return c.take(), true
}

// take is the first of those that wait.
func (c *crew) take() job {
	j := c.waiting[0]
	c.waiting[0] = job{}
	if c.waiting = c.waiting[1:]; len(c.waiting) == 0 {
		c.waiting = nil
		c.look.Stop()
	}
	return j
}

// excuse looks who is stuck, and gives their places to lanes that wait. It is called again and again while any does.
func (c *crew) excuse(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return
	}
	c.working = 0
	for _, h := range c.busy {
		n := h.finished.Load()
		if h.stuck = h.seen == n; !h.stuck {
			c.working++
		}
		h.seen = n
	}
	for len(c.waiting) > 0 && c.working < atWork {
		c.start(ctx, c.take())
	}
	if len(c.waiting) > 0 {
		c.look.Reset(stuckAfter)
	}
}

// leave is false when h was chosen for work, or sent away.
func (c *crew) leave(h *hand) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.idle, h)
	if i < 0 {
		return false
	}
	c.idle = slices.Delete(c.idle, i, i+1)
	c.few = min(c.few, len(c.idle))
	return true
}

// trim sends away a fourth of those that were not needed since it was called last: behind a burst thousands may wait, with 8 KiB of
// stack each, but the next burst may be near.
func (c *crew) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := (c.few + 3) / 4
	for _, h := range c.idle[:n] {
		close(h.next)
	}
	c.idle = slices.Delete(c.idle, 0, n)
	c.few = len(c.idle)
}
