//go:build linux

package chaos

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"tidings/integration/house"
)

// valves are proxies between a gateway and each NATS server, for where there are no network namespaces.
type valves struct {
	t *testing.T
	p *house.Programs

	opened *sync.Cond // of mu; fixed by urls

	mu     sync.Mutex // guards the following
	closed bool
}

func (v *valves) kind() string              { return "proxies" }
func (v *valves) nats() string              { return "127.0.0.1" }
func (v *valves) gateway() string           { return "127.0.0.1" }
func (v *valves) programs() *house.Programs { return v.p }

// urls starts a proxy for each server.
func (v *valves) urls(list string) string {
	v.opened = sync.NewCond(&v.mu)
	var out []string
	for _, url := range strings.Split(list, ",") {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			v.t.Fatal(err)
		}
		var running sync.WaitGroup
		ended := make(chan struct{})
		running.Go(func() { v.serve(l, strings.TrimPrefix(url, "nats://"), ended, &running) })
		v.t.Cleanup(func() { close(ended); l.Close(); v.cut(false); running.Wait() })
		out = append(out, "nats://"+l.Addr().String())
	}
	return strings.Join(out, ",")
}

func (v *valves) cut(cut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = cut
	v.opened.Broadcast()
}

// pass waits while the valves are closed.
func (v *valves) pass() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.closed {
		v.opened.Wait()
	}
}

func (v *valves) serve(l net.Listener, to string, ended <-chan struct{}, running *sync.WaitGroup) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			v.pass()
			server, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				return
			}
			both := make(chan struct{}, 2)
			running.Go(func() { v.copy(server, from); both <- struct{}{} })
			running.Go(func() { v.copy(from, server); both <- struct{}{} })
			select {
			case <-both:
			case <-ended:
			}
			v.pass() // the end of one side does not pass either
			from.Close()
			server.Close()
		})
	}
}

func (v *valves) copy(to io.Writer, from io.Reader) {
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		v.pass()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
