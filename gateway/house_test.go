package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"tidings/fanout/wire"
	"tidings/ingest/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is an embedded NATS server with a log, and gateways on it.
type house struct {
	t      testing.TB
	nats   *natsd.Server
	js     jetstream.JetStream
	shards int
	dial   func(name string) (*nats.Conn, error) // how gateways reach it; nil: within the process
	full   atomic.Bool                           // gateways have no memory left
	pods   atomic.Int64                          // so many were started
	pages  http.Handler                          // of gateways, beside their own
}

// fragile is a house whose NATS, which gateways reach over the network, can go away and come back.
type fragile struct {
	*house
	store, url string
}

func newFragileHouse(t testing.TB) *fragile {
	t.Helper()
	f := &fragile{house: &house{t: t, shards: 1}, store: t.TempDir()}
	f.start("127.0.0.1:0")
	t.Cleanup(func() { f.nats.Shutdown() }) // the last one
	f.url = f.nats.ClientURL()
	f.dial = func(name string) (*nats.Conn, error) { return natsd.Dial(f.url, name, quiet) }
	nc, err := f.dial("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if f.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	f.makeLog(0)
	return f
}

func (f *fragile) start(address string) {
	f.t.Helper()
	s, err := natsd.Start(natsd.Config{NATSStore: f.store, NATSListen: address}, quiet)
	if err != nil {
		f.t.Fatal(err)
	}
	f.nats = s
}

// away is without NATS until back.
func (f *fragile) away() { f.nats.Shutdown() }

// back returns when the test is connected again; gateways may still be at it.
func (f *fragile) back() {
	f.t.Helper()
	f.start(strings.TrimPrefix(f.url, "nats://"))
	eventually(f.t, "the test is connected again", func() error {
		_, err := f.js.Stream(context.Background(), wire.Stream(0))
		return err
	})
}

func newHouse(t testing.TB, shards int) *house {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := natsd.Start(natsd.Config{NATSStore: t.TempDir(), NATSListen: "127.0.0.1:0"}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	nc, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, nats: s, js: js, shards: shards}
	for i := range shards {
		h.makeLog(i)
	}
	return h
}

func (h *house) logConfig(shard int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: wire.Stream(shard), Subjects: []string{fmt.Sprintf("log.%d.>", shard)}, AllowDirect: true,
		Metadata: map[string]string{wire.MetaShards: fmt.Sprint(h.shards)},
	}
}

// makeLog makes a shard of the log, also where it was deleted just now: NATS removes a stream's files behind its answer, and cannot make it again before.
func (h *house) makeLog(shard int) {
	h.t.Helper()
	eventually(h.t, "the log is made", func() error {
		_, err := h.js.CreateOrUpdateStream(context.Background(), h.logConfig(shard))
		return err
	})
}

// tell stores a Record and returns its sequence.
func (h *house) tell(r wire.Record) uint64 {
	h.t.Helper()
	shard, subject := 0, ""
	switch {
	case r.Kind == wire.Users:
		shard = wire.Shard(r.Users[0], h.shards)
		subject = wire.Subject(shard, wire.Partition(r.Users[0]))
		if len(r.Users) > 1 {
			subject = wire.MixedSubject(shard)
		}
	default:
		subject = wire.MixedSubject(shard)
	}
	if r.Stored.IsZero() {
		r.Stored = time.Now()
	}
	b, err := r.Append(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	ack, err := h.js.Publish(context.Background(), subject, b)
	if err != nil {
		h.t.Fatal(err)
	}
	return ack.Sequence
}

// say tells one user the number n.
func (h *house) say(user string, n int) uint64 {
	h.t.Helper()
	return h.tell(wire.Record{Kind: wire.Users, EventID: fmt.Sprint(n), Users: []string{user}, Notification: note(n)})
}

func note(n int) []byte { return fmt.Appendf(nil, `{"id":"%d","kind":"test","data":%d}`, n, n) }

// gate is a running gateway.
type gate struct {
	*Gateway
	t    testing.TB
	reg  *prometheus.Registry
	stop func() error // ends it and gives Run's result
}

func (h *house) gate(settings func(*Config)) *gate {
	h.t.Helper()
	g := h.coldGate(settings)
	eventually(h.t, "the gateway is ready", func() error { return g.Ready() })
	return g
}

func (h *house) coldGate(settings func(*Config)) *gate {
	h.t.Helper()
	var cfg Config
	if err := envconfig.Process("tidings_test_defaults", &cfg); err != nil {
		h.t.Fatal(err)
	}
	cfg.Listen, cfg.Loops = "127.0.0.1:0", 2
	if settings != nil {
		settings(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		h.t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(testLog{h.t}, nil))
	dial := h.dial
	if dial == nil {
		dial = func(name string) (*nats.Conn, error) { return h.nats.Connect(name) }
	}
	inner, err := New(ctx, cfg, Needs{Log: log, Registry: reg, Connect: dial, Pages: h.pages, Full: h.full.Load, Pod: fmt.Sprint("pod-", h.pods.Add(1))})
	if err != nil {
		cancel()
		h.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- inner.Run(ctx) }()
	g := &gate{Gateway: inner, t: h.t, reg: reg}
	g.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	h.t.Cleanup(func() {
		if err := g.stop(); err != nil {
			h.t.Errorf("the gateway ended with %v", err)
		}
	})
	return g
}

// testLog shows the log of a test that fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// metric is the sum of a metric over its labels that contain all the given values.
func (g *gate) metric(name string, labels ...string) float64 {
	g.t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if hasLabels(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabels(m *dto.Metric, labels []string) bool {
	for _, want := range labels {
		found := false
		for _, l := range m.Label {
			found = found || l.GetValue() == want
		}
		if !found {
			return false
		}
	}
	return true
}

// tab is a browser tab.
type tab struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// message is any text frame of tidings.v1.
type message struct {
	Type         string          `json:"type"`
	Session      string          `json:"session"`
	Cursor       string          `json:"cursor"`
	Resume       string          `json:"resume"`
	Heartbeat    int             `json:"heartbeat"`
	RetryAfterMs *int            `json:"retryAfterMs"`
	ID           string          `json:"id"`
	Data         json.RawMessage `json:"data"`
}

func (g *gate) url(path string) string { return "ws://" + g.Addr().String() + path }

// open connects with tidings.v1 unless headers say otherwise.
func (g *gate) open(path string, d ws.Dialer) *tab {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, br, _, err := d.Dial(ctx, g.url(path))
	if err != nil {
		g.t.Fatalf("dial %s: %v", path, err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	tb := &tab{t: g.t, conn: conn, r: br}
	g.t.Cleanup(func() { conn.Close() })
	return tb
}

func (g *gate) tab(user, cursor string) (*tab, message) {
	g.t.Helper()
	path := "/ws?user=" + user
	if cursor != "" {
		path += "&cursor=" + cursor
	}
	tb := g.open(path, ws.Dialer{Protocols: []string{"tidings.v1"}})
	m := tb.next()
	if m.Type != "welcome" {
		g.t.Fatalf("got %+v as the first frame, want a welcome", m)
	}
	return tb, m
}

// frame reads the next frame of any kind.
func (b *tab) frame() (ws.Frame, error) {
	b.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	return readFrame(b.r)
}

func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	if f.Header.Length > 16<<20 {
		return f, fmt.Errorf("a frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// text reads the next text frame, answering pings on the way.
func (b *tab) text() string {
	b.t.Helper()
	for {
		f, err := b.frame()
		switch {
		case err != nil:
			b.t.Fatalf("read: %v", err)
		case f.Header.OpCode == ws.OpText:
			return string(f.Payload)
		case f.Header.OpCode == ws.OpPing:
			b.write(ws.NewPongFrame(f.Payload))
		case f.Header.OpCode == ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			b.t.Fatalf("closed with %d %q, want a text frame", code, reason)
		}
	}
}

func (b *tab) next() (m message) {
	b.t.Helper()
	text := b.text()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		b.t.Fatalf("%q: %v", text, err)
	}
	return m
}

// said is the next frame that is no heartbeat: the first of those can come at any time.
func (b *tab) said() message {
	b.t.Helper()
	for {
		if m := b.next(); m.Type != "" {
			return m
		}
	}
}

// notification reads up to the next notification, past heartbeats.
func (b *tab) notification() message {
	b.t.Helper()
	for {
		m := b.next()
		switch m.Type {
		case "notification":
			return m
		case "":
		default:
			b.t.Fatalf("got %+v, want a notification", m)
		}
	}
}

// expect reads notifications with these numbers, in this order.
func (b *tab) expect(from, to int) (cursor string) {
	b.t.Helper()
	for n := from; n <= to; n++ {
		m := b.notification()
		if string(m.Data) != fmt.Sprint(n) {
			b.t.Fatalf("got notification %s, want %d", m.Data, n)
		}
		cursor = m.Cursor
	}
	return cursor
}

func (b *tab) write(f ws.Frame) {
	b.t.Helper()
	if err := ws.WriteFrame(b.conn, ws.MaskFrameInPlace(f)); err != nil && !errors.Is(err, net.ErrClosed) {
		b.t.Logf("write: %v", err)
	}
}

// closed reads until the close frame, answers it, and gives its code and reason. After it comes the end of stream, and the
// browser closes too.
func (b *tab) closed() (ws.StatusCode, string) {
	b.t.Helper()
	for {
		f, err := b.frame()
		if err != nil {
			b.t.Fatalf("got %v, want a close frame", err)
		}
		if f.Header.OpCode == ws.OpClose {
			code, reason := ws.ParseCloseFrameData(f.Payload)
			b.write(ws.NewCloseFrame(f.Payload))
			if _, err := b.frame(); !errors.Is(err, io.EOF) {
				b.t.Fatalf("got %v behind the close frame, want the end of the stream", err)
			}
			b.conn.Close()
			return code, reason
		}
	}
}

func (b *tab) wantClosed(code CloseCode) {
	b.t.Helper()
	if got, reason := b.closed(); got != ws.StatusCode(code) {
		b.t.Fatalf("closed with %d %q, want %d", got, reason, code)
	}
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func jetstreamKeep(n uint64) jetstream.StreamPurgeOpt { return jetstream.WithPurgeKeep(n) }
