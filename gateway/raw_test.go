package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// What no WebSocket library would send needs a connection without one: a tab that has not said anything yet.

// raw connects.
func (g *gate) raw() *tab {
	g.t.Helper()
	conn, err := net.DialTimeout("tcp", g.Addr().String(), 5*time.Second)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return &tab{t: g.t, conn: conn, r: bufio.NewReader(conn)}
}

// request is a handshake of alice in development mode, with edits as handshake takes them.
func (g *gate) request(edits ...string) []byte {
	return handshake(append([]string{"GET /ws?user=alice HTTP/1.1", "Host: " + g.Addr().String()}, edits...)...)
}

// upgraded is a tab behind its welcome, or the plain greeting.
func (g *gate) upgraded(edits ...string) *tab {
	g.t.Helper()
	b := g.raw()
	b.send(g.request(edits...))
	b.want101()
	b.text()
	return b
}

// send writes all parts at once.
func (b *tab) send(parts ...[]byte) {
	b.t.Helper()
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	b.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := b.conn.Write(all); err != nil && !gone(err) {
		b.t.Errorf("write: %v", err)
	}
}

// response reads the answer to a request.
func (b *tab) response() (*http.Response, string) {
	b.t.Helper()
	b.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(b.r, nil)
	if err != nil {
		b.t.Fatalf("response: %v", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("body of the response: %v", err)
	}
	return resp, string(body)
}

func (b *tab) want101() {
	b.t.Helper()
	if resp, body := b.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		b.t.Fatalf("got %s %q, want 101", resp.Status, body)
	}
}

// wantClose reads past everything up to the close frame, which it does not answer.
func (b *tab) wantClose(code CloseCode) {
	b.t.Helper()
	for {
		f, err := b.frame()
		if err != nil {
			b.t.Fatalf("got %v, want a close frame with %d", err, code)
		}
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		if got, reason := ws.ParseCloseFrameData(f.Payload); got != ws.StatusCode(code) {
			b.t.Fatalf("closed with %d %q, want %d", got, reason, code)
		}
		return
	}
}

// wantEnd waits for the end of the stream, behind which there is nothing: no frame, and no reset.
func (b *tab) wantEnd(within time.Duration) {
	b.t.Helper()
	b.conn.SetReadDeadline(time.Now().Add(within))
	rest, err := io.ReadAll(b.r)
	if err != nil || len(rest) > 0 {
		b.t.Fatalf("got %q, %v, want the end of the stream within %v", rest, err, within)
	}
}

// wantPong sends a ping and reads its pong, past whatever else comes: what was sent before the ping is dealt with then.
func (b *tab) wantPong(payload string) {
	b.t.Helper()
	b.send(masked(0x89, payload))
	for {
		f, err := b.frame()
		switch {
		case err != nil:
			b.t.Fatalf("got %v, want a pong", err)
		case f.Header.OpCode == ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			b.t.Fatalf("closed with %d %q, want a pong", code, reason)
		case f.Header.OpCode == ws.OpPong && string(f.Payload) == payload:
			return
		}
	}
}

// masked is a frame as a browser sends it; b0 is its first byte: final, reserved bits, opcode.
func masked(b0 byte, payload string) []byte {
	key := [4]byte{0x1f, 0x2e, 0x3d, 0x4c}
	b := append(maskedHeader(b0, len(payload)), key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

// maskedHeader is a header up to the masking key.
func maskedHeader(b0 byte, n int) []byte {
	switch {
	case n <= 125:
		return []byte{b0, 0x80 | byte(n)}
	case n <= 0xffff:
		return []byte{b0, 0x80 | 126, byte(n >> 8), byte(n)}
	}
	return []byte{b0, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// closeFrame is the close frame of a browser.
func closeFrame(code int, reason string) []byte {
	return masked(0x88, string([]byte{byte(code >> 8), byte(code)})+reason)
}

// gone tells that a write failed because the gateway has closed already.
func gone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// settled waits until the gateway has no session left.
func (g *gate) settled(t *testing.T) {
	t.Helper()
	eventually(t, "all sessions are closed", func() error {
		if n := g.metric("tidings_sessions"); n != 0 {
			return fmt.Errorf("%v sessions are left", n)
		}
		return nil
	})
}
