package fanout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/semaphore"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// shortWindow is a log that forgets ids after a moment.
func shortWindow(shards int) LogConfig {
	cfg := logConfig(shards)
	cfg.Duplicates = 300 * time.Millisecond
	return cfg
}

// freshEvent is an event that has just been stored.
func freshEvent(data string) *ingest.Event {
	e := newEvent("events.t", data)
	e.Stored = time.Now()
	return e
}

// entriesFor makes the Records of one event for n users.
func entriesFor(t *testing.T, e *ingest.Event, shards, n int) []Entry {
	t.Helper()
	a := Audience{Users: nameList("u", n), Groups: []string{"ops"}}
	entries, err := records(e, &Notification{Rule: "r", Kind: "k", Data: []byte("1"), Audience: a}, shards, maxPayload)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// wantOnce checks that the log holds each entry once, and nothing else.
func wantOnce(t *testing.T, js jetstream.JetStream, shards int, lists ...[]Entry) {
	t.Helper()
	times := map[string]int{}
	for _, r := range readLog(t, js, shards) {
		times[r.id]++
	}
	want := 0
	for _, entries := range lists {
		for _, e := range entries {
			want++
			if times[e.MsgID] != 1 {
				t.Errorf("%s is in the log %d times, want once", e.MsgID, times[e.MsgID])
			}
		}
	}
	if len(times) != want {
		t.Errorf("got %d ids in the log, want %d", len(times), want)
	}
}

// forgets waits until the server has forgotten ids stored until now.
func forgets(t *testing.T, js jetstream.JetStream, window time.Duration) {
	t.Helper()
	probe := func() *jetstream.PubAck {
		ack, err := js.Publish(context.Background(), "probe", nil, jetstream.WithMsgID("probe"))
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	_, err := js.CreateOrUpdateStream(context.Background(), jetstream.StreamConfig{Name: "PROBE", Subjects: []string{"probe"}, Duplicates: window})
	if err != nil {
		t.Fatal(err)
	}
	probe()
	eventually(t, "the duplicate window has passed", func() bool { return !probe().Duplicate })
}

func TestRedelivery(t *testing.T) {
	tests := map[string]struct {
		shards  int
		stored  func([]Entry) []Entry // what the first attempt got stored before the crash
		forgets bool
	}{
		"within the window, all stored":  {2, func(es []Entry) []Entry { return es }, false},
		"within the window, some stored": {2, func(es []Entry) []Entry { return es[1:2] }, false},
		"after the window, all stored":   {2, func(es []Entry) []Entry { return es }, true},
		"after the window, some stored":  {4, func(es []Entry) []Entry { return append(es[:1:1], es[len(es)-1]) }, true},
		"after the window, none stored":  {2, func(es []Entry) []Entry { return nil }, true},
		"after the window, one user":     {1, func(es []Entry) []Entry { return es }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			js := startNode(t).connect()
			cfg := logConfig(tt.shards)
			if tt.forgets {
				cfg = shortWindow(tt.shards)
			}
			p := newLog(t, js, cfg)
			ctx := context.Background()
			e, other := freshEvent("1"), freshEvent("2")
			other.Key = strings.Repeat("f", 32)
			entries, others := entriesFor(t, e, tt.shards, 5000), entriesFor(t, other, tt.shards, 10)

			if _, err := p.send(ctx, tt.stored(entries)); err != nil {
				t.Fatal(err)
			}
			if err := p.Publish(ctx, others, other); err != nil { // what lies behind in the log is another event's
				t.Fatal(err)
			}
			if tt.forgets {
				forgets(t, js, cfg.Duplicates)
			}
			e.Redelivered = true
			if err := p.Publish(ctx, entries, e); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, js, tt.shards, entries, others)
			if got := testutil.ToFloat64(p.metrics.lookups.WithLabelValues("found")); tt.forgets && got != float64(len(tt.stored(entries))) {
				t.Errorf("got %v Records found in the log, want %d", got, len(tt.stored(entries)))
			}
		})
	}
}

// Without the search the test above would prove nothing: the server does store an id again after the window.
func TestTheWindowForgets(t *testing.T) {
	js := startNode(t).connect()
	cfg := shortWindow(1)
	p := newLog(t, js, cfg)
	e := freshEvent("1")
	entries := entriesFor(t, e, 1, 1)
	eventually(t, "the same is stored again", func() bool {
		if err := p.Publish(context.Background(), entries, e); err != nil { // not marked as redelivered
			t.Fatal(err)
		}
		return len(readLog(t, js, 1)) > len(entries)
	})
}

// Behind a crash every event of a backlog may be looked for. Each Record is read once for all of them, and those that were
// stored meanwhile once more.
func TestManyLookups(t *testing.T) {
	js := startNode(t).connect()
	cfg := shortWindow(2)
	p := newLog(t, js, cfg)
	const workers, each = 16, 50
	var lists [workers * each][]Entry
	events := make([]*ingest.Event, workers*each)
	stored := 0
	for i := range events {
		e := freshEvent("1")
		e.Key = fmt.Sprintf("%032d", i)
		events[i], lists[i] = e, entriesFor(t, e, 2, 20)
		if i%2 == 0 {
			if err := p.Publish(context.Background(), lists[i], e); err != nil {
				t.Fatal(err)
			}
			stored += len(lists[i])
		}
	}
	forgets(t, js, cfg.Duplicates)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(events); i += workers {
				e := events[i]
				e.Redelivered = true
				if err := p.Publish(context.Background(), lists[i], e); err != nil {
					t.Errorf("event %s: %v", e.Key, err)
				}
			}
		})
	}
	wg.Wait()
	wantOnce(t, js, 2, lists[:]...)
	if got := testutil.ToFloat64(p.metrics.lookups.WithLabelValues("found")); got != float64(stored) {
		t.Errorf("got %v Records found in the log, want %d", got, stored)
	}
	all := 0
	for _, entries := range lists {
		all += len(entries)
	}
	if got := testutil.ToFloat64(p.metrics.indexed); got < float64(stored) || got > float64(all) {
		t.Errorf("got %v Records read for %d lookups, want from %d to %d: each once", got, len(events), stored, all)
	}
}

func TestIndex(t *testing.T) {
	js := startNode(t).connect()
	ctx := context.Background()
	cfg := logConfig(1)
	p := newLog(t, js, cfg)
	x := p.indexes[0]
	store := func(e *ingest.Event) []Entry {
		t.Helper()
		entries := entriesFor(t, e, 1, 3)
		if err := p.Publish(ctx, entries, e); err != nil {
			t.Fatal(err)
		}
		return entries
	}
	ask := func(since time.Time, entries []Entry, want bool) {
		t.Helper()
		set, err := x.ask(ctx, since)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if set.has(e.MsgID) != want {
				t.Errorf("%s: got %v, want %v", e.MsgID, !want, want)
			}
		}
	}
	reads := func() float64 { return testutil.ToFloat64(p.metrics.indexed) }

	ask(time.Now(), entriesFor(t, freshEvent("1"), 1, 3), false) // an empty log
	first := freshEvent("1")
	entries := store(first)
	ask(time.Now(), entries, true)
	ask(time.Now().Add(-30*time.Second), entries, true)
	if got := reads(); got != float64(len(entries)) {
		t.Errorf("got %v Records read, want each of %d once", got, len(entries))
	}
	ask(time.Now().Add(-time.Hour), entries, true) // before where it began: from there again
	if got := reads(); got != float64(2*len(entries)) {
		t.Errorf("got %v Records read, want %d", got, 2*len(entries))
	}
	ask(time.Now().Add(time.Hour), entries, true)
	x.forget()
	if x.set != nil {
		t.Error("a forgotten index is still there")
	}
	ask(time.Now().Add(time.Hour), entries, false) // nothing is so new

	// Deleted and made again, the stream has other Records under the same sequences.
	if err := js.DeleteStream(ctx, "LOG_0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log is made again", func() bool { return EnsureLog(ctx, js, cfg, false) == nil }) // its old files are removed behind the answer
	second := freshEvent("2")
	second.Key = strings.Repeat("f", 32)
	others := store(second)
	ask(time.Now(), others, true)
	ask(time.Now(), entries, false)

	// Whoever reads may give up; the others go on without him.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := x.ask(gone, time.Now().Add(-2*time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	ask(time.Now(), others, true)
}

// Two workers hold the same old event: both search, both find nothing, both publish.
func TestTwoWorkers(t *testing.T) {
	js := startNode(t).connect()
	cfg := logConfig(2)
	p := newLog(t, js, cfg)
	e := freshEvent("1")
	e.Stored = time.Now().Add(-time.Hour)
	entries := entriesFor(t, e, 2, 3000)
	var wg sync.WaitGroup
	for range 4 {
		same := *e
		same.Redelivered = true
		wg.Go(func() {
			if err := p.Publish(context.Background(), entries, &same); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantOnce(t, js, 2, entries)
}

// The server goes away while events are published, and comes back with the same store.
func TestOutage(t *testing.T) {
	for name, window := range map[string]time.Duration{"shorter than the window": 2 * time.Minute, "longer than the window": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t)
			js := n.connect()
			cfg := logConfig(2)
			cfg.Duplicates = window
			p := newLog(t, js, cfg)
			const workers, each = 4, 60
			var lists [workers][][]Entry
			var wg sync.WaitGroup
			half := make(chan struct{}, workers*each)
			for w := range workers {
				wg.Go(func() {
					for i := range each {
						e := freshEvent("1")
						e.Key = fmt.Sprintf("%016d%016d", w, i)
						entries := entriesFor(t, e, 2, 20)
						lists[w] = append(lists[w], entries)
						if err := p.Publish(context.Background(), entries, e); err != nil {
							t.Errorf("event %s: %v", e.Key, err)
						}
						half <- struct{}{}
					}
				})
			}
			for range workers * each / 3 {
				<-half
			}
			n.stop()
			stopped := time.Now()
			eventually(t, "publishing is tried again", func() bool { return testutil.ToFloat64(p.metrics.retries) >= 8 })
			eventually(t, "the window has passed", func() bool { return time.Since(stopped) > window || window > time.Second })
			n.start()
			wg.Wait()
			var all [][]Entry
			for _, l := range lists {
				all = append(all, l...)
			}
			eventually(t, "connected", js.Conn().IsConnected)
			wantOnce(t, js, 2, all...)
		})
	}
}

// The Records are stored, but the acknowledgements are lost with the connection, and the next attempt succeeds only behind the
// window: it must look first.
func TestLostAcknowledgements(t *testing.T) {
	n := startNode(t)
	r := startRelay(t, n.opts.Port)
	direct, js := n.connect(), connect(t, "nats://"+r.addr())
	cfg := shortWindow(1)
	if err := EnsureLog(context.Background(), direct, cfg, false); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(js, cfg, quiet(), nil)
	e := freshEvent("1")
	entries := entriesFor(t, e, 1, 5000)
	r.muteServer(true)
	done := make(chan error, 1)
	go func() { done <- p.Publish(context.Background(), entries, e) }()
	eventually(t, "all Records are stored", func() bool { return streamInfo(t, direct, "LOG_0").State.Msgs == uint64(len(entries)) })
	r.cut()
	forgets(t, direct, cfg.Duplicates)
	r.muteServer(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantOnce(t, direct, 1, entries)
	if got := testutil.ToFloat64(p.metrics.lookups.WithLabelValues("found")); got != float64(len(entries)) {
		t.Errorf("got %v Records found in the log, want %d", got, len(entries))
	}
}

// An operator deletes the streams: they are made again, and nobody waits longer than a few attempts.
func TestDeletedStream(t *testing.T) {
	js := startNode(t).connect()
	cfg := logConfig(2)
	p := newLog(t, js, cfg)
	for s := range 2 {
		if err := js.DeleteStream(context.Background(), wire.Stream(s)); err != nil {
			t.Fatal(err)
		}
	}
	for _, redelivered := range []bool{false, true} {
		e := freshEvent("1")
		e.Redelivered = redelivered
		e.Stored = time.Now().Add(-time.Hour)
		if err := p.Publish(context.Background(), entriesFor(t, e, 2, 20), e); err != nil {
			t.Fatal(err)
		}
	}
	wantOnce(t, js, 2, entriesFor(t, freshEvent("1"), 2, 20))
}

func TestUnavailable(t *testing.T) {
	n := startNode(t)
	js := n.connect()
	p := newLog(t, js, logConfig(1))
	p.patience = 200 * time.Millisecond
	n.stop()
	e := freshEvent("1")
	err := p.Publish(context.Background(), entriesFor(t, e, 1, 1), e)
	if !errors.Is(err, ingest.ErrUnavailable) || errors.Is(err, ingest.ErrPermanent) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if !e.Redelivered {
		t.Error("the event may be stored in part, but does not say so")
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.patience = time.Hour
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Publish(ctx, entriesFor(t, e, 1, 1), e); !errors.Is(err, ingest.ErrUnavailable) {
			t.Errorf("cancelled: got %v, want ErrUnavailable", err)
		}
	})
	eventually(t, "publishing is tried again", func() bool { return testutil.ToFloat64(p.metrics.retries) > 2 })
	cancel()
	wg.Wait()
}

// A full disk passes: the event waits for it.
func TestFull(t *testing.T) {
	js := startNode(t, func(o *server.Options) { o.JetStreamMaxStore = 1 << 20 }).connect()
	p := newLog(t, js, logConfig(1))
	p.patience = 100 * time.Millisecond
	var err error
	for i := 0; i < 40 && err == nil; i++ {
		e := freshEvent("1")
		e.Key = fmt.Sprintf("%032d", i)
		err = p.Publish(context.Background(), entriesFor(t, e, 1, 20_000), e)
	}
	if !errors.Is(err, ingest.ErrUnavailable) || errors.Is(err, ingest.ErrPermanent) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	t.Log(err)
}

// A Record that the stream will never take is no matter of time.
func TestRefused(t *testing.T) {
	js := startNode(t).connect()
	p := newLog(t, js, logConfig(1))
	c := streamInfo(t, js, "LOG_0").Config
	c.MaxMsgSize = 1000
	if _, err := js.UpdateStream(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	e := freshEvent("1")
	err := p.Publish(context.Background(), entriesFor(t, e, 1, 1000), e)
	if !errors.Is(err, ingest.ErrPermanent) || errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("got %v, want a permanent error", err)
	}
}

// Many great events at once, more bytes than may be in flight: none waits for ever for another.
func TestMoreThanMayBeInFlight(t *testing.T) {
	js := startNode(t).connect()
	p := newLog(t, js, logConfig(1))
	const room = 3 << 20
	p.flying = semaphore.NewWeighted(room)
	data := []byte(`"` + strings.Repeat("x", 900_000) + `"`)
	users := nameList(strings.Repeat("u", 100), 8000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all [][]Entry
	for i := range 6 {
		wg.Go(func() {
			e := freshEvent("")
			e.Key = fmt.Sprintf("%032d", i)
			entries, err := records(e, &Notification{Rule: "r", Kind: "k", Data: data, Audience: Audience{Users: users}}, 1, maxPayload)
			if err == nil {
				err = p.Publish(context.Background(), entries, e)
			}
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, entries)
		})
	}
	wg.Wait()
	wantOnce(t, js, 1, all...)
	if !p.flying.TryAcquire(room) {
		t.Error("room in flight was not given back")
	}
}
