package gateway

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// entrances are the two ways to a session: a connection whose first request is the handshake stays with a loop; one that was used
// for a page before is with net/http, and comes back from there.
var entrances = map[string]func(*gate) *tab{
	"first request": (*gate).raw,
	"after a page":  (*gate).browsed,
}

// browsed is a connection that was used for a page.
func (g *gate) browsed() *tab {
	g.t.Helper()
	b := g.raw()
	b.send(g.page())
	if resp, body := b.response(); resp.StatusCode != http.StatusNotFound || resp.Close {
		b.t.Fatalf("got %s %q, close %v, want 404 and an open connection", resp.Status, body, resp.Close)
	}
	return b
}

func (g *gate) page() []byte {
	return []byte("GET /nothing HTTP/1.1\r\nHost: " + g.Addr().String() + "\r\n\r\n")
}

func TestRefusedHandshakes(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	tests := map[string]struct {
		edits  []string
		status int
		header string // that must be there, "" for none
	}{
		"a page's request":         {[]string{"-Upgrade", "-Connection"}, 426, "Upgrade: websocket"},
		"another upgrade":          {[]string{"Upgrade: h2c"}, 426, "Upgrade: websocket"},
		"not asked to upgrade":     {[]string{"Connection: keep-alive"}, 426, "Upgrade: websocket"},
		"version 8":                {[]string{"Sec-WebSocket-Version: 8"}, 426, "Sec-WebSocket-Version: 13"},
		"two versions":             {[]string{"+Sec-WebSocket-Version: 8"}, 426, "Sec-WebSocket-Version: 13"},
		"no version":               {[]string{"-Sec-WebSocket-Version"}, 426, "Sec-WebSocket-Version: 13"},
		"no key":                   {[]string{"-Sec-WebSocket-Key"}, 400, ""},
		"a short key":              {[]string{"Sec-WebSocket-Key: c2hvcnQ="}, 400, ""},
		"two keys":                 {[]string{"+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, 400, ""},
		"a body":                   {[]string{"Content-Length: 4"}, 400, ""}, // the line break that is sent behind each
		"POST":                     {[]string{"POST /ws?user=alice HTTP/1.1"}, 405, "Allow: GET"},
		"HTTP/1.0":                 {[]string{"GET /ws?user=alice HTTP/1.0"}, 400, ""},
		"another path":             {[]string{"GET /wss?user=alice HTTP/1.1"}, 404, ""},
		"a path behind":            {[]string{"GET /ws/alice HTTP/1.1"}, 404, ""},
		"two segments":             {[]string{"GET /websocket/a/b HTTP/1.1"}, 404, ""},
		"no user in the path":      {[]string{"GET /websocket/ HTTP/1.1"}, 400, ""},
		"no user":                  {[]string{"GET /ws HTTP/1.1"}, 400, ""},
		"a broken query":           {[]string{"GET /ws?user=%zz HTTP/1.1"}, 400, ""},
		"a page of another origin": {[]string{"Origin: https://evil.example"}, 403, ""},
		"another name of loopback": {[]string{"Host: evil.example"}, 403, ""},
		"no host":                  {[]string{"-Host"}, 400, ""},
		"another subprotocol":      {[]string{"Sec-WebSocket-Protocol: graphql-ws"}, 400, ""},
		"a broken subprotocol":     {[]string{"Sec-WebSocket-Protocol: a b"}, 400, ""},
		"plain with a subprotocol": {[]string{"GET /websocket/alice HTTP/1.1", "Sec-WebSocket-Protocol: tidings.v1"}, 400, ""},
		"a line that is none":      {[]string{"no line"}, 400, ""},
		"no HTTP":                  {[]string{"\x16\x03\x01 \x01 \x00\xfc"}, 400, ""},
	}
	for way, enter := range entrances {
		for name, tt := range tests {
			t.Run(way+"/"+name, func(t *testing.T) {
				b := enter(g)
				b.t = t
				b.send(g.request(tt.edits...), []byte("\r\n\r\n"))
				resp, body := b.response()
				if resp.StatusCode != tt.status || strings.Count(body, "\n") > 1 {
					t.Errorf("got %s %q, want %d and one sentence", resp.Status, body, tt.status)
				}
				if key, value, ok := strings.Cut(tt.header, ": "); ok && resp.Header.Get(key) != value {
					t.Errorf("got %s %q, want %q", key, resp.Header[key], value)
				}
				if resp.StatusCode != 404 { // a page that is not there: the connection is good for others
					b.wantEnd(2 * time.Second)
				}
			})
		}
	}
}

// A refusal arrives whole although the browser goes on sending, and the connection ends soon although it stays.
func TestRefusalSurvivesWhatIsStillSent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(nil)
	b := g.raw()
	b.send(g.request("Content-Length: 100000"), bytes.Repeat([]byte("x"), 100_000))
	if resp, body := b.response(); resp.StatusCode != 400 || !strings.Contains(body, "body") {
		t.Fatalf("got %s %q, want 400", resp.Status, body)
	}
	start := time.Now()
	b.wantEnd(2 * time.Second)
	for b.conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); ; time.Sleep(10 * time.Millisecond) {
		if _, err := b.conn.Write([]byte("x")); gone(err) {
			break
		} else if err != nil {
			t.Fatalf("got %v, want the connection to be closed", err)
		}
	}
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("the connection was closed after %v", d)
	}
	if n := g.metric("tidings_handshakes_refused_total"); n != 1 {
		t.Errorf("got %v refusals, want 1", n)
	}
}

// The head of a request is bounded, in however many pieces it comes.
func TestHandshakeTooLarge(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	large := g.request("Cookie: x=" + strings.Repeat("x", 30<<10))
	for name, cuts := range map[string][]int{"at once": nil, "in pieces": {100, 5000, 10_000, 15_000, 20_000, 25_000}, "all but the end": {len(large) - 2}} {
		for way, enter := range entrances {
			t.Run(way+"/"+name, func(t *testing.T) {
				b := enter(g)
				b.t = t
				from := 0
				for _, to := range append(cuts, len(large)) {
					b.send(large[from:to])
					from = to
				}
				if resp, body := b.response(); resp.StatusCode != 431 {
					t.Fatalf("got %s %q, want 431", resp.Status, body)
				}
			})
		}
	}
}

// However a handshake and the frame right behind it are cut, the session begins with that frame.
func TestHandshakeInPieces(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	request := g.request("GET /websocket/alice HTTP/1.1")
	all := append(slices.Clone(request), masked(text, health)...)
	want := []string{"text 来自后台的反馈:连接成功", "text SUCCESS"}
	for way, enter := range entrances {
		for name, pieces := range map[string][][]byte{
			"with the frame in one segment": {all},
			"frame in a segment of its own": {request, all[len(request):]},
			"frame in halves":               {all[:len(request)+3], all[len(request)+3:]},
			"before the last line break":    {all[:len(request)-2], all[len(request)-2:]},
			"in the last line break":        {all[:len(request)-1], all[len(request)-1:]},
			"in the first line":             {all[:10], all[10:]},
			"byte by byte":                  split(all),
		} {
			t.Run(way+"/"+name, func(t *testing.T) {
				b := enter(g)
				b.t = t
				sendEach(b, pieces)
				b.want101()
				if got := b.shown(2); !slices.Equal(got, want) {
					t.Fatalf("got %q, want %q", got, want)
				}
			})
		}
	}
	t.Run("at every place", func(t *testing.T) {
		for i := 1; i < len(all); i++ {
			b := g.raw()
			b.send(all[:i])
			b.send(all[i:])
			b.want101()
			if got := b.shown(2); !slices.Equal(got, want) {
				t.Fatalf("cut at %d: got %q, want %q", i, got, want)
			}
			b.conn.Close()
		}
	})
	t.Run("with a close frame", func(t *testing.T) {
		b := g.raw()
		b.send(request, closeFrame(1000, ""))
		b.want101()
		if got, want := b.shown(2), []string{want[0], "close 1000"}; !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		b.wantEnd(time.Second)
	})
}

// A proxy may use one connection for pages and then for a WebSocket, without waiting in between: what net/http has read ahead
// belongs to the session.
func TestPipelinedHandshake(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	for range 8 { // over all loops
		b := g.raw()
		parts := [][]byte{g.page(), g.page(), g.request("GET /websocket/alice HTTP/1.1")}
		want := []string{"text 来自后台的反馈:连接成功"}
		for range 4 {
			parts = append(parts, masked(text, `{"sendType":"HEALTH","fill":"`+strings.Repeat("x", 3000)+`"}`))
			want = append(want, "text SUCCESS")
		}
		b.send(parts...)
		for range 2 {
			if resp, _ := b.response(); resp.StatusCode != 404 {
				t.Fatalf("got %s, want 404", resp.Status)
			}
		}
		b.want101()
		if got := b.shown(len(want)); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		h.say("alice", 1)
		b.expect(1, 1)
		b.conn.Close()
	}
	g.settled(t)
}

// Every loop gets its part of the connections that come back from net/http.
func TestBrowsedTabsReachEveryLoop(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	for range 6 {
		b := g.browsed()
		b.send(g.request())
		b.want101()
		b.text()
	}
	for _, l := range g.loops {
		n := make(chan int, 1)
		l.call(func() { n <- l.open })
		if got := <-n; got != 3 {
			t.Errorf("loop %d has %d of 6 sessions, want 3", l.index, got)
		}
	}
}
