package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
	"tidings/gateway/netpoll"
)

// bench is one loop and one shard on a workbench: nothing runs, the test turns the loop and feeds the shard itself.
type bench struct {
	t     testing.TB
	gate  *Gateway
	loop  *loop
	shard *shard
	seq   uint64
}

func newBench(t testing.TB, settings func(*Config)) *bench {
	t.Helper()
	var cfg Config
	if err := envconfig.Process("tidings_test_defaults", &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	if settings != nil {
		settings(&cfg)
	}
	g, err := New(t.Context(), cfg, Needs{Log: quiet, Connect: func(string) (*nats.Conn, error) { panic("not run") }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.auth.Close(); netpoll.Close(g.listener) })
	l, err := newLoop(0, g, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.closeAll(); l.poller.Close() })
	g.loops, g.running = []*loop{l}, context.Background()
	b := &bench{t: t, gate: g, loop: l, shard: newShard(0, cfg.TailBytes, g.loops)}
	b.shard.restart(1, 0, mark{})
	b.shard.open()
	g.shards.Store(&[]*shard{b.shard})
	l.feeds = g.positions(nil, nil)
	b.drain()
	return b
}

// session is one of user in development mode, and the browser's end of its connection.
func (b *bench) session(user string, groups ...string) (s *Session, browser int) {
	b.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	t, err := b.loop.adopt(fds[0])
	if err != nil {
		b.t.Fatal(err)
	}
	b.loop.begin(fds[0], t, upgrade{user: user, groups: groups}, nil)
	b.t.Cleanup(func() { netpoll.Close(fds[1]) })
	return b.loop.slots[t.Slot].session, fds[1]
}

// say appends a Record for these users to the shard, and hands it to the loop.
func (b *bench) say(users ...string) {
	b.t.Helper()
	b.tell(wire.Record{Kind: wire.Users, Users: users, Notification: note(int(b.seq))})
}

func (b *bench) tell(r wire.Record) {
	b.t.Helper()
	b.seq++
	b.shard.append([]incoming{b.incoming(b.seq, r)})
	b.drain()
}

func (b *bench) incoming(seq uint64, r wire.Record) incoming {
	b.t.Helper()
	r.Stored = time.Now()
	raw, err := r.Append(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := wire.Parse(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	return incoming{seq: seq, part: mixed, view: v}
}

// drain makes all deliveries and calls that wait.
func (b *bench) drain() {
	b.loop.runCalls()
	for !b.loop.drain(1 << 20) {
	}
	b.loop.tally.flush(b.gate.metrics)
}

// later turns the loop n seconds further.
func (b *bench) later(n int) {
	for range n {
		b.second()
	}
}

// second turns the loop a second further, to its end.
func (b *bench) second() {
	for b.loop.second(b.loop.sec + 1); b.loop.dueAt < len(b.loop.due); {
		b.loop.remindPart()
	}
}

// turn lets the loop do what there is to do.
func (b *bench) turn() {
	b.t.Helper()
	for range 3 {
		b.loop.poller.SetDeadline(time.Now().Add(20 * time.Millisecond))
		var err error
		if b.loop.events, err = b.loop.poller.Wait(b.loop.events); err != nil {
			b.t.Fatal(err)
		}
		for i := range b.loop.events {
			b.loop.event(&b.loop.events[i])
		}
		b.drain()
		for _, s := range b.loop.swapBusy() {
			if s.state == joining && s.out == nil {
				s.step()
			}
		}
	}
}

// fill fills the session's socket, so that it takes nothing more until the browser reads.
func fill(s *Session) (bytes int) {
	chunk := make([]byte, 4096)
	for {
		n, err := netpoll.Write(int(s.fd), chunk)
		if err != nil {
			return bytes
		}
		bytes += n
	}
}

// read reads all that has come to the browser.
func read(browser int) (all []byte) {
	buf := make([]byte, 64<<10)
	for {
		n, err := netpoll.Read(browser, buf)
		if n == 0 || err != nil {
			return all
		}
		all = append(all, buf[:n]...)
	}
}
