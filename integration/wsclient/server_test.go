package wsclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// peer is the server's end of one connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	ws.Handshake
	header http.Header // of the request
	remote string
}

// serve runs script for each connection, after the handshake; early goes out in the same write as the handshake. The
// server and its scripts have ended when the test ends.
func serve(t *testing.T, early []byte, script func(*peer)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(2 * patience))
				p := &peer{t: t, conn: conn, header: http.Header{}, remote: conn.RemoteAddr().String()}
				if p.upgrade(early) == nil {
					script(p)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return "ws://" + l.Addr().String() + "/ws"
}

func (p *peer) upgrade(early []byte) (err error) {
	var answer bytes.Buffer
	u := ws.Upgrader{
		Protocol: func(b []byte) bool { return string(b) == "tidings.v1" },
		OnHeader: func(k, v []byte) error {
			p.header.Add(string(k), string(v))
			return nil
		},
		OnHost: func(host []byte) error {
			p.header.Set("Host", string(host))
			return nil
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if p.header.Get("Origin") == "https://evil.example" {
				return nil, ws.RejectConnectionError(ws.RejectionStatus(403), ws.RejectionReason("pages of this origin may not connect"))
			}
			return nil, nil
		},
	}
	p.Handshake, err = u.Upgrade(struct {
		io.Reader
		io.Writer
	}{p.conn, &answer})
	_, werr := p.conn.Write(append(answer.Bytes(), early...))
	return errors.Join(err, werr)
}

// text is the bytes of a text frame from a server.
func text(s string) []byte { return ws.MustCompileFrame(ws.NewTextFrame([]byte(s))) }

func (p *peer) write(b []byte) {
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("server: write: %v", err)
	}
}

// read returns the client's next frame, which must be masked, and unmasks it.
func (p *peer) read() ws.Frame {
	h, err := ws.ReadHeader(p.conn)
	if err != nil {
		p.t.Errorf("server: read: %v", err)
		return ws.Frame{}
	}
	if err := ws.CheckHeader(h, ws.StateServerSide); err != nil {
		p.t.Errorf("server: %v", err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(p.conn, payload); err != nil {
		p.t.Errorf("server: read: %v", err)
	}
	return ws.UnmaskFrameInPlace(ws.Frame{Header: h, Payload: payload})
}

// ends reads until the client's end and returns how it came.
func (p *peer) ends() error {
	_, err := io.Copy(io.Discard, p.conn)
	return err
}

func dial(t *testing.T, url string, o Options) *Tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tab, err := Dial(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tab.Hangup)
	return tab
}
