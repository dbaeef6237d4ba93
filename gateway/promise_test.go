package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/fanout/wire"
)

// Whatever holds a loop up, a heartbeat's cursor never covers what has not come yet.
func TestHeartbeatsOfABusyLoop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Heartbeat, c.Loops = 2*time.Second, 1 })
	a, _ := g.tab("alice", "")
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	busy.Go(func() {
		for ctx.Err() == nil {
			held := make(chan struct{})
			if !g.loops[0].call(func() { time.Sleep(700 * time.Millisecond); close(held) }) {
				return
			}
			<-held
		}
	})
	const count = 30
	var said [count]atomic.Uint64 // alice's, by number
	busy.Go(func() {
		for n := range count { // more than a heartbeat between two of alice's, now and then
			h.say("bob", n)
			said[n].Store(h.say("alice", n))
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(20+n%10/9*2500) * time.Millisecond):
			}
		}
	})
	beats, promised := 0, uint64(0)
	for n := 0; n < count; {
		m := a.next()
		c, err := wire.ParseCursor(m.Cursor)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Type == "":
			if seq := said[n].Load(); seq != 0 && seq <= c.Seq {
				t.Fatalf("a heartbeat promises %d, and notification %d at %d has not come", c.Seq, n, seq)
			}
			promised = max(promised, c.Seq)
			beats++
		case string(m.Data) != fmt.Sprint(n):
			t.Fatalf("got %+v, want %d", m, n)
		case c.Seq <= promised:
			t.Fatalf("notification %d at %d comes behind a heartbeat that promised %d", n, c.Seq, promised)
		default:
			n++
		}
	}
	if beats == 0 {
		t.Error("got no heartbeat, want some")
	}
}
