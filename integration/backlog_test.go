package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/integration/house"
)

// TestBacklogBehindACrash: the only fanout dies in the middle of many events, and comes back when the duplicate window has passed.
// Only what the dead one was given is looked for in the log, and the log is read once for all of that: a fanout that comes back to a
// backlog must be as fast as one that was never away.
func TestBacklogBehindACrash(t *testing.T) {
	const (
		events = 8000
		before = 4000 // in the log already
		window = 10 * time.Second
	)
	node := programs.Servers(t, 1)[0]
	settings := house.Settings{"NATS_URL": node.URL, "ROLES": "fanout", "DUPLICATES": window.String()}
	js := house.Connect(t, node.URL)
	first := programs.Start(t, "fanout", settings).Ready()
	publishNumbered(t, js, 0, before)
	handled(t, js)
	publishNumbered(t, js, before, before+events)
	house.Eventually(t, house.Patience, "the burst is on its way", func() error {
		if n := logged(t, js); n < before+events/8 {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	first.Kill()
	delivered, open := deliveries(t, js)
	if open == 0 {
		t.Fatal("the fanout had handled everything before it was killed: nothing to test")
	}
	pauseFor(context.Background(), window+time.Second)

	second := programs.Start(t, "fanout", settings).Ready()
	handled(t, js)
	lookups := second.Metric("tidings_log_lookups_total", "found") + second.Metric("tidings_log_lookups_total", "missing")
	reads := second.Metric("tidings_log_lookup_reads_total")
	t.Logf("%d events delivered before the crash, %d open; %.0f lookups read %.0f records", delivered, open, lookups, reads)
	if lookups < float64(open) || lookups > float64(delivered-before) {
		t.Errorf("got %.0f lookups, want from %d, the events in hand, to %d, all of the burst that the dead fanout was given", lookups, open, delivered-before)
	}
	if reads > before+events {
		t.Errorf("got %.0f records read for %.0f lookups, want each at most once: %d", reads, lookups, before+events)
	}
	checkNumbered(t, js, before+events)
}

// publishNumbered publishes events of 200 aggregates whose records can be told apart.
func publishNumbered(t *testing.T, js jetstream.JetStream, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := js.PublishAsync(fmt.Sprintf("events.numbers.%d.counted", i%200), fmt.Appendf(nil, `{"userId": "u%d", "n": %d}`, i%200, i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(house.Patience):
		t.Fatal("events were not acknowledged")
	}
}

func logged(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	info, err := house.Info(js, wire.Stream(0))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.LastSeq
}

// deliveries is how many events were given to a fanout, and how many of them are not acknowledged.
func deliveries(t *testing.T, js jetstream.JetStream) (delivered, open int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	consumers := stream.ListConsumers(ctx)
	for c := range consumers.Info() {
		delivered += int(c.Delivered.Consumer)
		open += c.NumAckPending
	}
	if err := consumers.Err(); err != nil {
		t.Fatal(err)
	}
	return delivered, open
}

// checkNumbered reads the log: one record for each event, and those of one aggregate in the order in which they were published.
func checkNumbered(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), house.Patience)
	defer cancel()
	c, err := js.OrderedConsumer(ctx, wire.Stream(0), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	it, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	if got := logged(t, js); got != uint64(n) {
		t.Errorf("got %d records, want %d", got, n)
	}
	last := map[int]int{} // by aggregate: the number that came last
	for range logged(t, js) {
		m, err := it.Next(jetstream.NextMaxWait(house.Patience))
		if err != nil {
			t.Fatal(err)
		}
		v, err := wire.Parse(m.Data())
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Data struct{ N int } }
		if err := json.Unmarshal(v.Record().Notification, &got); err != nil {
			t.Fatal(err)
		}
		i := got.Data.N
		if before, ok := last[i%200]; !ok && i != i%200 || ok && i != before+200 {
			t.Errorf("aggregate %d: event %d behind %d", i%200, i, before)
		}
		last[i%200] = i
	}
}
