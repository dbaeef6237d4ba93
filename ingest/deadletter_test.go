package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ruleError is what fanout returns when an expression fails.
type ruleError struct{}

func (ruleError) Error() string        { return "rule order-shipped:\n no such key: customerId" }
func (ruleError) Is(target error) bool { return target == ErrPermanent }
func (ruleError) DeadLetterHeaders() map[string]string {
	return map[string]string{"Tidings-Rule": "order-shipped", "Tidings-Expression": "[event.data.customerId]\n + []"}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	var attempts atomic.Int32
	s := b.run(b.nc, func(_ context.Context, e *Event) error {
		switch e.NATSSubject {
		case "events.orders.1.rule":
			return fmt.Errorf("resolve audience: %w", ruleError{})
		case "events.orders.2.broken":
			attempts.Add(1)
			return errors.New("broken")
		case "events.orders.3.panic":
			panic("no customer")
		}
		j.add(e)
		return nil
	})
	start := time.Now()
	rule := b.publish("events.orders.1.rule", `{"a":1}`, "Nats-Msg-Id", "m-1", "X-Mine", "kept", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "s", "ce-type", "t")
	b.publish("events.orders.2.broken", "1")
	b.publish("events.orders.3.panic", "1")
	b.publish("events.orders.4.batch", "[]", "Content-Type", "application/cloudevents-batch+json")
	b.publish("events.orders.1.next", "1") // behind the first in its lane
	for i := range 20 {
		b.publish(fmt.Sprintf("events.orders.%d.good", 10+i), strconv.Itoa(i))
	}
	waitFor(t, "the good ones", func() bool { return j.len() == 21 })
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("the good ones took %v: the others stopped them", d)
	}
	b.settled()
	if got := attempts.Load(); got != maxAttempts {
		t.Errorf("attempts of the broken one: got %d, want %d", got, maxAttempts)
	}
	bySubject := make(map[string]nats.Header)
	for _, m := range b.dead() {
		bySubject[m.Subject] = m.Header
		if m.Subject == "dlq.events.orders.1.rule" && string(m.Data) != `{"a":1}` {
			t.Errorf("body: got %s", m.Data)
		}
	}
	for _, c := range []struct{ subject, header, want string }{
		{"1.rule", "Tidings-Reason", "resolve audience: rule order-shipped: no such key: customerId"},
		{"1.rule", "Tidings-Rule", "order-shipped"},
		{"1.rule", "Tidings-Expression", "[event.data.customerId] + []"},
		{"1.rule", "Tidings-Subject", "events.orders.1.rule"},
		{"1.rule", "Tidings-Sequence", strconv.FormatUint(rule, 10)},
		{"1.rule", "Tidings-Attempts", "1"},
		{"1.rule", "Tidings-Original-Nats-Msg-Id", "m-1"},
		{"1.rule", "X-Mine", "kept"},
		{"1.rule", "ce-id", "1"},
		{"1.rule", "Nats-Pin-Id", ""},
		{"2.broken", "Tidings-Reason", "broken"},
		{"2.broken", "Tidings-Attempts", "6"},
		{"3.panic", "Tidings-Reason", "panic: no customer"},
		{"4.batch", "Tidings-Reason", "CloudEvent: a batch; publish each event as one message"},
	} {
		if got := bySubject["dlq.events.orders."+c.subject].Get(c.header); got != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.subject, c.header, got, c.want)
		}
	}
	if at, err := time.Parse(time.RFC3339, bySubject["dlq.events.orders.1.rule"].Get("Tidings-Time")); err != nil || at.Before(start.Add(-time.Second)) || at.After(time.Now()) {
		t.Errorf("Tidings-Time: got %v, %v", at, err)
	}
	if len(bySubject) != 4 {
		t.Errorf("got %d dead letters, want 4", len(bySubject))
	}
	for reason, want := range map[string]float64{reasonDecode: 1, reasonPermanent: 1, reasonAttempts: 2, reasonDeliveries: 0} {
		if got := testutil.ToFloat64(s.metrics.dead.WithLabelValues(reason)); got != want {
			t.Errorf("metric of reason %s: got %v, want %v", reason, got, want)
		}
	}
	s.stop()
}

// The DLQ is gone, or full: nothing is lost, and nothing else waits.
func TestDeadLetterWaitsForTheDLQ(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	s := b.run(b.nc, func(_ context.Context, e *Event) error {
		if strings.HasSuffix(e.NATSSubject, ".bad") {
			return Permanent(errors.New("bad"))
		}
		j.add(e)
		return nil
	})
	c := b.streamConfig(StreamDLQ)
	c.MaxMsgSize = 10 // nothing fits
	if _, err := b.js.UpdateStream(b.ctx(), c); err != nil {
		t.Fatal(err)
	}
	b.publish("events.orders.1.bad", "0")
	b.publish("events.orders.2.good", "0")
	waitFor(t, "the good one", func() bool { return j.len() == 1 })
	if got := testutil.ToFloat64(s.metrics.inHand); got != 1 {
		t.Errorf("in hand: got %v, want 1", got)
	}
	if err := b.js.DeleteStream(b.ctx(), StreamDLQ); err != nil { // it is made anew, and takes everything
		t.Fatal(err)
	}
	b.settled()
	if got := b.dead(); len(got) != 1 {
		t.Errorf("got %d dead letters, want 1", len(got))
	}
	s.stop()
}

func TestDeadLetterTooLarge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.run(b.nc, func(context.Context, *Event) error { return Permanent(errors.New("bad")) })
	seq := b.publish("events.orders.1.big", strings.Repeat("x", 1<<20-60))
	b.settled()
	dead := b.dead()
	if len(dead) != 1 {
		t.Fatalf("got %d dead letters, want 1", len(dead))
	}
	if got := dead[0].Header.Get(HeaderBody); !strings.Contains(got, fmt.Sprintf("message %d of EVENTS", seq)) || len(dead[0].Data) != 0 {
		t.Errorf("got %q and a body of %d bytes", got, len(dead[0].Data))
	}
	s.stop()
}

// Processes die of it again and again.
func TestDeliveredTooOften(t *testing.T) {
	b := newBench(t)
	s, err := NewSource(b.nc, testConfig(), testLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.watch.prepare(b.ctx()); err != nil {
		t.Fatal(err)
	}
	s.work = t.Context()
	s.handle = func(context.Context, *Event) error { t.Error("it was handled again"); return nil }
	m := message("\n\n1")
	w := &work{delivery: &delivery{msg: m, times: maxDeliveries + 1}}
	for range 2 { // the process died between the DLQ and the acknowledgement: stored once all the same
		if !s.handleWork(s.readers[0].lanes, w) {
			t.Fatal("got not done, want done")
		}
	}
	dead := b.dead()
	if len(dead) != 1 || !strings.Contains(dead[0].Header.Get(HeaderReason), "delivered 21 times") {
		t.Errorf("got %d dead letters: %v", len(dead), dead)
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		" a\r\n\tb ": "a b", "": "", "a\x00b\xffc": "a b\uFFFDc", strings.Repeat("é", 600): strings.Repeat("é", 512) + " …",
		"x" + strings.Repeat("é", 600): "x" + strings.Repeat("é", 511) + " …",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestOriginalName(t *testing.T) {
	for in, want := range map[string]string{
		"Nats-Msg-Id": "Tidings-Original-Nats-Msg-Id", "nats-TTL": "Tidings-Original-nats-TTL", "Tidings-Reason": "Tidings-Original-Tidings-Reason",
		"Tidings-Original-Nats-Msg-Id": "Tidings-Original-Nats-Msg-Id", "X": "X",
	} {
		if got := originalName(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
