package ingest

import (
	"context"
	"slices"
	"sync"
)

// crew drives lanes. A goroutine that has emptied its lane waits for another: a new one has to grow its stack first, which was a
// fifth of what an event cost here. Whoever came last goes first, while its stack is still in the processor's cache.
type crew struct {
	up sync.WaitGroup

	// Guarded by mu.
	mu   sync.Mutex
	idle []chan job
	few  int // the fewest that were idle at a time since trim
}

// job is a lane that has work again.
type job struct {
	lanes *lanes
	first *work
}

// do drives a lane in a goroutine, which may wait for more until ctx ends.
func (c *crew) do(ctx context.Context, j job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		c.up.Go(func() { c.work(ctx, j) })
		return
	}
	c.idle[n-1] <- j // there is room for one
	c.idle = c.idle[:n-1]
	c.few = min(c.few, n-1)
}

// work drives the lane of j and those that come after, until it is sent away or ctx ends.
func (c *crew) work(ctx context.Context, j job) {
	next := make(chan job, 1)
	for ok := true; ok; {
		j.lanes.drive(j.first)
		c.rest(next)
		select {
		case j, ok = <-next:
		case <-ctx.Done():
			if c.leave(next) {
				return
			}
			j, ok = <-next
		}
	}
}

func (c *crew) rest(next chan job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, next)
}

// leave is false when next was chosen for work, or sent away.
func (c *crew) leave(next chan job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.idle, next)
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
	for _, next := range c.idle[:n] {
		close(next)
	}
	c.idle = slices.Delete(c.idle, 0, n)
	c.few = len(c.idle)
}
