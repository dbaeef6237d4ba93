package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/integration/house"
)

// crashes is a fanout that is killed again and again in the middle of a burst of events.
type crashes struct {
	t      *testing.T
	js     jetstream.JetStream
	events [][]string // the users of each

	found, missing float64 // records that the fanouts looked for in the log
}

// TestCrashesOfFanout: kill -9 between the storing of an event's records and the acknowledgement of the event. The event comes once
// more, sometimes when the duplicate window has long passed: no record is stored twice, and none is missing.
func TestCrashesOfFanout(t *testing.T) {
	const (
		kills  = 15
		window = 10 * time.Second // the shortest that there is
		every  = 5                // so often it stays away for longer than that
	)
	node := programs.Servers(t, 1)[0]
	settings := house.Settings{"NATS_URL": node.URL, "ROLES": "fanout", "DUPLICATES": window.String()}
	start := func() *house.Tidings { return programs.Start(t, "fanout", settings).Ready() }
	c := &crashes{t: t, js: house.Connect(t, node.URL)}
	fanout := start()
	for i := range kills {
		before := c.stored()
		c.burst(80)
		until := before + 5 + rand.Uint64N(60)
		house.Eventually(t, house.Patience, "the burst is half way", func() error {
			if got := c.stored(); got < until {
				return fmt.Errorf("%d records, want %d", got, until)
			}
			return nil
		})
		c.count(fanout)
		fanout.Kill()
		if !fanout.WasKilled() {
			t.Fatal("the fanout ended by itself")
		}
		if i%every == every-1 {
			pauseFor(context.Background(), window+time.Second)
		}
		fanout = start()
	}
	handled(t, c.js)
	c.count(fanout)
	c.judge()
	if c.found == 0 {
		t.Error("no record was found in the log: no crash came between storing and acknowledging, or no redelivery after the window")
	}
}

// stored is the number of records in the log.
func (c *crashes) stored() uint64 {
	c.t.Helper()
	info, err := house.Info(c.js, wire.Stream(0))
	if err != nil {
		c.t.Fatal(err)
	}
	return info.State.LastSeq
}

// count adds up what a fanout looked for in the log.
func (c *crashes) count(d *house.Tidings) {
	c.found += d.Metric("tidings_log_lookups_total", "found")
	c.missing += d.Metric("tidings_log_lookups_total", "missing")
}

// burst publishes n events, of one to some thousand users and so of one or two records, of few aggregates.
func (c *crashes) burst(n int) {
	c.t.Helper()
	var acks []jetstream.PubAckFuture
	for range n {
		i := len(c.events)
		var users []string
		for u := range []int{1, 1, 10, 1, 2, 1, 1, 3000}[i%8] {
			users = append(users, fmt.Sprintf("u%d", u))
		}
		c.events = append(c.events, users)
		m := nats.NewMsg(fmt.Sprintf("events.crowd.%d.grew", i%30))
		m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("e-%d", i))
		m.Data, _ = json.Marshal(map[string]any{"userIds": users}) // strings
		ack, err := c.js.PublishMsgAsync(m)
		if err != nil {
			c.t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			c.t.Fatal(err)
		case <-time.After(house.Patience):
			c.t.Fatal("an event was not acknowledged")
		}
	}
}

// handled waits until every event in EVENTS is acknowledged.
func handled(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	house.Eventually(t, house.Patience, "every event is handled", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, "EVENTS")
		if err != nil {
			return err
		}
		consumers := stream.ListConsumers(ctx)
		for c := range consumers.Info() { // to the end, or its goroutine stays
			if c.NumPending > 0 || c.NumAckPending > 0 {
				err = fmt.Errorf("%s has %d waiting and %d unacknowledged", c.Name, c.NumPending, c.NumAckPending)
			}
		}
		if err == nil {
			err = consumers.Err()
		}
		return err
	})
}

// judge compares the log with what was published.
func (c *crashes) judge() {
	stored := map[string]map[string]int{} // event → user → records
	ids := map[string]uint64{}
	for _, m := range house.ReadStream(c.t, c.js, wire.Stream(0)) {
		id := m.Header.Get(nats.MsgIdHdr)
		if at, had := ids[id]; had {
			c.t.Errorf("record %q is stored at %d and at %d", id, at, m.Sequence)
		}
		ids[id] = m.Sequence
		v, err := wire.Parse(m.Data)
		if err != nil {
			c.t.Fatal(err)
		}
		users := stored[string(v.EventID)]
		if users == nil {
			users = map[string]int{}
			stored[string(v.EventID)] = users
		}
		for _, u := range v.Users.Strings() {
			users[u]++
		}
	}
	for i, users := range c.events {
		got, wrong := stored[fmt.Sprintf("e-%d", i)], 0
		for _, u := range users {
			if got[u] != 1 {
				wrong++
			}
		}
		if wrong > 0 || len(got) != len(users) {
			c.t.Errorf("e-%d has records for %d users, want %d; for %d of them none or several", i, len(got), len(users), wrong)
		}
	}
	c.t.Logf("%d events, %d records; of those looked for in the log %.0f were there and %.0f were not", len(c.events), len(ids), c.found, c.missing)
}
