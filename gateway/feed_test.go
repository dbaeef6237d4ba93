package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// stream is the log of shard 0.
func (h *house) stream() jetstream.Stream {
	h.t.Helper()
	s, err := h.js.Stream(context.Background(), wire.Stream(0))
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// trim leaves the log's newest n Records.
func (h *house) trim(n uint64) {
	h.t.Helper()
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeKeep(n)}
	if n == 0 {
		opts = nil
	}
	if err := h.stream().Purge(context.Background(), opts...); err != nil {
		h.t.Fatal(err)
	}
}

func (g *gate) shard0() *shard { return (*g.shards.Load())[0] }

// reaches waits until the feed is at seq.
func (g *gate) reaches(seq uint64) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("the feed is at %d", seq), func() error {
		if p := g.shard0().promised(); p.seq != seq {
			return fmt.Errorf("at %d", p.seq)
		}
		return nil
	})
}

func (g *gate) cursor(seq uint64) string { return g.shard0().cursor(seq).String() }

// NATS goes away and comes back under the gateway: sessions stay, and get what is new, exactly.
func TestNATSRestart(t *testing.T) {
	t.Parallel()
	h := newFragileHouse(t)
	g := h.gate(func(c *Config) { c.FeedTimeout = 3 * time.Second })
	a, _ := g.tab("alice", "")
	b, _ := g.tab("bob", "")
	for n := range 10 {
		h.say("alice", n)
	}
	cursor := a.expect(0, 9)
	for round := range 2 {
		h.away()
		eventually(t, "the gateway is not ready", func() error {
			if g.Ready() == nil {
				return errors.New("it is")
			}
			return nil
		})
		if g.Alive() != nil {
			t.Error("the gateway is not alive, without NATS")
		}
		c, w := g.tab("alice", cursor) // the tail is still good
		if w.Resume != "complete" {
			t.Errorf("got %+v without NATS, want a complete resume", w)
		}
		h.back()
		eventually(t, "the gateway is ready again", g.Ready)
		from := 10 + 5*round
		for n := range 5 {
			h.say("alice", from+n)
		}
		cursor = a.expect(from, from+4)
		c.expect(from, from+4)
		c.conn.Close()
	}
	h.say("bob", 1)
	b.expect(1, 1)
	if n := g.metric("tidings_resets_total"); n != 0 {
		t.Errorf("%v resets, want none", n)
	}
}

// An operator deletes the gateway's consumer, again and again, while Records come: none is missed, and none comes twice.
func TestConsumerDeleted(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	a, _ := g.tab("alice", "")
	ctx := context.Background()
	n := 0
	for range 10 {
		for range 20 {
			h.say("alice", n)
			n++
		}
		names := h.stream().ConsumerNames(ctx)
		for name := range names.Name() {
			if err := h.stream().DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				t.Fatal(err)
			}
		}
		if err := names.Err(); err != nil {
			t.Fatal(err)
		}
	}
	a.expect(0, n-1)
	eventually(t, "the loss was noticed", func() error {
		if g.metric("tidings_feed_restarts_total") == 0 {
			return errors.New("no restart")
		}
		return nil
	})
	h.say("alice", n)
	a.expect(n, n)
}

// The gateway was away for longer than the log reaches back: every session is told, and goes on behind the hole; that is so too
// when nothing is left in the log, and nothing new comes.
func TestTrimmedPastTheFeed(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]uint64{"some are left": 3, "nothing is left": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 1)
			c := h.lay(t, "tidings-gateway")
			g := h.gate(func(c *Config) { c.FeedTimeout = 3 * time.Second })
			a, _ := g.tab("alice", "")
			h.say("alice", 0)
			cursor := a.expect(0, 0)
			c.pull()
			for n := range 10 {
				h.say("alice", 1+n)
			}
			h.trim(keep)
			c.plug()
			if m := a.said(); m.Type != "reset" || m.Cursor != g.cursor(h.last()-keep) {
				t.Fatalf("got %+v, want a reset to %s", m, g.cursor(h.last()-keep))
			}
			a.expect(11-int(keep), 10)
			eventually(t, "the gateway is ready", g.Ready)
			for _, old := range []string{cursor, g.cursor(h.last() - keep - 1)} {
				if _, w := g.tab("alice", old); w.Resume != "reset" {
					t.Errorf("got %+v for a cursor in the hole, want a reset", w)
				}
			}
			b, w := g.tab("alice", g.cursor(h.last()-keep))
			if w.Resume != "complete" {
				t.Errorf("got %+v for the cursor behind the hole, want a complete resume", w)
			}
			b.expect(11-int(keep), 10)
			h.say("alice", 11)
			a.expect(11, 11)
			b.expect(11, 11)
			if n := g.metric("tidings_resets_total", resetLog); n != 1 {
				t.Errorf("%v resets, want 1", n)
			}
		})
	}
}

// A Record that cannot be read is counted and skipped: it ends nothing, and the cursor passes it.
func TestBadRecord(t *testing.T) {
	h := newHouse(t, 1)
	bad := func() {
		t.Helper()
		for _, b := range []string{"", "garbage", "\x01\x01", "\x02\x03\x00\x00"} {
			if _, err := h.js.Publish(context.Background(), wire.MixedSubject(0), []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.say("alice", 0)
	bad()
	h.say("alice", 1)
	g := h.gate(nil)
	a, _ := g.tab("alice", g.cursor(0))
	a.expect(0, 1)
	bad()
	h.say("alice", 2)
	bad()
	a.expect(2, 2)
	g.reaches(h.last())
	if n := g.metric("tidings_feed_bad_records_total"); n != 12 {
		t.Errorf("counted %v bad records, want 12", n)
	}
	old := h.gate(func(c *Config) { c.TailRecords = 0 })
	b, _ := old.tab("alice", g.cursor(0))
	b.expect(0, 2)
	h.say("alice", 3)
	a.expect(3, 3)
	b.expect(3, 3)
}

// A hole in the log is nobody's loss: the feed and the scans pass it.
func TestHoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	for n := range 40 {
		h.say("alice", n)
		h.say("bob", n)
	}
	for _, seq := range []uint64{5, 6, 7, 9, 30, 31, 60, 78} {
		if err := h.stream().DeleteMsg(context.Background(), seq); err != nil {
			t.Fatal(err)
		}
	}
	want := func(b *tab) { // alice's n is at 2n + 1
		t.Helper()
		b.expect(0, 1)
		b.expect(5, 14)
		b.expect(16, 39)
	}
	for _, warm := range []int{0, 1, 2, 17, 20, 21, 50, 75, 100} {
		t.Run(fmt.Sprint("tail of ", warm), func(t *testing.T) {
			t.Parallel()
			g := h.gate(func(c *Config) { c.TailRecords = warm })
			b, _ := g.tab("alice", g.cursor(0))
			want(b)
			if n := g.metric("tidings_resets_total"); n != 0 {
				t.Errorf("%v resets, want none", n)
			}
		})
	}
}

// A gateway may be there before the log is.
func TestLogMissingAtStart(t *testing.T) {
	h := newHouse(t, 2)
	for s := range 2 {
		if err := h.js.DeleteStream(context.Background(), wire.Stream(s)); err != nil {
			t.Fatal(err)
		}
	}
	g := h.coldGate(nil)
	b := g.raw()
	b.send(g.request())
	b.want101()
	b.wantClosed(closeOverloaded)
	if g.Ready() == nil {
		t.Fatal("ready without a log")
	}
	h.makeLog(0)
	eventually(t, "the shards are known", func() error {
		if g.shards.Load() == nil {
			return errors.New("not yet")
		}
		return nil
	})
	if g.Ready() == nil {
		t.Fatal("ready without the log's second shard")
	}
	h.makeLog(1)
	eventually(t, "the gateway is ready", g.Ready)
	a, _ := g.tab("alice", "")
	h.say("alice", 1)
	a.expect(1, 1)
}

// The log is trimmed while sessions wait for what it held: those who lost something are told, the others get all of it.
func TestTrimmedUnderAScan(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	for n := range 100 {
		h.say("alice", n)
	}
	c := h.lay(t, "-replay")
	g := h.gate(func(c *Config) { c.TailRecords = 10 })
	c.pull()
	old, w1 := g.tab("alice", g.cursor(20))
	edge, w2 := g.tab("alice", g.cursor(50))
	young, w3 := g.tab("alice", g.cursor(70))
	if w1.Resume != "complete" || w2.Resume != "complete" || w3.Resume != "complete" {
		t.Fatalf("got %+v, %+v, %+v", w1, w2, w3)
	}
	h.trim(50)
	h.say("alice", 100)
	c.plug()
	if m := old.said(); m.Type != "reset" {
		t.Fatalf("got %+v, want a reset", m)
	}
	edge.expect(50, 100)
	young.expect(70, 100)
	h.say("alice", 101)
	old.expect(101, 101)
	edge.expect(101, 101)
	if n := g.metric("tidings_resets_total", resetTrimmed); n != 1 {
		t.Errorf("%v resets, want 1", n)
	}
}

// Gateways notice at different times that the log was made anew. A cursor of the new log from one that was early is good at one
// that was late, which has to read what lies between.
func TestRecreatedLogNoticedLate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	early := h.gate(nil)
	c := h.lay(t, "tidings-gateway")
	late := h.gate(nil)
	h.say("alice", 0)
	early.reaches(1)
	late.reaches(1)
	sleeper, _ := late.tab("alice", "")
	c.pull()
	if err := h.js.DeleteStream(context.Background(), wire.Stream(0)); err != nil {
		t.Fatal(err)
	}
	h.makeLog(0)
	was := early.shard0().epochNow()
	eventually(t, "the early one has noticed", func() error {
		if early.shard0().epochNow() == was {
			return errors.New("not yet")
		}
		return nil
	})
	for n := range 30 {
		h.say("alice", n)
	}
	early.reaches(30)
	c.plug()
	if m := sleeper.said(); m.Type != "reset" {
		t.Fatalf("got %+v, want a reset", m)
	}
	late.reaches(30)
	for _, seq := range []uint64{1, 10, 29} {
		b, w := late.tab("alice", early.cursor(seq))
		if w.Resume != "complete" {
			t.Fatalf("got %+v for %d, want a complete resume", w, seq)
		}
		b.expect(int(seq), 29)
	}
}

// A log with another number of shards is another log: the gateway says so and ends, instead of serving half of the users.
func TestOtherNumberOfShards(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	cfg := h.logConfig(0)
	cfg.Metadata[wire.MetaShards] = "2"
	if _, err := h.js.UpdateStream(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway ends", func() error {
		if !g.leaving.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	stop := g.stop
	g.stop = func() error { return nil } // it has ended with an error, as it should
	if err := stop(); !errors.Is(err, errShards) {
		t.Errorf("got %v, want %v", err, errShards)
	}
}

// The leader's answers can come in another order than its questions.
func TestLaterWordOfTheLeaderCounts(t *testing.T) {
	b := newBench(t, nil)
	now := time.Now()
	b.shard.ends(5, 20, now)
	b.shard.ends(4, 10, now.Add(-time.Second))
	if b.shard.last != 20 || b.shard.first != 5 {
		t.Errorf("got %d to %d, want 5 to 20", b.shard.first, b.shard.last)
	}
}
