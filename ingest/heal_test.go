package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func (b *bench) streamConfig(name string) jetstream.StreamConfig {
	b.t.Helper()
	s, err := b.js.Stream(b.ctx(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.CachedInfo().Config
}

// An operator deletes consumers under a running Source, and they come back where they were: nothing is lost, and what is
// handled again is marked.
func TestDeletedConsumers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	s := b.run(b.nc, j.handle)
	standby := b.run(b.connect(), j.handle)
	b.publishRounds(20, 0, 30)
	b.settled()
	before := j.calls
	for p := range Partitions + 1 {
		if err := b.js.DeleteConsumer(b.ctx(), StreamEvents, consumerName(p)); err != nil {
			t.Fatal(err)
		}
	}
	b.publishRounds(20, 30, 60)
	waitFor(t, "the rest", func() bool { return j.len() == 20*60 })
	waitFor(t, "the source to be well", func() bool { return s.Ready() == nil && standby.Ready() == nil })
	b.settled()
	j.checkOrder(t, 20, 60)
	if again := j.calls - before - 20*30; again > 20*30 {
		t.Errorf("%d events were handled again, want at most those of the last %v", again, watchEvery)
	}
	if n := testutil.ToFloat64(s.metrics.healed) + testutil.ToFloat64(standby.metrics.healed); n < Partitions+1 {
		t.Errorf("healed: got %v, want at least %d", n, Partitions+1)
	}
	s.stop()
	standby.stop()
}

// The consumers were deleted while no process ran: nobody knows where they were. All is handled again, marked as such.
func TestConsumersDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	b.run(b.nc, j.handle).stop()
	b.publish("events.orders.1.a", "0")
	if err := b.js.DeleteConsumer(b.ctx(), StreamEvents, consumerName(partitionOf(t, b, 1))); err != nil {
		t.Fatal(err)
	}
	s := b.run(b.nc, func(_ context.Context, e *Event) error {
		if e.Redelivered != (e.Sequence == 1) {
			t.Errorf("event %d: got redelivered %v", e.Sequence, e.Redelivered)
		}
		j.add(e)
		return nil
	})
	b.publish("events.orders.1.b", "1")
	waitFor(t, "both", func() bool { return j.len() == 2 })
	b.settled()
	s.stop()
}

// The stream is deleted and made anew: its sequences begin at 1 again, and none of the new events is taken for an old one.
func TestDeletedStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	s := b.run(b.nc, j.handle)
	b.publishRounds(20, 0, 10)
	b.settled()
	if err := b.js.DeleteStream(b.ctx(), StreamEvents); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the source to notice", func() bool {
		_, err := b.js.Stream(b.ctx(), StreamEvents)
		return err == nil && s.Ready() == nil
	})
	b.insistOnRounds(20, 10, 20)
	waitFor(t, "all events", func() bool { return j.len() == 20*20 })
	b.settled()
	j.checkOrder(t, 20, 20)
	s.stop()
}

func TestNotReadyWhileItCannotFollow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc, line := b.killable()
	s := b.run(nc, func(context.Context, *Event) error { return nil })
	line.kill()
	waitFor(t, "not ready", func() bool { return s.Ready() != nil })
	s.die()
}

func TestStalledConsumer(t *testing.T) {
	now := time.Now()
	var m movement
	info := func(delivered, floor, waiting uint64, paused bool) *jetstream.ConsumerInfo {
		return &jetstream.ConsumerInfo{
			Delivered: jetstream.SequenceInfo{Consumer: delivered}, AckFloor: jetstream.SequenceInfo{Stream: floor}, NumPending: waiting, Paused: paused,
		}
	}
	for i, c := range []struct {
		info  *jetstream.ConsumerInfo
		after time.Duration
		still time.Duration // without movement while events wait; 0: fine
	}{
		{info(1, 1, 0, false), time.Minute, 0},
		{info(1, 1, 5, false), time.Minute, time.Minute},
		{info(1, 1, 5, false), time.Minute, 2 * time.Minute},
		{info(2, 1, 5, false), time.Minute, 0},
		{info(2, 2, 5, false), time.Minute, 0},
		{info(2, 2, 5, true), time.Minute, 0},
		{info(2, 2, 5, false), time.Minute, time.Minute},
	} {
		now = now.Add(c.after)
		m.note(c.info, now)
		if got := now.Sub(m.at); got != c.still {
			t.Errorf("step %d: got still for %v, want %v", i, got, c.still)
		}
	}
	s := &watch{}
	s.moves[3] = movement{waiting: 5, at: time.Now().Add(-2 * stallAfter)}
	if err := s.ready(); err == nil || !strings.Contains(err.Error(), "fanout-3 has not moved") {
		t.Errorf("ready: got %v", err)
	}
}

// What an operator has set deliberately stays; what nothing works without is put right.
func TestExistingStreams(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.js.CreateStream(b.ctx(), jetstream.StreamConfig{
		Name: StreamEvents, Subjects: []string{"events.orders.>", "legacy"}, MaxAge: 7 * time.Hour, Duplicates: time.Minute, NoAck: true, Metadata: map[string]string{"team": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.js.CreateConsumer(b.ctx(), StreamEvents, jetstream.ConsumerConfig{
		Durable: consumerName(3), AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 5, AckWait: time.Minute, MaxAckPending: 100, InactiveThreshold: time.Hour, MaxRequestBatch: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := b.run(b.nc, func(context.Context, *Event) error { return nil })
	c := b.streamConfig(StreamEvents)
	if c.MaxAge != 7*time.Hour || c.Duplicates != time.Minute || c.Metadata["team"] != "x" {
		t.Errorf("the operator's settings: got %v, %v, %v", c.MaxAge, c.Duplicates, c.Metadata)
	}
	if fmt.Sprint(c.Subjects) != "[legacy events.>]" || c.SubjectTransform == nil || c.NoAck {
		t.Errorf("the contract: got subjects %v, transform %v, no ack %v", c.Subjects, c.SubjectTransform, c.NoAck)
	}
	consumer, err := b.js.Consumer(b.ctx(), StreamEvents, consumerName(3))
	if err != nil {
		t.Fatal(err)
	}
	if k := consumer.CachedInfo().Config; k.AckWait != time.Minute || k.MaxAckPending != 100 ||
		k.MaxDeliver != -1 || k.FilterSubject != "ev.3.>" || k.InactiveThreshold != 0 || k.MaxRequestBatch != 0 || k.PriorityPolicy != jetstream.PriorityPolicyPinned {
		t.Errorf("the consumer: got %+v", k)
	}
	s.stop()
}

// A changed setting reaches streams that we made, and no others; what an operator changed meanwhile stays without one.
func TestChangedSettings(t *testing.T) {
	b := newBench(t)
	ensure := func(cfg Config) {
		t.Helper()
		if _, _, err := (streams{b.js, b.nc, cfg}).ensure(b.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	cfg := testConfig()
	ensure(cfg)
	c := b.streamConfig(StreamEvents)
	if c.MaxAge != time.Hour || c.Replicas != 1 || c.MaxBytes != -1 || c.Storage != jetstream.FileStorage {
		t.Errorf("made: got %+v", c)
	}
	c.MaxAge = 5 * time.Hour
	if _, err := b.js.UpdateStream(b.ctx(), c); err != nil {
		t.Fatal(err)
	}
	ensure(cfg)
	if got := b.streamConfig(StreamEvents).MaxAge; got != 5*time.Hour {
		t.Errorf("changed by an operator: got %v, want 5h", got)
	}
	cfg.EventsMaxAge = 2 * time.Hour
	ensure(cfg)
	if got := b.streamConfig(StreamEvents).MaxAge; got != 2*time.Hour {
		t.Errorf("changed by a setting: got %v, want 2h", got)
	}
}

func TestRunSaysWhatCannotBeSetUp(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  func(*Config)
		make func(b *bench) error
		want string
	}{
		{"the subjects belong to another stream", func(*Config) {}, func(b *bench) error {
			_, err := b.js.CreateStream(b.ctx(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"events.>"}})
			return err
		}, "create stream EVENTS"},
		{"three copies on one server", func(c *Config) { c.Replicas = 3 }, func(*bench) error { return nil }, "replicas"},
		{"a consumer of another kind", func(*Config) {}, func(b *bench) error {
			if _, _, err := (streams{b.js, b.nc, testConfig()}).ensure(b.ctx()); err != nil {
				return err
			}
			_, err := b.js.CreateConsumer(b.ctx(), StreamEvents, jetstream.ConsumerConfig{Durable: consumerName(2), AckPolicy: jetstream.AckNonePolicy})
			return err
		}, "consumer fanout-2 of EVENTS is not a pull consumer with explicit acknowledgement"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if err := c.make(b); err != nil {
				t.Fatal(err)
			}
			cfg := testConfig()
			c.cfg(&cfg)
			s, err := NewSource(b.nc, cfg, testLog(), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Run(b.ctx(), func(context.Context, *Event) error { return nil })
			if !errors.Is(err, errSetup) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"good", func(*Config) {}, ""},
		{"replicas", func(c *Config) { c.Replicas = 6 }, "TIDINGS_REPLICAS"},
		{"age", func(c *Config) { c.EventsMaxAge = time.Minute }, "TIDINGS_EVENTS_MAX_AGE"},
		{"bytes", func(c *Config) { c.EventsMaxBytes = 5 }, "TIDINGS_EVENTS_MAX_BYTES"},
		{"duplicates", func(c *Config) { c.Duplicates = time.Second }, "TIDINGS_DUPLICATES"},
		{"dlq", func(c *Config) { c.DLQMaxAge = 0 }, "TIDINGS_DLQ_MAX_AGE"},
	} {
		cfg := testConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
