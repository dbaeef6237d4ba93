package gateway

import (
	"errors"
	"testing"
	"time"
)

// TestOutageIsNoReset: NATS is away for longer than a session may wait for a scan. The log has everything, so that it is told everything.
func TestOutageIsNoReset(t *testing.T) {
	h := newFragileHouse(t)
	first := h.say("alice", 0)
	for n := 1; n < 10; n++ {
		h.say("alice", n)
	}
	g := h.gate(func(c *Config) { c.TailRecords, c.ReplayTimeout = 0, time.Second })
	h.away()
	a, w := g.tab("alice", g.cursor(first))
	if w.Resume != "complete" {
		t.Fatalf("got %+v, want a complete resume", w)
	}
	eventually(t, "a scan has failed for longer than a session may wait", func() error {
		g.replay.mu.Lock()
		defer g.replay.mu.Unlock()
		if g.replay.idle.total <= g.replay.timeout {
			return errors.New("not yet")
		}
		return nil
	})
	h.back()
	a.expect(1, 9)
	if n := g.metric("tidings_resets_total"); n != 0 {
		t.Errorf("%v resets, want none", n)
	}
}

func TestOverdue(t *testing.T) {
	began := time.Now()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	r := &replay{timeout: 30 * time.Second}
	w := &waiter{since: began}
	wantOverdue := func(when int, want bool) {
		t.Helper()
		if got := r.overdue(w, at(when)); got != want {
			t.Errorf("after %d s, of them %v without NATS: overdue is %v", when, r.idle.total, got)
		}
	}
	wantOverdue(30, false)
	wantOverdue(31, true)
	r.idle.add(at(5), at(10))
	r.idle.add(at(6), at(11)) // the other worker
	r.idle.add(at(7), at(8))
	if r.idle.total != 6*time.Second {
		t.Errorf("got %v, want 6 s: the times overlap", r.idle.total)
	}
	wantOverdue(36, false)
	wantOverdue(37, true)
	r.idle.add(at(11), at(1000))
	wantOverdue(300, false)
	wantOverdue(301, true)
	w = &waiter{since: at(2000), idle: r.idle.total} // what was before does not count for it
	wantOverdue(2031, true)
}
