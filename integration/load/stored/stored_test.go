package stored

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"tidings/ingest/natsd"
	"tidings/integration/load/loadgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const within = 20 * time.Second

// start gives a NATS of the test's own.
func start(t *testing.T) (url string, js jetstream.JetStream) {
	t.Helper()
	s, err := natsd.Start(natsd.Config{NATSStore: t.TempDir(), NATSListen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return s.ClientURL(), js
}

// relaying starts a Relay; stop ends it and gives what it returned.
func relaying(t *testing.T, url string) (stop func() error, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, over := make(chan struct{}), make(chan error, 1)
	go func() { over <- Relay(ctx, url, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-over:
		cancel()
		t.Fatal(err)
	}
	return func() error { cancel(); return <-over }, over
}

func publish(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for i := range n {
		if _, err := js.Publish(t.Context(), fmt.Sprintf("events.load.%d.one", i), loadgen.Stamp(nil, time.Now().UnixNano())); err != nil {
			t.Fatal(err)
		}
	}
}

// pipe is the system's, as between processes: one of io's would let a writer wait for the end of a line that nobody has to read.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// until looks until good says that it is so.
func until(t *testing.T, what string, good func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !good(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

func stateOf(t *testing.T, js jetstream.JetStream, stream string) jetstream.StreamState {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// acknowledged is how many events the relay is done with.
func acknowledged(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	c, err := js.Consumer(t.Context(), events, "relay")
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo().AckFloor.Stream
}

// Every event is read once, as it was published, and acknowledged; and what is copied again is stored once.
func TestEveryEventIsStoredTwiceAndReadOnce(t *testing.T) {
	const n = 500
	url, js := start(t)
	stop, _ := relaying(t, url)
	in, commands := pipe(t)
	answers, out := pipe(t)
	read := make(chan error, 1)
	go func() { read <- Read(t.Context(), url, in, out) }()
	to, from := json.NewEncoder(commands), json.NewDecoder(answers)
	ask := func(do string) (r loadgen.Report) {
		t.Helper()
		if err := to.Encode(map[string]any{"Do": do, "Tabs": 7}); err != nil {
			t.Fatal(err)
		}
		if err := from.Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask("open"); r.Open != 7 || r.Failed != 0 {
		t.Errorf("got %+v, want it to stand for 7", r)
	}
	publish(t, js, n)
	until(t, "read", func() bool { return ask("report").Deliveries >= n })
	until(t, "acknowledged", func() bool { return acknowledged(t, js) == n })

	// The relay forgets how far it was.
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), events, "relay"); err != nil {
		t.Fatal(err)
	}
	stop, _ = relaying(t, url)
	until(t, "acknowledged again", func() bool { return acknowledged(t, js) == n })
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	r := ask("report")
	if r.Deliveries != n || r.Ways.Quantile(0.5) <= 0 || r.Max <= 0 || r.First > r.Last {
		t.Errorf("got %+v, want %d deliveries with their ways", r, n)
	}
	if e, l := stateOf(t, js, events), stateOf(t, js, log); e.Msgs != n || l.Msgs != n {
		t.Errorf("%d events and %d records are stored, want %d of each", e.Msgs, l.Msgs, n)
	}
	if r = ask("reset"); r.Deliveries != 0 || r.Open != 7 {
		t.Errorf("after reset: got %+v", r)
	}
	commands.Close()
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// A copy that cannot be stored must not go unseen, nor its event be acknowledged.
func TestARelayThatCannotStoreEnds(t *testing.T) {
	url, js := start(t)
	_, ended := relaying(t, url)
	if err := js.DeleteStream(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 1)
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "store an event again") {
			t.Errorf("got %v, want what was not stored", err)
		}
	case <-time.After(within):
		t.Fatalf("it goes on after %v", within)
	}
	if n := acknowledged(t, js); n != 0 {
		t.Errorf("%d events are acknowledged, want none", n)
	}
}
