package tlsfront

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"tidings/gateway/netpoll"
	"tidings/integration/house"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// stand is a running front, with the test in the place of the loops.
type stand struct {
	*Front
	t         testing.TB
	ca        *house.Authority
	reg       *prometheus.Registry
	delivered chan net.Conn // the loops' ends
	peers     chan net.Addr
	end       func() error
}

func newStand(t testing.TB, change func(*Config, *Needs)) *stand {
	t.Helper()
	s := &stand{t: t, ca: house.NewAuthority(t), reg: prometheus.NewRegistry(), delivered: make(chan net.Conn, 1000), peers: make(chan net.Addr, 1000)}
	cfg := Config{TLSHandshakes: 64}
	cfg.TLSCert, cfg.TLSKey = s.ca.Issue(t, "server", time.Now().Add(time.Hour))
	n := Needs{Log: slog.New(slog.DiscardHandler), Registry: s.reg, Handshake: 10 * time.Second, Unsent: 64 << 10, Deaf: time.Minute, Relays: 2}
	if change != nil {
		change(&cfg, &n)
	}
	before := descriptors(t)
	var err error
	if s.Front, err = New(cfg, "127.0.0.1:0", n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, s.deliver) }()
	s.end = func() error { cancel(); return <-ended }
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		for len(s.delivered) > 0 {
			(<-s.delivered).Close()
		}
		house.Eventually(t, patience, "all descriptors are closed", func() error {
			runtime.GC() // a client's, where a test has left one
			if now := descriptors(t); now > before {
				return errors.New("there are more than before")
			}
			return nil
		})
	})
	return s
}

func (s *stand) deliver(_, fd int, peer net.Addr) bool {
	c, err := netpoll.Conn(fd)
	if err != nil {
		s.t.Error(err)
		return false
	}
	s.peers <- peer
	s.delivered <- c
	return true
}

// descriptors counts what this process has open; it is 0 where there is no /proc.
func descriptors(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("descriptors are not counted:", err)
	}
	return len(list)
}

// dial is a client that trusts the stand.
func (s *stand) dial(change func(*tls.Config)) (*tls.Conn, error) {
	cfg := &tls.Config{RootCAs: s.ca.Pool, ServerName: "localhost"}
	if change != nil {
		change(cfg)
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.Addr().String(), cfg)
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
		s.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// connect gives both ends of a connection.
func (s *stand) connect() (client *tls.Conn, loop *net.UnixConn) {
	s.t.Helper()
	client, err := s.dial(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case c := <-s.delivered:
		c.SetDeadline(time.Now().Add(patience))
		s.t.Cleanup(func() { c.Close() })
		return client, c.(*net.UnixConn)
	case <-time.After(patience):
		s.t.Fatal("no loop got the connection")
		return nil, nil
	}
}

func (s *stand) metric(name string, label ...string) float64 {
	s.t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "tidings_tls_"+name && labelled(m, label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func labelled(m *dto.Metric, values []string) bool {
	return len(values) == 0 || len(m.Label) == 1 && m.Label[0].GetValue() == values[0]
}

func (s *stand) await(name string, want float64, label ...string) {
	s.t.Helper()
	house.Eventually(s.t, patience, name, func() error {
		if got := s.metric(name, label...); got != want {
			return errors.New("it is not what it should be")
		}
		return nil
	})
}

// pattern is bytes that show where they belong.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i)
	}
	return b
}

func send(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes and %v, want %d", n, err, len(want))
	}
}

func wantEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("got %d bytes and %v, want the end", n, err)
	}
}

// Sizes on both sides of a record, in both directions at once.
func TestBytesArrive(t *testing.T) {
	s := newStand(t, nil)
	client, loop := s.connect()
	for _, n := range []int{1, 2, 1023, record - 1, record, record + 1, 3*record + 7, 1 << 20} {
		b := pattern(n)
		done := make(chan error, 2)
		go func() { _, err := client.Write(b); done <- err }()
		go func() { _, err := loop.Write(b); done <- err }()
		receive(t, loop, b)
		receive(t, client, b)
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	if peer := <-s.peers; peer.String() != client.LocalAddr().String() {
		t.Errorf("got peer %v, want %v", peer, client.LocalAddr())
	}
}

// What comes in one segment with the end of the handshake is in crypto/tls before the relay looks at the socket.
func TestFirstBytesAtOnce(t *testing.T) {
	s := newStand(t, nil)
	tcp, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	held := &holding{Conn: tcp}
	client := tls.Client(held, &tls.Config{RootCAs: s.ca.Pool, ServerName: "localhost", MinVersion: tls.VersionTLS13})
	held.after = 1 // the hello goes out; what follows waits for the first data
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	send(t, client, []byte("GET"))
	if err := held.release(); err != nil {
		t.Fatal(err)
	}
	loop := <-s.delivered
	defer loop.Close()
	loop.SetDeadline(time.Now().Add(patience))
	receive(t, loop, []byte("GET"))
}

// holding keeps back what is written after so many writes.
type holding struct {
	net.Conn
	after int
	kept  []byte
}

func (h *holding) Write(b []byte) (int, error) {
	if h.after--; h.after >= 0 {
		return h.Conn.Write(b)
	}
	h.kept = append(h.kept, b...)
	return len(b), nil
}

func (h *holding) release() error {
	_, err := h.Conn.Write(h.kept)
	return err
}

// A client that does not read fills its socket and then the loop's: the loop sees a full socket after a bounded number of bytes, and loses none.
func TestSlowClient(t *testing.T) {
	s := newStand(t, nil)
	client, loop := s.connect()
	raw, err := loop.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	chunk, sent := pattern(4096), 0
	write := func() (more bool) {
		raw.Write(func(fd uintptr) bool {
			n, err := netpoll.Write(int(fd), chunk[sent%4096:])
			sent += max(n, 0)
			more = err == nil
			return true
		})
		return more
	}
	const quiet = 300 * time.Millisecond // the relay is idle when nothing was taken for so long
	for last := time.Now(); time.Since(last) < quiet; {
		if write() {
			last = time.Now()
		}
	}
	if limit := 12 << 20; sent > limit { // the sockets of loopback hold a few megabytes
		t.Errorf("got %d bytes on their way, want at most %d", sent, limit)
	}
	t.Logf("%d KiB are held for a client that does not read", sent>>10)
	if busy := processorTime(t, quiet); busy > quiet/2 {
		t.Errorf("%v of processor time in %v, want a relay that waits", busy, quiet)
	}
	loop.Close() // what was sent is still the client's
	got, err := io.ReadAll(client)
	if err != nil || len(got) != sent {
		t.Fatalf("got %d bytes and %v, want %d", len(got), err, sent)
	}
	for i := 0; i < len(got); i += 4096 {
		if end := min(len(got), i+4096); !bytes.Equal(got[i:end], chunk[:end-i]) {
			t.Fatalf("other bytes than were sent, at %d", i)
		}
	}
	s.await("connections", 0)
}

// processorTime is what this process takes while it waits for so long.
func processorTime(t *testing.T, wait time.Duration) time.Duration {
	t.Helper()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	time.Sleep(wait)
	return used() - before
}

// A loop that does not read holds up its own client, after a bounded number of bytes.
func TestSlowLoop(t *testing.T) {
	s := newStand(t, nil)
	client, loop := s.connect()
	client.SetWriteDeadline(time.Now().Add(time.Second))
	sent := 0
	for b := pattern(record); ; {
		n, err := client.Write(b)
		if sent += n; err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("64 MiB were taken, and nobody reads them")
		}
	}
	n, err := io.CopyN(io.Discard, loop, int64(sent-record)) // the last record may be cut
	if err != nil {
		t.Errorf("got %d of %d bytes and %v", n, sent, err)
	}
}

func TestHalfClose(t *testing.T) {
	s := newStand(t, nil)
	t.Run("by the client", func(t *testing.T) {
		client, loop := s.connect()
		send(t, client, []byte("last"))
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		receive(t, loop, []byte("last"))
		wantEnd(t, loop)
		send(t, loop, []byte("answer"))
		receive(t, client, []byte("answer"))
		loop.Close()
		wantEnd(t, client)
	})
	t.Run("by TCP alone", func(t *testing.T) {
		client, loop := s.connect()
		client.NetConn().(*net.TCPConn).CloseWrite()
		wantEnd(t, loop)
		send(t, loop, []byte("answer"))
		receive(t, client, []byte("answer"))
		loop.Close()
		wantEnd(t, client)
	})
	t.Run("by the loop", func(t *testing.T) {
		client, loop := s.connect()
		send(t, loop, []byte("last"))
		if err := loop.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		receive(t, client, []byte("last"))
		wantEnd(t, client)
		send(t, client, []byte("answer"))
		receive(t, loop, []byte("answer"))
		client.Close()
		wantEnd(t, loop)
		loop.Close()
	})
	s.await("connections", 0)
}

// The end is said by TLS too, so that a client can tell it from a connection that was cut. In TLS 1.2 the kind of a record can be seen.
func TestCloseNotify(t *testing.T) {
	s := newStand(t, nil)
	tcp, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	client := tls.Client(tcp, &tls.Config{RootCAs: s.ca.Pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	(<-s.delivered).Close()
	tcp.SetDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(tcp)
	if alert := byte(21); err != nil || len(rest) < 5 || rest[0] != alert {
		t.Errorf("got %x and %v behind the handshake, want an alert", rest, err)
	}
}

// An end without a word is one for the other side too, at once.
func TestBrokenConnections(t *testing.T) {
	s := newStand(t, nil)
	for name, breakIt := range map[string]func(*tls.Conn){
		"reset": func(c *tls.Conn) { c.NetConn().(*net.TCPConn).SetLinger(0); c.NetConn().Close() },
		"bytes that are not TLS": func(c *tls.Conn) {
			c.NetConn().Write([]byte("GET / HTTP/1.1\r\nHost: here\r\n\r\n"))
		},
		"a record cut short": func(c *tls.Conn) {
			c.NetConn().Write([]byte{23, 3, 3, 1, 0, 1, 2, 3})
			c.NetConn().(*net.TCPConn).CloseWrite()
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, loop := s.connect()
			breakIt(client)
			wantEnd(t, loop)
			s.await("connections", 0)
		})
	}
	t.Run("the loop closes", func(t *testing.T) {
		client, loop := s.connect()
		loop.Close()
		wantEnd(t, client)
		s.await("connections", 0)
	})
	t.Run("the loop closes, and the client goes on sending", func(t *testing.T) {
		client, loop := s.connect()
		loop.Close()
		wantEnd(t, client)
		for range 1000 {
			if _, err := client.Write(pattern(1024)); err != nil {
				break
			}
		}
		s.await("connections", 0)
	})
}

// Connections that come and go leave nothing behind.
func TestComingAndGoing(t *testing.T) {
	s := newStand(t, nil)
	for range 50 {
		client, loop := s.connect()
		send(t, client, []byte("x"))
		receive(t, loop, []byte("x"))
		client.Close()
		wantEnd(t, loop)
		loop.Close()
	}
	s.await("connections", 0)
}

func TestWhatIsSpoken(t *testing.T) {
	s := newStand(t, nil)
	for _, c := range []struct {
		name   string
		change func(*tls.Config)
		want   bool
	}{
		{"TLS 1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"HTTP/2 and HTTP/1.1", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, true},
		{"HTTP/2 only", func(c *tls.Config) { c.NextProtos = []string{"h2"} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := s.dial(c.change)
			if (err == nil) != c.want {
				t.Fatalf("got %v, want a connection: %v", err, c.want)
			}
			if err != nil {
				return
			}
			(<-s.delivered).Close()
			if got := client.ConnectionState().NegotiatedProtocol; got != "" && got != "http/1.1" {
				t.Errorf("got protocol %q, want http/1.1", got)
			}
		})
	}
}

func TestTicketsResume(t *testing.T) {
	s := newStand(t, nil)
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		client, err := s.dial(func(c *tls.Config) { c.ClientSessionCache = cache })
		if err != nil {
			t.Fatal(err)
		}
		loop := <-s.delivered
		send(t, loop.(*net.UnixConn), []byte("x")) // the ticket comes before it
		receive(t, client, []byte("x"))
		if got, want := client.ConnectionState().DidResume, i == 1; got != want {
			t.Errorf("connection %d: got resumed %v, want %v", i, got, want)
		}
		client.Close()
		loop.Close()
	}
	s.await("handshakes_total", 1, "full")
	s.await("handshakes_total", 1, "resumed")
}

func TestPlainHTTPIsTold(t *testing.T) {
	s := newStand(t, nil)
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	send(t, c, []byte("GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	answer, _ := io.ReadAll(c) // it ends with a reset where not all was read
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.HasSuffix(string(answer), "use https:// and wss://.\n") {
		t.Errorf("got %q, want to be told", answer)
	}
	s.await("handshakes_failed_total", 1, causePlain)
}

// Handshakes that go nowhere keep others waiting at most for the deadline.
func TestHandshakesAreBoundedInNumberAndTime(t *testing.T) {
	s := newStand(t, func(c *Config, n *Needs) { c.TLSHandshakes, n.Handshake = 2, time.Second })
	for range 2 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		send(t, c, []byte{22, 3, 1}) // the beginning of a record
	}
	client, loop := s.connect()
	send(t, client, []byte("x"))
	receive(t, loop, []byte("x"))
	if s.metric("handshakes_failed_total", causeTimeout) == 0 {
		t.Error("it did not wait for a slot, so that there was no limit")
	}
	s.await("handshakes_failed_total", 2, causeTimeout)
}

// No goroutine is a connection's.
func TestIdleConnectionsHaveNoGoroutine(t *testing.T) {
	s := newStand(t, nil)
	client, loop := s.connect()
	send(t, client, []byte("x"))
	receive(t, loop, []byte("x"))
	before := runtime.NumGoroutine()
	for range 100 {
		s.connect()
	}
	house.Eventually(t, patience, "the handshakes' goroutines end", func() error {
		if n := runtime.NumGoroutine(); n > before+5 {
			return errors.New("there are too many")
		}
		return nil
	})
}

// When the listener is closed, those who are there stay until their loops end them; then Run ends.
func TestRefuse(t *testing.T) {
	s := newStand(t, nil)
	client, loop := s.connect()
	s.Refuse()
	if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
		c.Close()
		t.Error("it still takes connections")
	}
	send(t, loop, []byte("goodbye"))
	loop.Close()
	receive(t, client, []byte("goodbye"))
	wantEnd(t, client)
}

// TestNoRoom: without memory a connection is closed before it costs a handshake, and the next is taken when there is some.
func TestNoRoom(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	s := newStand(t, func(_ *Config, n *Needs) { n.Full = full.Load })
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %d bytes and %v, want the end", n, err)
	}
	full.Store(false)
	next, err := s.dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
	(<-s.delivered).Close()
}
