package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestAdmissionRate: a second's worth may come at once, then as many as there is time for, whatever the number of loops that ask.
func TestAdmissionRate(t *testing.T) {
	a := newAdmission(&Config{HandshakesPerSecond: 1000}, nil)
	ask := func(now time.Duration, n int) (admitted int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range n / 4 {
					if _, by := a.ask(now); by == "" {
						mu.Lock()
						admitted++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		return admitted
	}
	if got := ask(time.Second, 4000); got < 1000 || got > 1001 {
		t.Errorf("%d of 4,000 were admitted at once, want a second's", got)
	}
	if got := ask(1500*time.Millisecond, 4000); got < 499 || got > 501 {
		t.Errorf("%d half a second later, want half a second's", got)
	}
	if got := ask(time.Hour, 4000); got < 1000 || got > 1001 {
		t.Errorf("%d after an hour of quiet, want a second's", got)
	}
}

// TestTurns: who is turned away is told to come back one after the other, and what is told stays within a minute.
func TestTurns(t *testing.T) {
	a := newAdmission(&Config{HandshakesPerSecond: 100}, nil)
	for range 101 {
		a.ask(0)
	}
	perSecond := map[int]int{}
	for range 1000 {
		after, by := a.ask(0)
		if by != byRate || after < burstOf {
			t.Fatalf("got %v, %q", after, by)
		}
		perSecond[int(after/time.Second)]++
	}
	for s := 2; s < 10; s++ {
		if perSecond[s] != 100 {
			t.Errorf("%d are to come in second %d, want 100", perSecond[s], s)
		}
	}
	for range 100_000 {
		if after, _ := a.ask(0); after > longestTurn {
			t.Fatalf("told to come after %v", after)
		}
	}
}

func TestNoBound(t *testing.T) {
	a := newAdmission(&Config{HandshakesPerSecond: -1}, nil)
	for range 100_000 {
		if _, by := a.ask(0); by != admitted {
			t.Fatal("refused without a bound")
		}
	}
}

func TestAdmissionAllocations(t *testing.T) {
	a := newAdmission(&Config{HandshakesPerSecond: 10}, func() bool { return false })
	if n := testing.AllocsPerRun(1000, func() { a.ask(0) }); n != 0 {
		t.Errorf("%v allocations for one that is turned away", n)
	}
}

// TestTurnedAway: a program reads a status, a page a frame and a close; who is here is not disturbed.
func TestTurnedAway(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.HandshakesPerSecond = -1; c.Origins = []string{"http://localhost"} })
	a, _ := g.tab("alice", "")
	h.full.Store(true)

	resp, err := http.DefaultClient.Do(handshakeRequest(t, g, ""))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte("Retry-After")) {
		t.Errorf("a program got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	page := g.open("/ws?user=bob", ws.Dialer{Protocols: []string{"tidings.v1"}, Header: ws.HandshakeHeaderHTTP{"Origin": {"http://localhost"}}})
	if m := page.next(); m.Type != "overloaded" || m.RetryAfterMs == nil || *m.RetryAfterMs < 5000 || *m.RetryAfterMs > 15000 {
		t.Errorf("a page got %+v", m)
	}
	page.wantClosed(closeOverloaded)
	old := g.open("/websocket/bob", ws.Dialer{Header: ws.HandshakeHeaderHTTP{"Origin": {"http://localhost"}}})
	old.wantClosed(closeOverloaded)
	resp, err = http.Get("http://" + g.Addr().String() + "/sse?user=bob")
	if err != nil {
		t.Fatal(err)
	}
	stream, _ := io.ReadAll(resp.Body) // it ends
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(stream), `"type":"overloaded"`) || !strings.Contains(string(stream), `"code":1013`) || !strings.Contains(string(stream), "retry: ") {
		t.Errorf("an event stream got %d %q", resp.StatusCode, stream)
	}
	if got := g.metric("tidings_handshakes_refused_total", "memory"); got != 4 {
		t.Errorf("%v were counted as refused, want 4", got)
	}
	h.say("alice", 1)
	a.expect(1, 1)

	h.full.Store(false)
	b, _ := g.tab("bob", "")
	h.say("bob", 2)
	b.expect(2, 2)
}

func handshakeRequest(t *testing.T, g *gate, origin string) *http.Request {
	r, err := http.NewRequest("GET", "http://"+g.Addr().String()+"/ws?user=bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	return r
}
