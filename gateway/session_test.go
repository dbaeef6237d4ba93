package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings/fanout/wire"
	"tidings/gateway/frame"
)

// Those who connect together do not beat together, whether their handshake, their token and their welcome are one write or not.
func TestFirstHeartbeatIsSpread(t *testing.T) {
	b := newBench(t, nil)
	seen := map[uint32]int{}
	for n := range 200 {
		s, _ := b.session(fmt.Sprint("user", n))
		if s.beat <= b.loop.sec || s.beat > b.loop.sec+b.gate.heartSeconds {
			t.Fatalf("the first heartbeat is due at %d, now is %d", s.beat, b.loop.sec)
		}
		if s.reminder > s.beat {
			t.Fatalf("the reminder comes at %d, behind the heartbeat at %d", s.reminder, s.beat)
		}
		seen[s.beat]++
	}
	if len(seen) < 20 {
		t.Errorf("200 first heartbeats are due at %d different seconds of 25: %v", len(seen), seen)
	}
}

// A token's last second is not cut short, and it does not live much longer.
func TestExpiryIsNotEarly(t *testing.T) {
	b := newBench(t, nil)
	s, _ := b.session("alice")
	for i := range 500 {
		now := time.Now()
		b.gate.began = now.Add(-time.Second - time.Duration(2*i)*time.Millisecond) // at any time of a second
		b.loop.sec = b.gate.seconds()
		left := time.Duration(5+i*7919%5000) * time.Millisecond
		if !s.setExpiry(now.Add(left)) {
			t.Fatal("refused")
		}
		ends := b.gate.began.Add(time.Duration(s.expires-1) * time.Second) // when that second begins
		if d := ends.Sub(now); d < left || d > left+time.Second {
			t.Fatalf("a token for %v ends after %v", left, d)
		}
	}
}

// A ping that was dropped with the queue cannot be answered.
func TestDroppedPingIsNotAwaited(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Queue = 4 })
	s, browser := b.session("alice")
	fill(s)
	s.heartbeat()
	if !s.pinged || s.out == nil {
		t.Fatal("the heartbeat does not wait for the socket")
	}
	for range 5 {
		b.say("alice")
	}
	if s.state != joining {
		t.Fatalf("got state %d, want that the queue was dropped", s.state)
	}
	read(browser)
	b.turn()
	if s.state != live || s.pos != b.seq {
		t.Fatalf("got state %d at %d, want live at %d", s.state, s.pos, b.seq)
	}
	read(browser)
	s.heartbeat()
	if s.state != live {
		t.Error("closed, because a ping that was never sent was not answered")
	}
}

// Two losses can be in a loop's queue, and a session that begins between them has lost nothing.
func TestLossDoesNotReachThoseWhoCameLater(t *testing.T) {
	b := newBench(t, nil)
	old, browser := b.session("alice")
	b.shard.restart(2, 10, mark{})
	b.shard.restart(3, 20, mark{})
	fresh, freshBrowser := b.session("bob")
	read(browser)
	read(freshBrowser)
	b.drain()
	if old.pos != 20 || fresh.pos != 20 || old.life != fresh.life {
		t.Errorf("got positions %d and %d of lives %d and %d", old.pos, fresh.pos, old.life, fresh.life)
	}
	if got := string(read(browser)); strings.Count(got, `"reset"`) != 1 {
		t.Errorf("got %q, want one reset", got)
	}
	if got := read(freshBrowser); len(got) != 0 {
		t.Errorf("got %q for one that came later, want nothing", got)
	}
}

// A heartbeat says that the session has everything up to its cursor, so it may not come before what leads there: not while a
// Record is in the loop's queue, in the outbox, or left out because the session is catching up.
func TestHeartbeatPromisesOnlyWhatWasSent(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Queue, c.Heartbeat = 4, time.Second })
	s, browser := b.session("alice")
	read(browser)
	b.seq++
	b.shard.append([]incoming{b.incoming(b.seq, wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: note(1)})})
	b.later(2) // the queue is not drained by the test
	got := string(read(browser))
	if n, h := strings.Index(got, `"notification"`), strings.Index(got, `{"cursor":"0.1.1"}`); n < 0 || h >= 0 && h < n {
		t.Fatalf("got %q, want the notification before the heartbeat", got)
	}
	s.pinged = false
	fill(s)
	b.say("alice")
	b.later(3)
	if s.pinged {
		t.Fatal("a heartbeat behind a full outbox")
	}
	for range 5 {
		b.say("alice")
	}
	if s.state != joining {
		t.Fatalf("got state %d, want joining", s.state)
	}
	b.later(3)
	if s.pinged || s.state != joining {
		t.Fatal("a heartbeat for a session that is catching up")
	}
	read(browser)
	b.turn()
	if got := read(browser); bytes.Count(got, []byte(`"notification"`)) != 6 {
		t.Errorf("got %q, want the 6 that were queued or dropped", got)
	}
	b.later(2)
	if got, want := string(read(browser)), string(frame.AppendText(nil, []byte(`{"cursor":"0.1.7"}`))); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A heartbeat can be due before the loop knows what it may promise: the gateway has just begun, or has much to deliver.
func TestHeartbeatBeforeThereIsAPromise(t *testing.T) {
	b := newBench(t, nil)
	s, browser := b.session("alice")
	read(browser)
	b.loop.feeds = nil
	b.loop.promise = promise{waiting: true} // taken before there were shards
	b.say("alice")
	read(browser)
	b.loop.feeds = nil
	s.heartbeat()
	if got := read(browser); !bytes.Equal(got, pingFrame) || s.state != live {
		t.Fatalf("got %q in state %d, want a ping", got, s.state)
	}
	s.pinged = false
	b.later(2)
	s.heartbeat()
	if got := string(read(browser)); !strings.Contains(got, `"cursor":"0.1.1"`) {
		t.Errorf("got %q, want a heartbeat with the position", got)
	}
}
