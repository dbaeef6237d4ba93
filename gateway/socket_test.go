package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
	"tidings/gateway/netpoll"
)

// small dials with a small receive buffer, so that the gateway's writes are partial.
func (g *gate) small(bytes int) *tab {
	g.t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes) })
	}}
	conn, err := d.Dial("tcp", g.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return &tab{t: g.t, conn: conn, r: bufio.NewReaderSize(conn, 64)}
}

// A tab that reads in small pieces what it missed gets all of it, from the tail and from the log, and then what is new.
func TestPartialWrites(t *testing.T) {
	h := newHouse(t, 1)
	fill := bytes.Repeat([]byte("x"), 1500)
	const count = 600 // 900 kB
	for n := range count {
		h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, fill)})
	}
	next := count
	for name, warm := range map[string]int{"from the tail": 2 * count, "from the log": 10} {
		t.Run(name, func(t *testing.T) {
			g := h.gate(func(c *Config) { c.TailRecords = warm })
			b := g.small(4096)
			c := wire.Cursor{Epoch: (*g.shards.Load())[0].epochNow(), Seq: 1}
			b.send(g.request("GET /ws?user=alice&cursor=" + c.String() + " HTTP/1.1"))
			b.want101()
			b.text()
			h.say("alice", next)
			b.expect(1, next)
			next++
		})
	}
}

// A connection that says nothing, or not enough, or very slowly, is closed in time.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.HandshakeTimeout = 2 * time.Second })
	request := g.request()
	for name, drip := range map[string][][]byte{
		"nothing":            nil,
		"half a line":        {request[:10]},
		"all but the end":    {request[:len(request)-1]},
		"now and then a bit": split(request[:100]),
		"a TLS hello":        {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := g.raw()
			b.t = t
			start := time.Now()
			go b.drip(drip)
			b.conn.SetReadDeadline(start.Add(5 * time.Second))
			rest, err := io.ReadAll(b.r)
			if d := time.Since(start); len(rest) > 0 || err != nil && !gone(err) || d > 3*time.Second || d < 500*time.Millisecond {
				t.Errorf("got %q, %v after %v, want the end of the stream within 2 s", rest, err, d)
			}
		})
	}
}

// drip sends the parts, one every 100 ms, until the gateway has had enough.
func (b *tab) drip(parts [][]byte) {
	for _, p := range parts {
		if _, err := b.conn.Write(p); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A message that is begun must be finished in time, even if a little of it comes now and then. Messages that are finished may
// come in whatever pieces.
func TestUnfinishedMessages(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.HandshakeTimeout, c.MessagesPerSecond = 2*time.Second, 1000 })
	message := masked(text, `{"type":"a message of some length, so that there is something to cut"}`)
	var pings, between, betweenPings [][]byte
	at := masked(ping, "ping")
	between, betweenPings = append(between, message[:10]), append(betweenPings, at[:5])
	for range 40 { // 4 s
		pings = append(pings, at)
		between = append(between, slices.Concat(message[10:], message[:10])) // never between two messages
		betweenPings = append(betweenPings, slices.Concat(at[5:], at[:5]))
	}
	between, betweenPings = append(between, message[10:]), append(betweenPings, at[5:])
	tests := map[string]struct {
		parts [][]byte
		code  CloseCode // 0: stays open
	}{
		"one byte":                      {[][]byte{message[:1]}, closeFlood},
		"half a message":                {[][]byte{message[:20]}, closeFlood},
		"half a ping":                   {[][]byte{masked(ping, "hello")[:8]}, closeFlood},
		"a fragment":                    {[][]byte{masked(byte(ws.OpText), "{")}, closeFlood},
		"a fragment, then pings":        {append([][]byte{masked(byte(ws.OpText), "{")}, pings...), closeFlood},
		"byte by byte":                  {split(message), closeFlood},
		"pings":                         {pings, 0},
		"messages cut at the wrong end": {between, 0},
		"pings cut at the wrong end":    {betweenPings, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := g.upgraded()
			b.t = t
			start := time.Now()
			if tt.code == 0 {
				b.drip(tt.parts)
				b.wantPong("still here")
				return
			}
			go b.drip(tt.parts)
			b.wantClose(tt.code)
			if d := time.Since(start); d > 3500*time.Millisecond || d < 500*time.Millisecond {
				t.Errorf("closed after %v, want 2 s", d)
			}
		})
	}
}

// A tab that does not read at all is closed after SlowTimeout, and its connection soon after that, read or not.
func TestTabThatNeverReads(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.SlowTimeout, c.Queue = 2*time.Second, 8 })
	b := g.small(4096)
	b.send(g.request())
	b.want101()
	big := bytes.Repeat([]byte("x"), 64<<10)
	for n := range 60 {
		h.tell(wire.Record{Kind: wire.All, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, big)})
	}
	eventually(t, "the slow tab is closed", func() error {
		if n := g.metric("tidings_closes_total", "slow"); n != 1 {
			return fmt.Errorf("%v closed as slow", n)
		}
		return nil
	})
	g.settled(t)
}

// Answers are not kept without end for a tab that asks and does not read.
func TestAnswersAreBounded(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.MessagesPerSecond = 1 << 30 })
	for name, question := range map[string][]byte{
		"pings":  masked(ping, string(bytes.Repeat([]byte("p"), 125))),
		"HEALTH": masked(text, health),
	} {
		t.Run(name, func(t *testing.T) {
			before := g.metric("tidings_closes_total", "slow")
			b := g.small(4096)
			b.t = t
			b.send(g.request("GET /websocket/alice HTTP/1.1"))
			b.want101()
			many := bytes.Repeat(question, 1000)
			eventually(t, "it is closed", func() error {
				b.send(many)
				if g.metric("tidings_closes_total", "slow") == before {
					return errors.New("still open")
				}
				return nil
			})
			b.conn.Close()
		})
	}
	g.settled(t)
}

// A reset in the middle of whatever is not worse than any other end.
func TestResets(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	request := g.request()
	sent := bytes.Repeat([]byte("x"), 100_000)
	for n := range 100 {
		b := g.raw()
		switch n % 5 {
		case 0: // at once
		case 1:
			b.send(request[:50])
		case 2:
			b.send(request)
		case 3:
			b.send(request, masked(text, "{}")[:3])
		case 4:
			b.send(request)
			b.want101()
			h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: fmt.Appendf(nil, `{"fill":"%s"}`, sent)})
		}
		b.conn.(*net.TCPConn).SetLinger(0)
		b.conn.Close()
	}
	g.settled(t)
	b, _ := g.tab("bob", "")
	h.say("bob", 1)
	b.expect(1, 1)
}

// Descriptors are used again at once, while deliveries for the session before are on their way: no tab ever gets a frame of
// another user.
func TestDescriptorReuse(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	const users = 16
	var visits, writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() { // goes on until the last visit is over
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			user := fmt.Sprint("user", n%users)
			r := wire.Record{Kind: wire.Users, Users: []string{user}, Stored: time.Now(), Notification: fmt.Appendf(nil, `{"data":"%s"}`, user)}
			raw, err := r.Append(nil)
			if err != nil {
				t.Error(err)
				return
			}
			h.js.PublishAsync(wire.Subject(0, wire.Partition(user)), raw) // one that fails on a busy machine is not missed
		}
	})
	var mu sync.Mutex
	sessions, got := 0, 0
	end := time.Now().Add(3 * time.Second)
	for i := range 4 {
		visits.Go(func() {
			for n := i; time.Now().Before(end); n += 4 {
				count, err := g.visit(fmt.Sprint("user", n%users), n%3 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sessions, got = sessions+1, got+count
				mu.Unlock()
			}
		})
	}
	visits.Wait()
	close(done)
	writer.Wait()
	if sessions < 20 {
		t.Errorf("%d notifications in %d sessions: too few to show anything", got, sessions)
	}
	t.Logf("%d notifications in %d sessions", got, sessions)
	g.settled(t)
}

// visit connects as user, reads a few notifications, and leaves politely or not.
func (g *gate) visit(user string, reset bool) (count int, err error) {
	conn, br, _, err := ws.Dialer{Timeout: 10 * time.Second}.Dial(context.Background(), g.url("/ws?user="+user))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if br == nil {
		br = bufio.NewReader(conn)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	for count < 3 {
		f, err := readFrame(br)
		if err != nil {
			return count, err
		}
		var m message
		if err := json.Unmarshal(f.Payload, &m); f.Header.OpCode == ws.OpText && err != nil {
			return count, fmt.Errorf("%q: %w", f.Payload, err)
		}
		switch {
		case m.Type == "notification" && string(m.Data) == `"`+user+`"`:
			count++
		case m.Type == "notification":
			return count, fmt.Errorf("%s got %q", user, f.Payload)
		}
	}
	if reset {
		conn.(*net.TCPConn).SetLinger(0)
	}
	return count, nil
}

// Without descriptors nothing is accepted, and nothing spins; a second later it is tried again.
func TestNoDescriptors(t *testing.T) {
	b := newBench(t, nil)
	l, err := newLoop(1, b.gate, b.gate.listener)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { l.closeAll(); l.poller.Close() }()
	conn, err := net.Dial("tcp", b.gate.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("GET")) // one that says nothing would not be there yet
	accept := func() bool {
		t.Helper()
		l.poller.SetDeadline(time.Now().Add(100 * time.Millisecond))
		if l.events, err = l.poller.Wait(l.events); err != nil {
			t.Fatal(err)
		}
		for i := range l.events {
			l.event(&l.events[i])
		}
		return len(l.events) > 0
	}
	withoutDescriptors(t, func() { accept() })
	if !l.paused || l.open != 0 {
		t.Fatalf("paused %v, %d open, want a paused listener", l.paused, l.open)
	}
	if accept() {
		t.Fatal("the listener is still watched")
	}
	l.second(l.sec + 1)
	if l.paused || !accept() || l.open != 1 {
		t.Fatalf("paused %v, %d open a second later, want the connection", l.paused, l.open)
	}
	second, err := net.Dial("tcp", b.gate.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.Write([]byte("GET"))
	withoutDescriptors(t, func() { accept() })
	if !l.paused {
		t.Fatal("the listener is watched without descriptors")
	}
	l.stopping = true
	l.second(l.sec + 1)
	if accept() {
		t.Error("a loop that leaves watches its listener again")
	}
}

// withoutDescriptors runs f where no descriptor can be made. The limit is below the lowest free number.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	lowest, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	netpoll.Close(lowest)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	after := before
	after.Cur = uint64(lowest)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &after); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	f()
}
