package fanout

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// relay stands between a client and a server, and may swallow what the server says, or cut the connections.
type relay struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	mute  bool
	conns []net.Conn
}

func startRelay(t *testing.T, port int) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, server: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.cut()
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.server)
		if err != nil {
			client.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, client, server)
		r.mu.Unlock()
		r.wg.Go(func() {
			defer server.Close()
			io.Copy(server, client) // ends with either connection
		})
		r.wg.Go(func() {
			defer client.Close()
			io.Copy(muted{client, r}, server) // as above
		})
	}
}

// muteServer says whether what the server says is swallowed.
func (r *relay) muteServer(mute bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = mute
}

// cut closes all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

type muted struct {
	net.Conn
	r *relay
}

func (m muted) Write(b []byte) (int, error) {
	m.r.mu.Lock()
	mute := m.r.mute
	m.r.mu.Unlock()
	if mute {
		return len(b), nil
	}
	return m.Conn.Write(b)
}
