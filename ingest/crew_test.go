package ingest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// idleHands is how many of the crew wait.
func (c *crew) idleHands() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}

func TestCrew(t *testing.T) {
	const burst = 50
	end := make(chan struct{})
	s, err := NewSource(newBench(t).nc, testConfig(), testLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.work = ctx
	s.handle = func(context.Context, *Event) error { <-end; return nil }
	l := s.readers[0].lanes
	seq := uint64(0)
	put := func(n int) {
		for range n {
			seq++
			m := &jetstream.RawStreamMsg{Subject: fmt.Sprintf("ev.0.orders.%d.shipped", seq), Sequence: seq, Time: time.Now()}
			if !l.put(&delivery{msg: m, times: 1}, false) {
				t.Fatal("no room")
			}
		}
	}
	put(burst)
	if got := s.crew.idleHands(); got != 0 {
		t.Errorf("all at work: got %d idle, want 0", got)
	}
	close(end)
	waitFor(t, "the burst to be done", func() bool { return s.crew.idleHands() == burst })
	s.crew.trim() // they were all needed just now
	if got := s.crew.idleHands(); got != burst {
		t.Errorf("after the burst: got %d idle, want %d", got, burst)
	}
	put(3)
	waitFor(t, "the next to be done", func() bool { return l.idle() && s.crew.idleHands() == burst })
	s.crew.trim()
	if got := s.crew.idleHands(); got >= burst || got < burst*3/4-1 {
		t.Errorf("some were not needed: got %d idle, want three fourths of %d", got, burst)
	}
	for range burst {
		s.crew.trim()
	}
	if got := s.crew.idleHands(); got != 0 {
		t.Errorf("long after the burst: got %d idle, want 0", got)
	}
	put(1)
	waitFor(t, "one more to be done", func() bool { return s.crew.idleHands() == 1 })
	cancel()
	s.crew.up.Wait()
	if got := s.crew.idleHands(); got != 0 {
		t.Errorf("at the end: got %d idle, want 0", got)
	}
}
