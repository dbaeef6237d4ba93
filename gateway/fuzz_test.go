package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Whatever comes on a connection, before or behind its handshake, and however it ends: the answer is HTTP or frames, the
// connection ends, and the loop goes on serving the tab beside it.
func FuzzConnection(f *testing.F) {
	h := newHouse(f, 1)
	g := h.gate(func(c *Config) { c.Loops, c.MessagesPerSecond = 1, 1<<30 })
	beside := g.upgraded()
	for _, x := range exchanges() {
		b := bytes.Join(x.send, nil)
		f.Add(true, b)
		f.Add(false, append(g.request("GET /websocket/alice HTTP/1.1"), b...))
		f.Add(true, b[:len(b)/2])
	}
	for _, b := range [][]byte{
		g.request(), g.request("POST /ws HTTP/1.1"), g.request("Content-Length: 5"), g.request("GET /ws HTTP/1.0"), g.page(),
		append(g.page(), g.request()...), []byte("\r\n\r\n"), []byte("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
		[]byte("GET /sse?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\nand more"), []byte("OPTIONS /sse HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		append(g.page(), "GET /sse?user=alice HTTP/1.0\r\nHost: localhost\r\n\r\nand more"...),
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), []byte("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
	} {
		f.Add(false, b)
		f.Add(false, b[:len(b)-3])
	}
	f.Fuzz(func(t *testing.T, upgraded bool, b []byte) {
		conn, err := net.DialTimeout("tcp", g.Addr().String(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := &tab{t: t, conn: conn, r: bufio.NewReader(conn)}
		if upgraded {
			c.send(g.request(), b)
		} else {
			c.send(b)
		}
		conn.(*net.TCPConn).CloseWrite()
		c.wantAnswers()
		conn.(*net.TCPConn).SetLinger(0) // or the next would run out of ports
		beside.t = t
		beside.wantPong("still here")
	})
}

// wantAnswers reads HTTP responses, and frames behind the one that switches, up to the end of the stream.
func (b *tab) wantAnswers() {
	b.t.Helper()
	b.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, err := b.r.Peek(1); err == io.EOF || gone(err) {
			return
		} else if err != nil {
			b.t.Fatalf("got %v, want an answer or the end of the stream", err)
		}
		resp, err := http.ReadResponse(b.r, nil)
		if err != nil {
			b.t.Fatalf("not HTTP: %v", err)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil && !gone(err) {
			b.t.Fatalf("body of %s: %v", resp.Status, err)
		}
	}
	for closed := false; ; {
		f, err := readFrame(b.r)
		switch {
		case err == io.EOF, gone(err):
			return
		case err != nil:
			b.t.Fatalf("not a frame: %v", err)
		case ws.CheckHeader(f.Header, ws.StateClientSide) != nil || closed:
			b.t.Fatalf("got %+v, behind a close frame %v", f.Header, closed)
		}
		closed = f.Header.OpCode == ws.OpClose
	}
}
