package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tidings/fanout/wire"
	housing "tidings/integration/house"
)

// secured is a gateway that ends TLS itself.
type secured struct {
	*gate
	client *tls.Config
}

func (h *house) secured(settings func(*Config)) *secured {
	h.t.Helper()
	ca := housing.NewAuthority(h.t)
	cert, key := ca.Issue(h.t, "server", time.Now().Add(time.Hour))
	g := h.gate(func(c *Config) {
		c.TLSCert, c.TLSKey = cert, key
		if settings != nil {
			settings(c)
		}
	})
	return &secured{g, &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}}
}

// tab is gate's, over TLS. buffer is the size of the tab's receive buffer; 0 leaves it to the kernel.
func (s *secured) tab(path string, buffer int) *tab {
	s.t.Helper()
	conn := s.dial(buffer)
	d := ws.Dialer{}
	if strings.HasPrefix(path, "/ws?") {
		d.Protocols = []string{"tidings.v1"}
	}
	br, _, err := upgradeOn(conn, d, "ws://localhost"+path)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &tab{t: s.t, conn: conn, r: br}
}

func (s *secured) dial(buffer int) *tls.Conn {
	s.t.Helper()
	tcp, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	if buffer > 0 {
		tcp.(*net.TCPConn).SetReadBuffer(buffer)
	}
	conn := tls.Client(tcp, s.client)
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

func upgradeOn(conn net.Conn, d ws.Dialer, to string) (*bufio.Reader, ws.Handshake, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, ws.Handshake{}, err
	}
	return d.Upgrade(conn, u)
}

// Every dialect and the pages work over TLS as without.
func TestTLSDialects(t *testing.T) {
	h := newHouse(t, 1)
	g := h.secured(nil)
	a := g.tab("/ws?user=alice", 0)
	if m := a.next(); m.Type != "welcome" {
		t.Fatalf("got %+v, want a welcome", m)
	}
	p := g.tab("/websocket/alice", 0)
	if got := p.text(); !strings.Contains(got, "连接成功") {
		t.Fatalf("got %q, want the plain greeting", got)
	}
	p.write(ws.NewTextFrame([]byte(`{"sendType":"HEALTH"}`)))
	if got := p.text(); got != "SUCCESS" {
		t.Fatalf("got %q, want SUCCESS", got)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: g.client}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	r, err := client.Get("https://" + g.Addr().String() + "/sse?user=alice")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	await := func(what string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return
			}
		}
		t.Fatalf("the event stream ended before %s: %v", what, lines.Err())
	}
	await("welcome")
	h.say("alice", 7)
	a.expect(7, 7)
	if got := p.text(); !strings.Contains(got, `"data":7`) {
		t.Errorf("got %q, want notification 7", got)
	}
	await(`"data":7`)

	page, err := client.Get("https://" + g.Addr().String() + "/client.js")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(page.Body)
	page.Body.Close()
	if err != nil || page.StatusCode != http.StatusOK || len(body) < 1000 {
		t.Errorf("/client.js: got %s, %d bytes, %v", page.Status, len(body), err)
	}
	refused, err := client.Get("https://" + g.Addr().String() + "/ws?user=alice")
	if err != nil {
		t.Fatal(err)
	}
	refused.Body.Close()
	if refused.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("/ws without an upgrade: got %s, want 426", refused.Status)
	}
	if got := g.metric("tidings_tls_connections"); got < 3 {
		t.Errorf("got %v TLS connections, want at least 3", got)
	}
}

// A proxy may use one connection for a page first, and for a WebSocket then.
func TestTLSPageThenWebSocket(t *testing.T) {
	h := newHouse(t, 1)
	g := h.secured(nil)
	conn := g.dial(0)
	fmt.Fprintf(conn, "GET /client.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
	br := bufio.NewReader(conn)
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	rest, _, err := upgradeOn(conn, ws.Dialer{Protocols: []string{"tidings.v1"}}, "ws://localhost/ws?user=alice")
	if err != nil {
		t.Fatal(err)
	}
	if rest == nil {
		rest = bufio.NewReader(conn)
	}
	a := &tab{t: t, conn: conn, r: rest}
	a.next()
	h.say("alice", 1)
	a.expect(1, 1)
}

// The pages know who asks, though the socket does not.
func TestTLSPeerAddress(t *testing.T) {
	h := newHouse(t, 1)
	var asked string
	h.pages = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.RemoteAddr })
	g := h.secured(nil)
	conn := g.dial(0)
	fmt.Fprintf(conn, "GET /some/page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	if want := conn.LocalAddr().String(); asked != want {
		t.Errorf("the page was asked by %q, want %q", asked, want)
	}
}

// A tab that does not read over TLS costs a bounded queue, and has everything when it reads again.
func TestTLSSlowTab(t *testing.T) {
	h := newHouse(t, 1)
	g := h.secured(func(c *Config) { c.Queue = 8 })
	a := g.tab("/ws?user=alice", 64<<10)
	a.next()
	big := bytes.Repeat([]byte("x"), 8<<10)
	const count = 800
	for n := range count {
		h.tell(wire.Record{Kind: wire.Users, EventID: "e", Users: []string{"alice"}, Notification: fmt.Appendf(nil, `{"data":%d,"type":"notification","fill":"%s"}`, n, big)})
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

// A tab that never reads is closed, and nothing of its connection stays.
func TestTLSTabThatNeverReads(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.secured(func(c *Config) { c.SlowTimeout, c.Queue = 2*time.Second, 8 })
	g.tab("/ws?user=alice", 4096)
	big := bytes.Repeat([]byte("x"), 64<<10)
	for n := range 120 {
		h.tell(wire.Record{Kind: wire.All, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, big)})
	}
	for name, want := range map[string]float64{"tidings_closes_total": 1, "tidings_sessions": 0} {
		eventually(t, name, func() error {
			if n := g.metric(name); n != want {
				return fmt.Errorf("%v, want %v", n, want)
			}
			return nil
		})
	}
	deadline := time.Now().Add(30 * time.Second)
	for g.metric("tidings_tls_connections") > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if n := g.metric("tidings_tls_connections"); n != 0 {
		t.Errorf("%v TLS connections are left", n)
	}
}

// Close codes reach the browser, and a browser that vanishes is noticed.
func TestTLSEnds(t *testing.T) {
	h := newHouse(t, 1)
	g := h.secured(func(c *Config) { c.ConnectionsPerUser = 1 })
	a := g.tab("/ws?user=alice", 0)
	a.next()
	g.tab("/ws?user=alice", 0).wantClosed(closeTooMany)
	bad := g.tab("/ws?user=bob", 0)
	bad.next()
	bad.write(ws.NewBinaryFrame([]byte{1}))
	bad.wantClosed(closeUnsupported)

	c := g.tab("/ws?user=carol", 0)
	c.next()
	tcp := c.conn.(*tls.Conn).NetConn().(*net.TCPConn)
	tcp.SetLinger(0)
	tcp.Close()
	eventually(t, "carol is gone", func() error {
		if n := g.metric("tidings_sessions"); n != 1 {
			return fmt.Errorf("%v sessions", n)
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- g.stop() }()
	a.wantClosed(closeDraining)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := g.metric("tidings_tls_connections"); n != 0 {
		t.Errorf("%v TLS connections are left", n)
	}
}
