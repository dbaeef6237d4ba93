package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
	"tidings/gateway/netpoll"
)

func TestStream(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Heartbeat = time.Second })
	s := g.stream("/sse?user=alice")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Origin",
		"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "", "Content-Encoding": "",
	} {
		if got := s.resp.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if date, err := http.ParseTime(s.resp.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("Date: got %q, %v", s.resp.Header.Get("Date"), err)
	}
	if s.resp.ContentLength != -1 || len(s.resp.TransferEncoding) > 0 || !s.resp.Close {
		t.Errorf("got length %d, encodings %q, close %v, want a body that ends with the connection",
			s.resp.ContentLength, s.resp.TransferEncoding, s.resp.Close)
	}
	if m := s.welcome("none"); m.Heartbeat != 1000 || m.Session == "" {
		t.Errorf("got %+v", m)
	}
	h.say("alice", 1)
	h.say("bob", 2)
	first := s.expect(1, 1)
	for m := s.message(); m.Cursor == first; m = s.message() { // the heartbeat moves the position over what is bob's
	}
	if got := g.metric("tidings_sessions", "sse"); got != 1 {
		t.Errorf("got %v sessions of event streams, want 1", got)
	}
	if got := g.metric("tidings_notifications_sent_total", "sse"); got != 1 {
		t.Errorf("got %v notifications to event streams, want 1", got)
	}
	go g.stop()
	m := s.message()
	for ; m.Type == ""; m = s.message() {
	}
	if m.Type != "draining" || m.RetryAfterMs == nil || s.retry != fmt.Sprint(*m.RetryAfterMs) || *m.RetryAfterMs < 1000 {
		t.Errorf("got %+v with the reconnection time %q, want a second at least, and the same", m, s.retry)
	}
	s.wantClosed(closeDraining)
	if s.lastID == "" || s.lastID == first {
		t.Errorf("got %q as the last event's id in the end", s.lastID)
	}
}

// A stream that comes back, here or elsewhere, has everything once: by its header, which is newer than the cursor of its URL.
func TestStreamComesBack(t *testing.T) {
	h := newHouse(t, 2)
	a, b := h.gate(nil), h.gate(nil)
	s := a.stream("/sse?user=alice")
	s.welcome("none")
	h.say("alice", 1)
	old := s.expect(1, 1)
	h.say("alice", 2)
	s.expect(2, 2)
	s.leave()
	for n := 3; n <= 5; n++ {
		h.say("alice", n)
	}
	s2 := b.stream("/sse?user=alice&cursor="+old, "Last-Event-ID: "+s.lastID)
	if got := s2.welcome("complete").Cursor; got != s.lastID {
		t.Errorf("got cursor %q, want %q", got, s.lastID)
	}
	s2.expect(3, 5)
	h.say("alice", 6)
	last := s2.expect(6, 6)
	s2.leave()
	s3 := a.stream("/sse?user=alice&cursor=" + old)
	s3.welcome("complete")
	s3.expect(2, 6)
	tab, welcome := b.tab("alice", last) // a cursor is good for every dialect
	if welcome.Resume != "complete" {
		t.Errorf("got %+v", welcome)
	}
	h.say("alice", 7)
	tab.expect(7, 7)
	s3.expect(7, 7)
	lost := a.stream("/sse?user=alice", "Last-Event-ID: what?")
	if m := lost.welcome("reset"); lost.lastID != m.Cursor {
		t.Errorf("got id %q, cursor %q", lost.lastID, m.Cursor)
	}
}

func TestStreamTokens(t *testing.T) {
	h := newHouse(t, 1)
	g := h.guarded(func(c *Config) { c.Query = true })
	tok := token(t, nil)
	for _, s := range []*source{
		g.stream("/sse", "Authorization: Bearer "+tok), g.stream("/sse", "Cookie: a=b; tidings_token="+tok), g.stream("/sse?token=" + tok),
	} {
		s.welcome("none")
		h.say("alice", 1)
		s.expect(1, 1)
	}
	for name, tt := range map[string]struct {
		path, field string
		code        CloseCode
	}{
		"none":           {"/sse", "X: y", closeUnauthorized},
		"a name":         {"/sse?user=alice", "X: y", closeUnauthorized},
		"garbage":        {"/sse", "Authorization: Bearer garbage", closeUnauthorized},
		"expired":        {"/sse", "Authorization: Bearer " + token(t, func(c map[string]any) { c["exp"] = 1 }), closeUnauthorized},
		"without a user": {"/sse", "Authorization: Bearer " + token(t, func(c map[string]any) { c["sub"] = "" }), closeForbidden},
	} {
		s := g.stream(tt.path, tt.field)
		if e, err := s.read(); err != nil || e.name != "close" || e.id != "" || !strings.Contains(e.data, fmt.Sprintf(`"code":%d,`, tt.code)) {
			t.Errorf("%s: got %+v, %v, want nothing but close with %d", name, e, err, tt.code)
		}
	}
	tok, end := expiring(t)
	s := g.stream("/sse", "Authorization: Bearer "+tok)
	s.welcome("none")
	s.wantClosed(closeUnauthorized)
	if late := time.Since(end); late < -time.Second || late > 3*time.Second {
		t.Errorf("closed %v after its token's end", late)
	}
	if n := g.metric("tidings_closes_total", "unauthorized"); n != 5 {
		t.Errorf("got %v closes with 4401, want 5", n)
	}
}

func TestStreamRequests(t *testing.T) {
	h := newHouse(t, 1)
	dev := h.gate(nil)
	listed := h.guarded(func(c *Config) { c.Origins = []string{"https://app.example.com"} })
	const (
		allow = "Access-Control-Allow-Origin: https://app.example.com"
		none  = "Access-Control-Allow-Origin: "
	)
	tests := []struct {
		name   string
		g      *gate
		lines  []string
		status int
		header string
	}{
		{"POST", dev, []string{"POST /sse?user=alice HTTP/1.1"}, 405, "Allow: GET, OPTIONS"},
		{"PUT", dev, []string{"PUT /sse?user=alice HTTP/1.1"}, 405, "Allow: GET, OPTIONS"},
		{"a body", dev, []string{"GET /sse?user=alice HTTP/1.1", "Transfer-Encoding: chunked"}, 400, none},
		{"no host", dev, []string{"GET /sse?user=alice HTTP/1.1", "-Host"}, 400, none},
		{"a path behind", dev, []string{"GET /sse/alice HTTP/1.1"}, 404, none},
		{"a path like it", dev, []string{"GET /sses HTTP/1.1"}, 404, none},
		{"no user", dev, []string{"GET /sse HTTP/1.1"}, 400, none},
		{"a broken query", dev, []string{"GET /sse?user=alice&cursor=%zz HTTP/1.1"}, 400, none},
		{"another name of loopback", dev, []string{"GET /sse?user=alice HTTP/1.1", "Host: evil.example"}, 403, none},
		{"a page of another origin", dev, []string{"GET /sse?user=alice HTTP/1.1", "Origin: https://evil.example"}, 403, none},
		{"an image of another site's page", dev, []string{"GET /sse?user=alice HTTP/1.1", "Sec-Fetch-Site: cross-site"}, 403, none},
		{"an image of a neighbour's page", dev, []string{"GET /sse?user=alice HTTP/1.1", "Sec-Fetch-Site: same-site"}, 403, none},
		{"the own page", dev, []string{"GET /sse?user=alice HTTP/1.1", "Sec-Fetch-Site: same-origin"}, 200, none},
		{"a person", dev, []string{"GET /sse?user=alice HTTP/1.1", "Sec-Fetch-Site: none"}, 200, none},
		{"two origins", dev, []string{"GET /sse?user=alice HTTP/1.1", "Origin: http://localhost", "+Origin: http://localhost"}, 400, none},
		{"HTTP/1.0", dev, []string{"GET /sse?user=alice HTTP/1.0"}, 200, none},
		{"no query", listed, []string{"GET /sse HTTP/1.1"}, 200, "Vary: Origin"},
		{"a listed page", listed, []string{"GET /sse HTTP/1.1", "Origin: https://app.example.com"}, 200, allow},
		{"a listed page of another site", listed, []string{"GET /sse HTTP/1.1", "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site"}, 200, allow},
		{"a listed page, refused", listed, []string{"GET /sse?cursor=%zz HTTP/1.1", "Origin: https://app.example.com"}, 400, allow},
		{"a page that is not listed", listed, []string{"GET /sse HTTP/1.1", "Origin: https://app.example.com.evil.example"}, 403, none},
		{"asked beforehand", listed, []string{"OPTIONS /sse?cursor=0.a.1 HTTP/1.1", "Origin: https://app.example.com", "Access-Control-Request-Method: GET",
			"Access-Control-Request-Headers: authorization"}, 200, allow},
		{"asked beforehand by a page that is not listed", listed, []string{"OPTIONS /sse HTTP/1.1", "Origin: https://evil.example"}, 403, none},
		{"asked beforehand for a WebSocket", listed, []string{"OPTIONS /ws HTTP/1.1", "Origin: https://app.example.com"}, 405, none},
	}
	for way, enter := range entrances {
		for _, tt := range tests {
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				b := enter(tt.g)
				b.t = t
				b.send(handshake(append([]string{"Host: " + tt.g.Addr().String(), "-Upgrade", "-Connection", "-Sec-WebSocket-Key", "-Sec-WebSocket-Version"},
					tt.lines...)...))
				b.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				resp, err := http.ReadResponse(b.r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tt.status {
					t.Fatalf("got %s, want %d", resp.Status, tt.status)
				}
				if key, value, _ := strings.Cut(tt.header, ": "); resp.Header.Get(key) != value {
					t.Errorf("got %s %q, want %q", key, resp.Header[key], value)
				}
				if credentials := resp.Header.Get("Access-Control-Allow-Credentials"); (credentials == "true") != (tt.header == allow) {
					t.Errorf("got Access-Control-Allow-Credentials %q", credentials)
				}
				asked := strings.HasPrefix(tt.lines[0], "OPTIONS /sse") && tt.status == 200
				if got := strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Authorization"); got != asked {
					t.Errorf("got Access-Control-Allow-Headers %q", resp.Header.Get("Access-Control-Allow-Headers"))
				}
				if stream := resp.Header.Get("Content-Type") == "text/event-stream"; stream != (tt.status == 200 && !asked) {
					t.Errorf("got Content-Type %q", resp.Header.Get("Content-Type"))
				}
				b.conn.Close()
			})
		}
	}
	if n := dev.metric("tidings_handshakes_refused_total", "preflight") + listed.metric("tidings_handshakes_refused_total", "preflight"); n != 0 {
		t.Errorf("got %v refusals for being asked beforehand, want none", n)
	}
}

// A few bytes behind the request do no harm, many end the stream, and the end of them ends it too.
func TestStreamIsNotTalkedTo(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	open := func() (*tab, *source) {
		b := g.raw()
		b.send([]byte("GET /sse?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		b.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		resp, err := http.ReadResponse(b.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &source{t: t, resp: resp, r: b.r}
		s.welcome("none")
		return b, s
	}
	b, s := open()
	for range 4 {
		b.send(make([]byte, 1024))
		h.say("alice", 1)
		s.expect(1, 1)
	}
	b.send([]byte("x"))
	s.wantClosed(closeFlood)
	b.send(make([]byte, 100)) // into the void
	b.conn.Close()

	b, _ = open()
	before := g.metric("tidings_closes_total", causeBrowser)
	b.conn.(*net.TCPConn).CloseWrite()
	b.wantEnd(5 * time.Second)
	g.settled(t)
	if n := g.metric("tidings_closes_total", causeBrowser) - before; n != 1 {
		t.Errorf("got %v closes by the browser, want 1", n)
	}
}

// The connections of a user are counted whatever is spoken on them.
func TestStreamsCount(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.ConnectionsPerUser = 2 })
	g.tab("alice", "")
	s := g.stream("/sse?user=alice")
	s.welcome("none")
	g.stream("/sse?user=alice").wantClosed(closeTooMany)
	s.leave()
	eventually(t, "the first has left", func() error {
		if n := g.metric("tidings_sessions", "sse"); n != 0 {
			return fmt.Errorf("%v streams", n)
		}
		return nil
	})
	g.stream("/sse?user=alice").welcome("none")
}

// streamSession is one that is read as a stream of events.
func (b *bench) streamSession(user string) (s *Session, browser int) {
	b.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	t, err := b.loop.adopt(fds[0])
	if err != nil {
		b.t.Fatal(err)
	}
	b.loop.begin(fds[0], t, upgrade{dialect: eventStream, user: user}, nil)
	b.t.Cleanup(func() { netpoll.Close(fds[1]) })
	return b.loop.slots[t.Slot].session, fds[1]
}

// A stream that is not read for a while holds what its queue may hold, and has every event once, whole, and in order in the end.
func TestSlowStream(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Queue = 8 })
	s, browser := b.streamSession("alice")
	got := read(browser)
	fill := strings.Repeat("x", 5000)
	const events = 500
	for n := range events {
		b.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: fmt.Appendf(nil, "{\"data\":%d,\n\"fill\":\"%s\"\r\n}", n, fill)})
		if s.out != nil && len(s.out.queue) > 9 {
			t.Fatalf("%d events wait for the socket, want 9 at most", len(s.out.queue))
		}
	}
	if s.state != joining {
		t.Fatalf("got state %d, want joining: the socket took everything", s.state)
	}
	b.second()
	for range 1000 {
		got = append(got, read(browser)...)
		if b.turn(); s.out == nil && s.state == live {
			break
		}
	}
	got = append(got, read(browser)...)
	list, last := readEvents(t, got)
	n := 0
	for _, e := range list {
		if strings.Contains(e.data, `"notification"`) {
			if want := fmt.Sprintf(`"data":%d, "fill":"x`, n); !strings.Contains(e.data, want) {
				t.Fatalf("got %.100s, want %s", e.data, want)
			}
			n++
		}
	}
	if n != events || last != s.shard.cursor(s.pos).String() {
		t.Errorf("got %d events up to %q, want %d up to %q", n, last, events, s.shard.cursor(s.pos))
	}
}

// Between two heartbeats a stream says nothing, and nobody is asked to answer: not the one that cannot.
func TestStreamHeartbeats(t *testing.T) {
	b := newBench(t, nil)
	s, browser := b.streamSession("alice")
	other, _ := b.streamSession("bob")
	read(browser)
	b.say("bob")
	b.later(2)
	read(browser) // the first heartbeat may have been due by then
	b.loop.feeds = b.gate.positions(nil, b.loop.feeds)
	for range 4 {
		s.heartbeat()
	}
	list, last := readEvents(t, read(browser))
	want := event{"message", "0.1.1", `{"cursor":"0.1.1"}`}
	if len(list) != 4 || list[0] != want || list[3] != want || last != want.id || s.pinged || s.state != live {
		t.Errorf("got %+v, last id %q, state %d, want four of %+v", list, last, s.state, want)
	}
	f := b.loop.followed(s.shard)
	if one, two := b.loop.heartbeat(f, s), b.loop.heartbeat(f, other); &one[0] != &two[0] {
		t.Error("two streams do not share their heartbeat")
	}
	b.loop.feeds = nil // nothing to promise yet
	s.heartbeat()
	if got := string(read(browser)); got != ":\n\n" {
		t.Errorf("got %q, want a comment", got)
	}
}

// Who has vanished without a word acknowledges nothing. Nothing waits here, all is in the kernel: it is the one that gives up.
func TestVanishedStream(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Heartbeat = time.Second })
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048) })
	}}
	conn, err := d.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /sse?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "the stream is there", func() error {
		if g.metric("tidings_sessions", "sse") != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	start := time.Now()
	h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: []byte(`{"fill":"` + strings.Repeat("x", 20_000) + `"}`)})
	g.settled(t)
	if d := time.Since(start); d > 12*time.Second {
		t.Errorf("it was closed after %v", d)
	}
	if n := g.metric("tidings_closes_total", causeGone); n != 1 {
		t.Errorf("got %v closes of what is gone, want 1", n)
	}
}
