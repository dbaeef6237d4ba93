package gateway

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"tidings/gateway/client"
	"tidings/gateway/netpoll"
)

// pages serves what is not a WebSocket on the same port, the client's scripts to begin with, with net/http: the loops hand it connections whose first request is
// for something else. A proxy may send an upgrade on a connection that was used before; that comes back to a loop.
type pages struct {
	gate   *Gateway
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
	turn   atomic.Uint32 // whose it is among the loops to take a connection back
}

func newPages(g *Gateway, others http.Handler) *pages {
	p := &pages{gate: g, conns: make(chan net.Conn, 64), done: make(chan struct{})}
	r := chi.NewRouter()
	r.HandleFunc("/ws", p.upgrade)
	r.HandleFunc("/websocket/*", p.upgrade)
	r.HandleFunc("/sse", p.upgrade)
	for _, path := range client.Paths {
		r.Handle(path, client.Handler())
	}
	if others != nil {
		r.Mount("/", p.guard(others))
	}
	p.server = &http.Server{
		Handler: r, ReadHeaderTimeout: g.cfg.HandshakeTimeout, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: maxRequest,
	}
	return p
}

func (p *pages) run() { p.server.Serve(p) } // ends with ErrServerClosed

func (p *pages) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		p.server.Close()
	}
	p.Close()
}

// give hands a connection over with the bytes that were read of it. It is false when the pages are closed or too busy.
func (p *pages) give(conn *begunConn) bool {
	select {
	case <-p.done:
		return false
	case p.conns <- conn:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (p *pages) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pages) Close() error {
	p.once.Do(func() {
		close(p.done)
		for {
			select {
			case c := <-p.conns:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr implements net.Listener.
func (p *pages) Addr() net.Addr { return p.gate.address }

// guard keeps pages of other origins, and other names for this machine, away from the development pages.
func (p *pages) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ref := p.gate.rules.origins.check(r.Header["Origin"], r.Host); ref != nil {
			ref.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// upgrade gives a connection back to a loop.
func (p *pages) upgrade(w http.ResponseWriter, r *http.Request) {
	up, ref := p.gate.admit(r)
	if ref != nil {
		p.gate.metrics.refused(ref)
		for cors := up.cors(); len(cors) > 0; cors = cors[2:] {
			w.Header().Set(cors[0], cors[1])
		}
		ref.ServeHTTP(w, r)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot become a WebSocket", http.StatusInternalServerError)
		return
	}
	defer conn.Close() // the loop works on a duplicate
	begun := conn.(*begunConn)
	rest, _ := rw.Reader.Peek(rw.Reader.Buffered()) // cannot fail: they are there
	rest = append(bytes.Clone(rest), begun.read...)
	fd, err := netpoll.Detach(begun.socket)
	if err != nil {
		p.gate.log.Warn("cannot take over a connection", "error", err)
		return
	}
	l := p.gate.loops[int(p.turn.Add(1))%len(p.gate.loops)]
	if !l.call(func() {
		t, err := l.adopt(fd)
		if err != nil {
			netpoll.Close(fd)
			return
		}
		l.begin(fd, t, up, rest)
	}) {
		netpoll.Close(fd)
	}
}

// begunConn is a connection of which something was read already.
type begunConn struct {
	socket
	read []byte
	peer net.Addr // whose it is, where the socket does not know
}

// socket is a connection of TCP, or of a Unix socket behind TLS. Without CloseWrite net/http would reset it behind a refusal.
type socket interface {
	net.Conn
	CloseWrite() error
	File() (*os.File, error)
}

// RemoteAddr implements net.Conn.
func (c *begunConn) RemoteAddr() net.Addr {
	if c.peer != nil {
		return c.peer
	}
	return c.socket.RemoteAddr()
}

func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.socket.Read(b)
}
