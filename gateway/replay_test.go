package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/ingest/natsd"
)

// TestOutageIsNoReset: NATS is away for longer than a session may wait for a scan. The log has everything, so that it is told everything.
func TestOutageIsNoReset(t *testing.T) {
	store := t.TempDir()
	start := func(address string) *natsd.Server {
		t.Helper()
		s, err := natsd.Start(natsd.Config{NATSStore: store, NATSListen: address}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server := start("127.0.0.1:0")
	t.Cleanup(func() { server.Shutdown() }) // the last one
	url := server.ClientURL()
	dial := func(name string) (*nats.Conn, error) { return natsd.Dial(url, name, quiet) }
	nc, err := dial("test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, nats: server, js: js, shards: 1, dial: dial}
	h.makeLog(0)
	first := h.say("alice", 0)
	for n := 1; n < 10; n++ {
		h.say("alice", n)
	}
	g := h.gate(func(c *Config) { c.TailRecords, c.ReplayTimeout = 0, time.Second })
	server.Shutdown()
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
	server = start(strings.TrimPrefix(url, "nats://"))
	a.expect(1, 9)
	eventually(t, "the test is connected again", func() error {
		_, err := js.Stream(context.Background(), wire.Stream(0))
		return err
	})
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
