package gateway

import (
	"strconv"
	"testing"

	"tidings/fanout/wire"
	"tidings/gateway/netpoll"
)

// ringThere tells whether this system lets us have a ring; where it does not, the tests below try the same without.
func ringThere() bool {
	r, err := netpoll.NewRing(1, func(uint64, int, error) {})
	if err != nil {
		return false
	}
	r.Close()
	return true
}

// What goes out in batches meets sockets of every kind: ready, full, half full, and gone.
func TestBatches(t *testing.T) {
	for name, ring := range map[string]bool{"with a ring": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.IOURing = ring; c.Queue = 4 })
			if got := b.loop.batch.ring != nil; got != (ring && ringThere()) {
				t.Fatalf("a ring is there: got %v, want %v", got, ring && ringThere())
			}
			const n = 600 // more than two batches, and than a turn
			sessions, browsers := make([]*Session, n), make([]int, n)
			for i := range n {
				sessions[i], browsers[i] = b.session("user" + strconv.Itoa(i))
				read(browsers[i])
			}
			full, gone := sessions[300], sessions[301]
			filled := fill(full)
			netpoll.Close(browsers[301])
			const events = 20
			for i := range events {
				b.seq++
				b.shard.append([]incoming{b.incoming(b.seq, wire.Record{Kind: wire.All, Notification: note(i)})})
				b.seq++ // and somebody twice in a row
				b.shard.append([]incoming{b.incoming(b.seq, wire.Record{Kind: wire.Users, Users: []string{"user7"}, Notification: note(i)})})
			}
			b.drain()
			if gone.state != closed {
				t.Error("a session whose browser has gone is still there")
			}
			if full.out == nil || len(full.out.queue) > 5 {
				t.Errorf("the outbox of a full socket: %+v", full.out)
			}
			for i, s := range sessions {
				if s == full || s == gone {
					continue
				}
				want := events
				if i == 7 {
					want = 2 * events
				}
				if got := notifications(read(browsers[i])); got != want || s.batched || s.out != nil || s.pos < b.seq-1 {
					t.Errorf("%s got %d notifications, want %d; it is at %d, batched %v", s.user, got, want, s.pos, s.batched)
				}
			}
			var got []byte
			for range 100 {
				got = append(got, read(browsers[300])...)
				b.turn()
				if full.out == nil && full.state == live {
					break
				}
			}
			got = append(got, read(browsers[300])...)
			if n := notifications(got[filled:]); n != events {
				t.Errorf("the tab that did not read has %d notifications in the end, want %d", n, events)
			}
		})
	}
}

func TestBatchAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	b := newBench(t, nil)
	var browsers []int
	for i := range 64 {
		_, browser := b.session("user" + strconv.Itoa(i))
		browsers = append(browsers, browser)
	}
	b.seq++
	in := b.incoming(b.seq, wire.Record{Kind: wire.All, Notification: note(1)})
	e := newEntry(wire.Cursor{Epoch: 1, Seq: in.seq}, b.shard.promised().life, in.part, &in.view)
	e.shard = b.shard
	buf := make([]byte, 64<<10)
	list := []delivery{{entry: e}}
	wrote := 0
	if got := testing.AllocsPerRun(100, func() {
		e.seq++
		b.loop.push(list)
		b.loop.drain(1 << 20)
		for _, browser := range browsers {
			wrote += min(1, gulp(browser, buf))
		}
	}); got != 0 {
		t.Errorf("got %v allocations for 64 deliveries, want 0", got)
	}
	if wrote < 100*64 {
		t.Errorf("%d deliveries, want at least %d", wrote, 100*64)
	}
}
