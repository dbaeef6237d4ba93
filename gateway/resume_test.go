package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"tidings/fanout/wire"
)

func TestLiveDelivery(t *testing.T) {
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			h := newHouse(t, shards)
			g := h.gate(nil)
			alice1, w := g.tab("alice", "")
			if w.Resume != "none" || w.Heartbeat != 25000 || w.Session == "" || w.Cursor == "" {
				t.Errorf("got welcome %+v", w)
			}
			alice2, _ := g.tab("alice", "")
			bob, _ := g.tab("bob", "")
			for n := range 20 {
				h.say("alice", n)
				h.say("bob", 100+n)
			}
			alice1.expect(0, 19)
			alice2.expect(0, 19)
			bob.expect(100, 119)
		})
	}
}

func TestResumeFromTheTail(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	a, w := g.tab("alice", "")
	h.say("alice", 0)
	cursor := a.expect(0, 0)
	a.conn.Close()
	for n := 1; n <= 500; n++ { // more than fits a queue: several steps
		h.say("alice", n)
		h.say("bob", n)
	}
	b, again := g.tab("alice", cursor)
	if again.Resume != "complete" || again.Session == w.Session || again.Cursor != cursor {
		t.Errorf("got welcome %+v, want a complete resume from %s", again, cursor)
	}
	b.expect(1, 500)
	h.say("alice", 501)
	b.expect(501, 501)
}

func TestResumeFromTheLog(t *testing.T) {
	h := newHouse(t, 1)
	for n := range 700 {
		h.say("alice", n)
		h.say(fmt.Sprint("other", n%50), n)
	}
	g := h.gate(func(c *Config) { c.TailRecords = 20 })
	c := wire.Cursor{Epoch: (*g.shards.Load())[0].epochNow(), Seq: 1} // alice's first
	var tabs []*tab
	for range 10 {
		a, w := g.tab("alice", c.String())
		if w.Resume != "complete" {
			t.Fatalf("got %+v", w)
		}
		tabs = append(tabs, a)
	}
	h.say("alice", 700)
	for _, a := range tabs {
		a.expect(1, 700)
	}
	if got := g.metric("tidings_replay_scans_total"); got == 0 || got > 60 {
		t.Errorf("got %v scans, want some, shared by the tabs", got)
	}
}

func TestResumeReset(t *testing.T) {
	h := newHouse(t, 1)
	for n := range 100 {
		h.say("alice", n)
	}
	s, err := h.js.Stream(context.Background(), "LOG_0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(context.Background(), jetstreamKeep(10)); err != nil {
		t.Fatal(err)
	}
	g := h.gate(nil)
	epoch := (*g.shards.Load())[0].epochNow()
	for name, cursor := range map[string]string{
		"trimmed":       wire.Cursor{Epoch: epoch, Seq: 50}.String(),
		"other epoch":   wire.Cursor{Epoch: epoch + 1, Seq: 95}.String(),
		"other shard":   wire.Cursor{Shard: 1, Epoch: epoch, Seq: 95}.String(),
		"not a cursor":  "garbage",
		"far too large": "0.0.99999999999999999999999999",
	} {
		t.Run(name, func(t *testing.T) {
			a, w := g.tab("alice", cursor)
			if want := (wire.Cursor{Epoch: epoch, Seq: h.last()}).String(); w.Resume != "reset" || w.Cursor != want {
				t.Fatalf("got %+v, want a reset to %s", w, want)
			}
			h.say("alice", 1000)
			a.expect(1000, 1000)
		})
	}
	t.Run("just not trimmed", func(t *testing.T) {
		a, w := g.tab("alice", wire.Cursor{Epoch: epoch, Seq: 90}.String())
		if w.Resume != "complete" {
			t.Fatalf("got %+v", w)
		}
		a.expect(90, 99)
	})
}

func (h *house) last() uint64 {
	h.t.Helper()
	s, err := h.js.Stream(context.Background(), "LOG_0")
	if err != nil {
		h.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// A cursor can come from a gateway that is further along. What it covers is not sent again; if the log itself does not have
// it, the browser is told.
func TestCursorAheadOfTheGateway(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	h.say("alice", 1)
	epoch := (*g.shards.Load())[0].epochNow()
	eventually(t, "the record is here", func() error {
		if p := (*g.shards.Load())[0].promised(); p.seq < 1 {
			return fmt.Errorf("at %d", p.seq)
		}
		return nil
	})
	a, w := g.tab("alice", wire.Cursor{Epoch: epoch, Seq: 3}.String())
	if w.Resume != "complete" {
		t.Fatalf("got %+v", w)
	}
	for n := 2; n <= 5; n++ {
		h.say("alice", n)
	}
	a.expect(4, 5)

	b, _ := g.tab("alice", wire.Cursor{Epoch: epoch, Seq: 100}.String())
	m := b.next()
	for m.Type == "" { // its first heartbeat may be due before
		m = b.next()
	}
	if m.Type != "reset" || m.Cursor != (wire.Cursor{Epoch: epoch, Seq: 5}).String() {
		t.Fatalf("got %+v, want a reset to 5", m)
	}
	h.say("alice", 6)
	b.expect(6, 6)
	a.expect(6, 6)
}

// A tab that does not read costs a bounded queue, and has everything when it reads again.
func TestSlowTab(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Queue = 8 })
	a, _ := g.tab("alice", "")
	a.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	big := bytes.Repeat([]byte("x"), 8<<10)
	const count = 400 // 3 MB: more than the kernel takes for a peer that does not read
	for n := range count {
		h.tell(wire.Record{Kind: wire.Users, EventID: "e", Users: []string{"alice"}, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, big)})
	}
	eventually(t, "the tab has fallen behind", func() error {
		if g.metric("tidings_sessions_slow_total") == 0 {
			return fmt.Errorf("nothing was dropped")
		}
		return nil
	})
	a.expect(0, count-1)
	h.say("alice", count)
	a.expect(count, count)
}

func TestHeartbeatCarriesTheCursor(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Heartbeat = time.Second })
	a, w := g.tab("alice", "")
	h.say("bob", 1)
	last := h.say("bob", 2)
	want := wire.Cursor{Epoch: (*g.shards.Load())[0].epochNow(), Seq: last}.String()
	for {
		m := a.next()
		if m.Type != "" {
			t.Fatalf("got %+v, want a heartbeat", m)
		}
		if m.Cursor == want {
			break
		}
		if m.Cursor != w.Cursor {
			t.Logf("on the way: %s", m.Cursor)
		}
	}
	a.conn.Close()
	h.say("alice", 3)
	b, _ := g.tab("alice", want)
	b.expect(3, 3)
}

func TestNoPongCloses(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Heartbeat = time.Second })
	a, _ := g.tab("alice", "")
	for {
		f, err := a.frame() // pings are read, and not answered
		if err != nil {
			t.Fatal(err)
		}
		if f.Header.OpCode.IsControl() && f.Header.OpCode == 8 {
			if code := int(f.Payload[0])<<8 | int(f.Payload[1]); code != int(closeNoHeartbeat) {
				t.Fatalf("closed with %d, want %d", code, closeNoHeartbeat)
			}
			return
		}
	}
}

func TestRecreatedLogResets(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	a, _ := g.tab("alice", "")
	for n := range 10 {
		h.say("alice", n)
	}
	cursor := a.expect(0, 9)
	if err := h.js.DeleteStream(context.Background(), "LOG_0"); err != nil {
		t.Fatal(err)
	}
	h.makeLog(0)
	if m := a.said(); m.Type != "reset" {
		t.Fatalf("got %+v, want a reset", m)
	}
	for n := 10; n < 30; n++ { // past the sequence at which the old log ended
		h.say("alice", n)
	}
	a.expect(10, 29)
	_, w := g.tab("alice", cursor)
	if w.Resume != "reset" {
		t.Fatalf("got %+v for a cursor of the old log, want a reset", w)
	}
}

func TestRaisedEpochResets(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	a, _ := g.tab("alice", "")
	h.say("alice", 1)
	a.expect(1, 1)
	cfg := h.logConfig(0)
	cfg.Metadata[wire.MetaEpoch] = "1"
	if _, err := h.js.UpdateStream(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if m := a.said(); m.Type != "reset" {
		t.Fatalf("got %+v, want a reset", m)
	}
	h.say("alice", 2)
	a.expect(2, 2)
}

func TestGroupsAllAndExceptions(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	a, w := g.tab("alice&groups=red,blue", "")
	b, _ := g.tab("bob&groups=blue", "")
	h.tell(wire.Record{Kind: wire.Group, Group: "red", Notification: note(1)})
	h.tell(wire.Record{Kind: wire.Group, Group: "blue", ExceptUsers: []string{"alice"}, Notification: note(2)})
	h.tell(wire.Record{Kind: wire.All, ExceptGroups: []string{"red"}, Notification: note(3)})
	h.tell(wire.Record{Kind: wire.All, Notification: note(4)})
	h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice", "bob"}, ExceptGroups: []string{"blue"}, Notification: note(5)})
	h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice", "bob"}, Notification: note(6)})
	want := map[*tab][]string{a: {"1", "4", "6"}, b: {"2", "3", "4", "6"}}
	check := func() {
		t.Helper()
		for tb, list := range want {
			for _, n := range list {
				if m := tb.notification(); string(m.Data) != n {
					t.Fatalf("got %s, want %s", m.Data, n)
				}
			}
		}
	}
	check()
	// The same from the tail.
	a2, _ := g.tab("alice&groups=red,blue", w.Cursor)
	b2, _ := g.tab("bob&groups=blue", w.Cursor)
	want = map[*tab][]string{a2: want[a], b2: want[b]}
	check()
	// And from the log.
	g = h.gate(func(c *Config) { c.TailRecords = 0 })
	a3, _ := g.tab("alice&groups=red,blue", w.Cursor)
	b3, _ := g.tab("bob&groups=blue", w.Cursor)
	want = map[*tab][]string{a3: want[a2], b3: want[b2]}
	check()
}

func TestLeaving(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	a, _ := g.tab("alice", "")
	done := make(chan error, 1)
	go func() { done <- g.stop() }()
	if m := a.said(); m.Type != "draining" || m.RetryAfterMs == nil {
		t.Fatalf("got %+v, want draining", m)
	}
	a.wantClosed(closeDraining)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := g.metric("tidings_sessions"); got != 0 {
		t.Errorf("%v sessions are left", got)
	}
	if g.Ready() == nil {
		t.Error("a gateway that has left is ready")
	}
}
