package gateway

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
)

// The probes are asked from the first moment on, by other goroutines.
func TestProbesFromTheStart(t *testing.T) {
	h := newHouse(t, 1)
	g := h.coldGate(nil)
	var probes sync.WaitGroup
	for range 4 {
		probes.Go(func() {
			for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
				if err := g.Alive(); err != nil {
					t.Error(err)
				}
				g.Ready()
			}
		})
	}
	probes.Wait()
	eventually(t, "the gateway is ready", g.Ready)
	held, release := make(chan struct{}), make(chan struct{})
	g.loops[0].call(func() { close(held); <-release })
	<-held
	g.loops[0].alive.Store(time.Now().Add(-stuckAfter - 2*time.Second).Unix())
	if err := g.Alive(); err == nil || !strings.Contains(err.Error(), "loop 0") {
		t.Errorf("got %v for a loop that does not turn, want its number", err)
	}
	close(release)
	eventually(t, "it turns again", g.Alive)
}

// A gateway that cannot begin says why, and leaves nothing behind.
func TestRunFails(t *testing.T) {
	for name, fails := range map[string]string{"first connection": "tidings-gateway", "second connection": "tidings-gateway-replay"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, 1)
			before := descriptors(t)
			var cfg Config
			if err := envconfig.Process("tidings_test_defaults", &cfg); err != nil {
				t.Fatal(err)
			}
			cfg.Listen = "127.0.0.1:0"
			no := errors.New("no NATS today")
			g, err := New(t.Context(), cfg, Needs{Log: quiet, Connect: func(name string) (*nats.Conn, error) {
				if name == fails {
					return nil, no
				}
				return h.nats.Connect(name)
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Run(t.Context()); !errors.Is(err, no) {
				t.Errorf("got %v, want %v", err, no)
			}
			if conn, err := net.Dial("tcp", g.Addr().String()); err == nil {
				conn.Close()
				t.Error("it still listens")
			}
			eventually(t, "no descriptor is left", func() error {
				if descriptors(t) > before {
					return errors.New("some are")
				}
				return nil
			})
		})
	}
}

// A taken address is known before anything runs.
func TestListenTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := Config{AuthConfig: authConfig(nil), Listen: ln.Addr().String()}
	if _, err := New(t.Context(), cfg, Needs{Log: quiet}); err == nil || !strings.Contains(err.Error(), "TIDINGS_LISTEN") {
		t.Errorf("got %v, want that the address is taken, and its setting", err)
	}
}
