package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"tidings/ingest/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig() Config {
	return Config{EventsMaxAge: time.Hour, Duplicates: 2 * time.Minute, DLQMaxAge: time.Hour}
}

func testLog() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// bench is a NATS server and a connection of the test's own.
type bench struct {
	t   testing.TB
	srv *natsd.Server
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newBench(t testing.TB) *bench {
	t.Helper()
	srv, err := natsd.Start(natsd.Config{NATSStore: t.TempDir(), NATSListen: "127.0.0.1:0"}, testLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	b := &bench{t: t, srv: srv}
	b.nc = b.connect()
	if b.js, err = jetstream.New(b.nc); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) connect(opts ...nats.Option) *nats.Conn {
	b.t.Helper()
	nc, err := b.srv.Connect(b.t.Name(), opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

func (b *bench) publish(subject, body string, header ...string) uint64 {
	b.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	ack, err := b.js.PublishMsg(b.ctx(), m)
	if err != nil {
		b.t.Fatalf("publish on %s: %v", subject, err)
	}
	return ack.Sequence
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

// running is a Source at work.
type running struct {
	*Source
	t      testing.TB
	cancel func()
	done   chan struct{}
	err    error // once done is closed
}

// run starts a Source on nc and waits until it follows the events.
func (b *bench) run(nc *nats.Conn, handle func(context.Context, *Event) error) *running {
	b.t.Helper()
	return b.runWith(testConfig(), nc, handle)
}

func (b *bench) runWith(cfg Config, nc *nats.Conn, handle func(context.Context, *Event) error) *running {
	b.t.Helper()
	s, err := NewSource(nc, cfg, testLog(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Source: s, t: b.t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = s.Run(ctx, handle)
	}()
	b.t.Cleanup(func() { r.stop() })
	waitFor(b.t, "the source to follow", func() bool { return s.Ready() == nil })
	return r
}

// stop ends Run and returns how long that took.
func (r *running) stop() time.Duration {
	r.t.Helper()
	start := time.Now()
	r.cancel()
	<-r.done
	if r.err != nil {
		r.t.Errorf("Run: got %v, want nil", r.err)
	}
	return time.Since(start)
}

// die ends a Source whose connection was killed: nothing of what it does now is seen.
func (r *running) die() {
	r.grace = 0
	r.cancel()
}

// settled waits until every event was acknowledged.
func (b *bench) settled() {
	b.t.Helper()
	waitFor(b.t, "all events to be acknowledged", func() bool {
		for p := range Partitions + 1 {
			c, err := b.js.Consumer(b.ctx(), StreamEvents, consumerName(p))
			if err != nil || c.CachedInfo().NumAckPending+int(c.CachedInfo().NumPending) > 0 {
				return false
			}
		}
		return true
	})
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s in vain for %s", what)
		}
	}
}

// journal collects what was handled, as the log does: by Key, the first time only.
type journal struct {
	mu    sync.Mutex
	keys  map[string]bool
	lines []string // subject and data of each event, in order of their first handling
	calls int
}

func (j *journal) add(e *Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls++
	if j.keys == nil {
		j.keys = make(map[string]bool)
	}
	if !j.keys[e.Key] {
		j.keys[e.Key] = true
		j.lines = append(j.lines, fmt.Sprintf("%s %s", e.NATSSubject, e.Data))
	}
}

func (j *journal) handle(_ context.Context, e *Event) error { j.add(e); return nil }

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

// checkOrder: the data of each aggregate's events, numbers, are 0, 1, 2 … n-1.
func (j *journal) checkOrder(t testing.TB, aggregates, n int) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	next := make(map[string]int)
	for _, line := range j.lines {
		var subject string
		var i int
		if _, err := fmt.Sscanf(line, "%s %d", &subject, &i); err != nil {
			t.Fatal(err)
		}
		if a := Aggregate(subject); next[a] != i {
			t.Errorf("%s: got event %d, want %d", a, i, next[a])
			next[a] = i
		}
		next[Aggregate(subject)]++
	}
	if len(next) != aggregates {
		t.Errorf("got %d aggregates, want %d", len(next), aggregates)
	}
	for a, got := range next {
		if got != n {
			t.Errorf("%s: got %d events, want %d", a, got, n)
		}
	}
}

// lifeline is the network of a process that can be killed: cut, it carries nothing any more, and nobody says goodbye.
type lifeline struct {
	url  string
	mu   sync.Mutex
	cut  bool
	conn net.Conn
}

func (b *bench) killable() (*nats.Conn, *lifeline) {
	b.t.Helper()
	l := &lifeline{url: b.srv.ClientURL()}
	nc, err := nats.Connect(l.url, nats.SetCustomDialer(l), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc, l
}

func (l *lifeline) Dial(network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("this process was killed")
	}
	c, err := net.Dial(network, address)
	l.conn = c
	return c, err
}

func (l *lifeline) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.conn.Close()
}

// drop breaks the connection once; it comes back.
func (l *lifeline) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn.Close()
}
