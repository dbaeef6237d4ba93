package gateway

import (
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
	"tidings/gateway/netpoll"
)

// A gateway has one Session per tab and most of them do nothing: what the struct costs is what a tab costs, beside the kernel's
// share. 128 is one of the allocator's sizes; one field more would take the next, 144, and 16 MB per million tabs.
func TestSessionIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Session{}); got > 128 {
		t.Errorf("a Session takes %d B, want at most 128", got)
	}
}

// gulp reads what has come to the browser into the same buffer each time, and gives how much it was.
func gulp(browser int, buf []byte) (all int) {
	for {
		n, err := netpoll.Read(browser, buf)
		if n == 0 || err != nil {
			return all
		}
		all += n
	}
}

// plainSession is one that speaks the plain dialect.
func (b *bench) plainSession(user string) (s *Session, browser int) {
	b.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	t, err := b.loop.adopt(fds[0])
	if err != nil {
		b.t.Fatal(err)
	}
	b.loop.begin(fds[0], t, upgrade{dialect: plain, user: user}, nil)
	b.t.Cleanup(func() { netpoll.Close(fds[1]) })
	return b.loop.slots[t.Slot].session, fds[1]
}

// What happens all the time leaves nothing for the collector: with 100,000 tabs, one allocation per heartbeat would be
// 4,000 per second for nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	b := newBench(t, func(c *Config) { c.MessagesPerSecond = 1 << 20 })
	s, browser := b.session("alice")
	p, plainBrowser := b.plainSession("alice")
	es, streamBrowser := b.streamSession("alice")
	buf := make([]byte, 64<<10)
	gulp(browser, buf)
	gulp(plainBrowser, buf)
	gulp(streamBrowser, buf)

	b.seq++
	in := b.incoming(b.seq, wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: note(1)})
	e := newEntry(wire.Cursor{Epoch: 1, Seq: in.seq}, s.life, in.part, &in.view)
	b.loop.feeds = b.gate.positions(nil, b.loop.feeds)
	b.drain()

	for _, tc := range []struct {
		name  string
		bytes bool // something is written to the browser
		most  float64
		do    func()
	}{
		{"delivery", true, 0, func() { e.seq++; s.deliver(e) }},
		{"delivery to an event stream", true, 0, func() { e.seq++; es.deliver(e) }},
		{"heartbeat of an event stream", true, 0, func() { es.pos = b.loop.feeds[0].seq; es.heartbeat() }},
		{"delivery by way of the loop's queue", true, 0, func() {
			e.seq++
			b.loop.push([]delivery{{session: s, entry: e}})
			b.drain()
		}},
		{"heartbeat of one that is as far as its shard", true, 0, func() {
			s.pinged = false
			s.pos = b.loop.feeds[0].seq
			s.heartbeat()
		}},
		{"heartbeat of the plain dialect", true, 0, func() { p.pinged = false; p.heartbeat() }},
		{"pong", false, 0, receives(s, masked(0x80|byte(ws.OpPong), ""))},
		{"pong with 125 bytes", false, 0, receives(s, masked(0x80|byte(ws.OpPong), string(make([]byte, 125))))},
		// The answer is made for this one ping, and kept if the socket is full. Browsers cannot send pings.
		{"ping", true, 1, receives(s, masked(0x80|byte(ws.OpPing), "12345678"))},
		{"HEALTH", true, 0, receives(p, masked(0x80|byte(ws.OpText), `{"sendType":"HEALTH"}`))},
		{"HEALTH in other letters", true, 8, receives(p, masked(0x80|byte(ws.OpText), `{"sendType": "HEALTH"}`))}, // encoding/json
		{"a turn with nothing to do", false, 0, func() { b.loop.events = b.loop.events[:0]; b.loop.turn() }},
		{"a second with nothing to do", false, 0, func() { b.loop.second(b.loop.sec) }},
		{"a wake-up for nothing", false, 0, func() {
			b.loop.poller.Wake()
			var err error
			if b.loop.events, err = b.loop.poller.Wait(b.loop.events); err != nil {
				t.Error(err)
			}
			b.loop.turn()
		}},
		{"a deadline that passes", false, 0, func() {
			b.loop.poller.SetDeadline(time.Now())
			var err error
			if b.loop.events, err = b.loop.poller.Wait(b.loop.events); err != nil {
				t.Error(err)
			}
			b.loop.turn()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			runs, wrote := 0, 0
			got := testing.AllocsPerRun(200, func() {
				tc.do()
				runs++
				if gulp(browser, buf)+gulp(plainBrowser, buf)+gulp(streamBrowser, buf) > 0 {
					wrote++
				}
			})
			if s.state != live || p.state != live || es.state != live {
				t.Fatalf("got states %d, %d and %d, want all live", s.state, p.state, es.state)
			}
			if want := map[bool]int{true: runs, false: 0}[tc.bytes]; wrote != want {
				t.Fatalf("%d of %d runs wrote something, want %d", wrote, runs, want)
			}
			if got > tc.most {
				t.Errorf("got %v allocations, want at most %v", got, tc.most)
			}
		})
	}
}

// receives is one segment from the browser. The frame reader unmasks in place, so that each run has its own bytes.
func receives(s *Session, segment []byte) func() {
	b := make([]byte, len(segment))
	return func() {
		copy(b, segment)
		s.receive(b)
	}
}
