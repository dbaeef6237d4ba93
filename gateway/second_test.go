package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestASecondIsSpread: what falls due in one second is not done at once, deliveries do not wait for it, and nothing is forgotten, not even when
// the second ends before all is done.
func TestASecondIsSpread(t *testing.T) {
	const n = 700
	b := newBench(t, func(c *Config) { c.Heartbeat = time.Second })
	var all []*Session
	for i := range n {
		s, _ := b.session(fmt.Sprint("user", i))
		all = append(all, s)
	}
	alice, browser := b.session("alice")
	read(browser)
	waiting := func() (n int) {
		for _, s := range all {
			if s.beat <= b.loop.sec {
				n++
			}
		}
		return n
	}
	share := (n + 1 + dueParts - 1) / dueParts
	b.loop.second(b.loop.sec + 1)
	if got := waiting(); got < n-share || got == n {
		t.Fatalf("when the second begins, %d of %d wait for their heartbeat, want all but %d", got, n, share)
	}
	b.say("alice")
	if got := read(browser); alice.pos != b.seq || len(got) == 0 {
		t.Error("a delivery waited for heartbeats")
	}
	for before := waiting(); b.loop.dueAt < len(b.loop.due); before = waiting() {
		b.loop.remindPart()
		if done := before - waiting(); done > share {
			t.Fatalf("%d heartbeats at once, want %d at most", done, share)
		}
	}
	if got := waiting(); got != 0 {
		t.Errorf("at the end %d of %d have not had a heartbeat", got, n)
	}

	for _, s := range all {
		s.pinged = false // their pongs have come
	}
	alice.pinged = false
	for b.loop.second(b.loop.sec + 1); waiting() > n/2 && b.loop.dueAt < len(b.loop.due); {
		b.loop.remindPart()
	}
	left := slices.Clone(b.loop.due[b.loop.dueAt:])
	b.loop.second(b.loop.sec + 1)
	for _, tag := range left[:share] { // they come first
		if s, _ := b.loop.owner(tag); s != nil && s.beat <= b.loop.sec {
			t.Fatal("who was left from the second before has to wait again")
		}
	}
	for b.loop.dueAt < len(b.loop.due) {
		b.loop.remindPart()
	}
	for _, s := range all {
		if s.state != live && s.state < closing { // those of the first half are closed: no pong came in the meantime
			t.Fatalf("got state %d", s.state)
		}
		if s.state == live && (s.beat <= b.loop.sec || s.reminder <= b.loop.sec) {
			t.Fatalf("beat %d, reminder %d, now %d: forgotten", s.beat, s.reminder, b.loop.sec)
		}
	}
}
