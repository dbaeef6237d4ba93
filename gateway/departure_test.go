package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// departed counts the sessions that were sent away.
func departed(list []*Session) (n int) {
	for _, s := range list {
		if s.state >= closing {
			n++
		}
	}
	return n
}

// users are sessions of so many users.
func (b *bench) users(n int) (list []*Session) {
	for i := range n {
		s, _ := b.session(fmt.Sprint("user", i))
		list = append(list, s)
	}
	return list
}

// TestDepartureIsPaced: at any moment of the window, that share of the sessions has been sent away, and no more.
func TestDepartureIsPaced(t *testing.T) {
	b := newBench(t, nil)
	list := b.users(100)
	done := false
	const window = time.Second
	b.loop.depart(1, window, returnSpread, func() { done = true })
	d := b.loop.departing
	if d == nil || departed(list) > 5 {
		t.Fatalf("%d of 100 left at once", departed(list))
	}
	for _, part := range []float64{0.1, 0.25, 0.5, 0.9} {
		d.from = time.Now().Add(-time.Duration(part * float64(window)))
		b.loop.goOn()
		if got, want := departed(list), int(100*part); got < want || got > want+5 { // the test takes some time itself
			t.Errorf("%d left after %v of the window, want %d", got, part, want)
		}
	}
	if done || b.loop.departing == nil {
		t.Error("it ended before the window")
	}
	d.from = time.Now().Add(-window)
	b.loop.goOn()
	if got := departed(list); got != 100 || !done || b.loop.departing != nil {
		t.Errorf("%d left behind the window (the end was told: %v), want all", got, done)
	}
}

// TestBusySessionsLeaveLast: who is being sent something has the time that there is.
func TestBusySessionsLeaveLast(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Queue = 4 })
	list := b.users(50)
	first, _ := b.session("busy")
	fill(first)
	b.say("busy")
	if first.out == nil {
		t.Fatal("nothing waits for the socket")
	}
	b.loop.depart(1, time.Second, returnSpread, nil)
	d := b.loop.departing
	later := list[7]
	fill(later) // one that was idle when they were put in order
	b.say(later.user)
	d.from = time.Now().Add(-980 * time.Millisecond)
	b.loop.goOn()
	if first.state >= closing || later.state >= closing {
		t.Error("a session with something in flight left, while there was time")
	}
	if n := departed(list); n < 45 {
		t.Errorf("%d of the idle ones left by then", n)
	}
	d.from = time.Now().Add(-time.Second)
	b.loop.goOn()
	if first.state < closing || later.state < closing || departed(list) != 50 {
		t.Error("some are left behind the window")
	}
}

// TestDepartureDelays: everybody gets a delay of its own, and EventSource at least a second.
func TestDepartureDelays(t *testing.T) {
	b := newBench(t, nil)
	seen := map[string]int{}
	var browsers []int
	for n := range 60 {
		_, fd := b.session(fmt.Sprint("user", n))
		browsers = append(browsers, fd)
	}
	b.loop.depart(1, 0, 2*time.Second, nil)
	for _, fd := range browsers {
		text := string(read(fd))
		_, rest, ok := strings.Cut(text, `{"type":"draining","retryAfterMs":`)
		ms, _, _ := strings.Cut(rest, "}")
		if !ok || len(ms) > 4 || len(ms) == 4 && ms >= "2000" {
			t.Fatalf("got %q, want a delay of less than 2 s", text)
		}
		seen[ms]++
	}
	if len(seen) < 30 {
		t.Errorf("60 browsers got %d different delays", len(seen))
	}
}

// TestShareLeaves: shedding takes a share, and leaves the others alone.
func TestShareLeaves(t *testing.T) {
	b := newBench(t, nil)
	list := b.users(40)
	b.loop.depart(0.25, 0, returnSpread, nil)
	if got := departed(list); got != 10 {
		t.Errorf("%d of 40 left, want a quarter", got)
	}
	b.say(list[0].user)
	b.loop.depart(0, time.Second, returnSpread, nil)
	if b.loop.departing != nil {
		t.Error("a departure of nobody goes on")
	}
}

// TestWhoLeavesMeanwhile: sessions that end by themselves during a departure, or others that take their slots, do not disturb it.
func TestWhoLeavesMeanwhile(t *testing.T) {
	b := newBench(t, nil)
	list := b.users(20)
	b.loop.depart(1, time.Second, returnSpread, nil)
	d := b.loop.departing
	for _, s := range list {
		s.destroy(causeGone)
	}
	fresh, _ := b.session("fresh")
	d.from = time.Now().Add(-time.Second)
	b.loop.goOn()
	if fresh.state != live {
		t.Error("one that came later left, in whose slot another had been")
	}
}

// TestLifetime: a session is sent away between half of the lifetime and all of it, each at its own time.
func TestLifetime(t *testing.T) {
	const life = 1000
	b := newBench(t, func(c *Config) { c.MaxLifetime = life * time.Second })
	var list []*Session
	for n := range 100 {
		s, fd := b.session(fmt.Sprint("user", n))
		list = append(list, s)
		t.Cleanup(func() { read(fd) })
	}
	began := b.loop.sec
	at := map[*Session]uint32{}
	for len(at) < len(list) && b.loop.sec < began+2*life {
		b.later(1)
		for _, s := range list {
			s.pinged = false // as if the browser had answered
			if _, ok := at[s]; !ok && s.state >= closing {
				at[s] = b.loop.sec - began
			}
		}
	}
	half := 0
	for _, s := range list {
		if at[s] < life/2 || at[s] > life+wheelSize {
			t.Errorf("a session left after %d s, want %d to %d", at[s], life/2, life)
		}
		if at[s] < life*3/4 {
			half++
		}
	}
	if half < 25 || half > 75 {
		t.Errorf("%d of 100 left in the first half of the time", half)
	}
}
