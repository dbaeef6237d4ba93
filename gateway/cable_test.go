package gateway

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"tidings/ingest/natsd"
)

// cable is the network between gateways and NATS. Pulled, it ends every connection and lets no new one through.
type cable struct {
	listener net.Listener
	to       string
	copies   sync.WaitGroup

	mu     sync.Mutex // guards the following
	pulled bool
	conns  map[net.Conn]struct{}
}

// lay puts a cable between NATS and those gateways to come whose connection has a name with this suffix; the others are not
// changed.
func (h *house) lay(t *testing.T, suffix string) *cable {
	t.Helper()
	u, err := url.Parse(h.nats.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: ln, to: u.Host, conns: map[net.Conn]struct{}{}}
	c.copies.Go(c.accept)
	t.Cleanup(func() { ln.Close(); c.pull(); c.copies.Wait() })
	h.dial = func(name string) (*nats.Conn, error) {
		if !strings.HasSuffix(name, suffix) {
			return h.nats.Connect(name)
		}
		return natsd.Dial(ln.Addr().String(), name, quiet)
	}
	return c
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for conn := range c.conns {
		conn.Close()
	}
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}

func (c *cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil || !c.keep(near, far) {
			near.Close()
			if far != nil {
				far.Close()
			}
			continue
		}
		c.copies.Go(func() { c.copy(near, far) })
		c.copies.Go(func() { c.copy(far, near) })
	}
}

func (c *cable) keep(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if c.pulled {
			return false
		}
		c.conns[conn] = struct{}{}
	}
	return true
}

func (c *cable) copy(to, from net.Conn) {
	io.Copy(to, from)
	to.Close()
	from.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, to)
	delete(c.conns, from)
}
