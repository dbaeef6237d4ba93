package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestMessageSize(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.MaxMessageBytes = 1000 })
	message := func(n int) string { return `{"fill":"` + strings.Repeat("x", n-11) + `"}` }
	b := g.upgraded()
	b.send(masked(text, message(1000)))
	b.send(masked(byte(ws.OpText), message(1000)[:500]), masked(cont|fin, message(1000)[500:]))
	b.wantPong("still here")
	b.send(masked(text, message(1001)))
	b.wantClosed(closeTooBig)
}

// Whatever a browser sends counts, and it may send at the rate for ever. Twice the rate can pass at a second's edge.
func TestMessagesPerSecond(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.MessagesPerSecond = 10 })
	for name, frame := range map[string][]byte{"messages": masked(text, "{}"), "pings": masked(ping, ""), "pongs": masked(pong, "")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := g.upgraded()
			b.t = t
			for range 12 { // 5 in a second, over more than two
				b.send(frame)
				time.Sleep(200 * time.Millisecond)
			}
			b.wantPong("still here")
			for range 21 {
				b.send(frame)
			}
			b.wantClosed(closeFlood)
		})
	}
	t.Run("one browser's flood is its own", func(t *testing.T) {
		quiet, loud := g.upgraded(), g.upgraded()
		for range 40 {
			loud.send(masked(text, "{}"))
		}
		loud.wantClosed(closeFlood)
		quiet.wantPong("still here")
	})
}

func TestConnectionsPerUser(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.ConnectionsPerUser = 3 })
	first, second := g.upgraded(), g.upgraded()
	g.upgraded("GET /websocket/alice HTTP/1.1") // both dialects count
	refused := func() {
		t.Helper()
		b := g.raw()
		b.send(g.request())
		b.want101()
		b.wantClosed(closeTooMany)
	}
	refused()
	refused() // and the refused do not count
	g.tab("bob", "")
	free := func(why string) *tab {
		t.Helper()
		var b *tab
		eventually(t, "a place is free "+why, func() error {
			b = g.raw()
			b.send(g.request())
			b.want101()
			if f, err := b.frame(); err != nil || f.Header.OpCode != ws.OpText {
				return fmt.Errorf("got %+v, %v, want a welcome", f.Header, err)
			}
			return nil
		})
		refused()
		return b
	}
	first.send(closeFrame(1000, ""))
	b := free("after a close")
	b.conn.Close()
	free("after an end without a close")
	second.send(masked(text, "not JSON")) // closed by the gateway, and not answered
	second.wantClose(closeProtocol)
	free("before the browser has answered")
}

// A connection without a token, and whatever it says instead, is closed when its time is up, and not before.
func TestAuthTimeout(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.HMACSecret, c.AuthTimeout = testSecret, 2*time.Second })
	for name, says := range map[string][]byte{
		"nothing":          nil,
		"another message":  masked(text, `{"type":"later","token":"x"}`),
		"HEALTH":           masked(text, health),
		"a pong":           masked(pong, ""),
		"half an auth":     masked(text, `{"type":"auth","token":"x"}`)[:10],
		"half of a binary": masked(fin|byte(ws.OpBinary), "x")[:1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := g.raw()
			b.t = t
			start := time.Now()
			b.send(g.request("GET /ws HTTP/1.1"), says)
			b.want101()
			f, err := b.frame()
			if err != nil || f.Header.OpCode != ws.OpClose {
				t.Fatalf("got %+v, %v, want a close frame", f.Header, err)
			}
			if code, reason := ws.ParseCloseFrameData(f.Payload); code != ws.StatusCode(closeUnauthorized) {
				t.Errorf("closed with %d %q, want %d", code, reason, closeUnauthorized)
			}
			if d := time.Since(start); d > 3*time.Second || d < 500*time.Millisecond {
				t.Errorf("closed after %v, want 2 s", d)
			}
		})
	}
}
