package ingest

import (
	"context"
	"fmt"
	"slices"
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

// idle tells that nothing is in hand.
func (s *Source) idle() bool {
	return !slices.ContainsFunc(s.readers, func(r *reader) bool { return !r.lanes.idle() })
}

// newCrew gives a Source whose crew can be given work without a stream: put puts so many events into lanes of their own, of all readers.
func newCrew(t *testing.T, handle func(context.Context, *Event) error) (s *Source, put func(int), end func()) {
	t.Helper()
	s, err := NewSource(newBench(t).nc, testConfig(), testLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.work, s.handle = ctx, handle
	seq := uint64(0)
	put = func(n int) {
		for range n {
			seq++
			m := &jetstream.RawStreamMsg{Subject: fmt.Sprintf("ev.0.orders.%d.shipped", seq), Sequence: seq, Time: time.Now()}
			if !s.readers[seq%uint64(len(s.readers))].lanes.put(&delivery{msg: m, times: 1}, false) { // one alone has not so much in hand
				t.Fatal("no room")
			}
		}
	}
	return s, put, func() { cancel(); s.crew.up.Wait() }
}

func TestCrew(t *testing.T) {
	const burst = 50
	open := make(chan struct{})
	s, put, end := newCrew(t, func(context.Context, *Event) error { <-open; return nil })
	put(burst)
	if got := s.crew.idleHands(); got != 0 {
		t.Errorf("all at work: got %d idle, want 0", got)
	}
	close(open)
	waitFor(t, "the burst to be done", func() bool { return s.crew.idleHands() == burst })
	s.crew.trim() // they were all needed just now
	if got := s.crew.idleHands(); got != burst {
		t.Errorf("after the burst: got %d idle, want %d", got, burst)
	}
	put(3)
	waitFor(t, "the next to be done", func() bool { return s.idle() && s.crew.idleHands() == burst })
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
	end()
	if got := s.crew.idleHands(); got != 0 {
		t.Errorf("at the end: got %d idle, want 0", got)
	}
}

// TestCrewAtWork: so many lanes are driven at a time, and the others wait; but those that are stuck hold nobody up.
func TestCrewAtWork(t *testing.T) {
	const more = 40
	begun, open := make(chan uint64, 2*atWork), make(chan struct{})
	s, put, end := newCrew(t, func(ctx context.Context, e *Event) error {
		begun <- e.Sequence
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	c := &s.crew
	began := time.Now()
	put(atWork + more)
	c.mu.Lock()
	if busy := len(c.busy); busy != atWork && time.Since(began) < stuckAfter { // later, some may have been found stuck
		t.Errorf("%d lanes are driven, want %d", busy, atWork)
	}
	c.mu.Unlock()
	for range atWork {
		<-begun
	}
	// All of these stand still, so the rest begins without one of them being done.
	rest := map[uint64]bool{}
	for range more {
		rest[<-begun] = true
	}
	if len(rest) != more {
		t.Errorf("%d of the others began, want %d", len(rest), more)
	}
	c.mu.Lock()
	if len(c.busy) != atWork+more || c.working > atWork || len(c.waiting) != 0 {
		t.Errorf("%d busy, %d of them at work, %d waiting; want %d, at most %d, 0", len(c.busy), c.working, len(c.waiting), atWork+more, atWork)
	}
	c.mu.Unlock()

	// Once they go on, everything is done, and nobody counts as busy.
	close(open)
	waitFor(t, "the first to be done", s.idle)
	put(3 * atWork / 2)
	for range 3 * atWork / 2 {
		<-begun
	}
	waitFor(t, "all to be done", s.idle)
	end()
	if len(c.busy) != 0 || c.working != 0 || len(c.idle) != 0 || len(c.waiting) != 0 {
		t.Errorf("at the end %d are busy, %d at work, %d idle, %d waiting", len(c.busy), c.working, len(c.idle), len(c.waiting))
	}
}

// TestCrewEnds: what waits for a hand when everything ends is let go of, and nobody stays behind.
func TestCrewEnds(t *testing.T) {
	begun := make(chan struct{}, 4*atWork)
	_, put, end := newCrew(t, func(ctx context.Context, _ *Event) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	put(2 * atWork)
	for range atWork {
		<-begun
	}
	end()
}
