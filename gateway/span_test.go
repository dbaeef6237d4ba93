package gateway

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	attr "go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"tidings/fanout/wire"
)

const testTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func collect(t *testing.T, m prometheus.Metric) *dto.Metric {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// tracedBench is a bench with a place where spans arrive.
func tracedBench(t *testing.T, settings func(*Config)) (*bench, *tracetest.SpanRecorder) {
	seen := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen))
	b := newBench(t, settings)
	b.gate.spans = newSpans(provider)
	b.shard.spans = b.gate.spans
	return b, seen
}

// trace is tell, for a Record with a traceparent.
func (b *bench) trace(parent string, r wire.Record) {
	b.t.Helper()
	b.seq++
	in := b.incoming(b.seq, r)
	in.traced = b.gate.spans.traced(&nats.Msg{Subject: "log.0.m", Header: nats.Header{wire.HeaderTrace: {parent}}}, &in.view)
	b.shard.append([]incoming{in})
	b.drain()
}

func attributes(s sdktrace.ReadOnlySpan) map[attr.Key]string {
	m := map[attr.Key]string{}
	for _, kv := range s.Attributes() {
		m[kv.Key] = kv.Value.String()
	}
	return m
}

// One span per Record, whatever its audience is and however its frames go out; none where nobody is.
func TestSpanOfRecord(t *testing.T) {
	users := []string{}
	for i := range 400 {
		users = append(users, fmt.Sprint("user", i))
	}
	for _, uring := range []bool{false, true} {
		t.Run(fmt.Sprint("io_uring ", uring), func(t *testing.T) {
			b, seen := tracedBench(t, func(c *Config) { c.IOURing = uring })
			full := slices.Clone(users[:3])
			for _, u := range users {
				s, browser := b.session(u, "staff")
				if slices.Contains(full, u) {
					fill(s)
				} else {
					read(browser)
				}
			}
			n := note(1)
			for i, tt := range []struct {
				record   wire.Record
				sessions int
			}{
				{wire.Record{Kind: wire.Users, Users: users, Notification: n}, 400},
				{wire.Record{Kind: wire.Users, Users: []string{"user5"}, Notification: n}, 1},
				{wire.Record{Kind: wire.Group, Group: "staff", Notification: n}, 400},
				{wire.Record{Kind: wire.All, ExceptUsers: []string{"user5"}, Notification: n}, 399},
				{wire.Record{Kind: wire.Users, Users: []string{"nobody"}, Notification: n}, 0},
				{wire.Record{Kind: wire.Group, Group: "nobody", Notification: n}, 0},
			} {
				before := len(seen.Ended())
				b.trace(testTrace, tt.record)
				got := seen.Ended()[before:]
				if tt.sessions == 0 {
					if len(got) != 0 {
						t.Errorf("%d: got %d spans, want none", i, len(got))
					}
					continue
				}
				if len(got) != 1 {
					t.Fatalf("%d: got %d spans, want 1", i, len(got))
				}
				queued := min(3, tt.sessions/100)
				a := attributes(got[0])
				if a["tidings.sessions"] != fmt.Sprint(tt.sessions) || a["tidings.sessions.queued"] != fmt.Sprint(queued) || a["tidings.sessions.written"] != fmt.Sprint(tt.sessions-queued) {
					t.Errorf("%d: got %v, want %d sessions, %d of them queued", i, a, tt.sessions, queued)
				}
				if p := got[0].Parent(); p.TraceID().String() != testTrace[3:35] || p.SpanID().String() != testTrace[36:52] || !p.IsRemote() {
					t.Errorf("%d: got the parent %v", i, p)
				}
			}
			if len(b.gate.spans.open) != 0 || b.loop.sighting != (sighting{}) {
				t.Errorf("something is left: %v, %v", b.gate.spans.open, b.loop.sighting)
			}
		})
	}
}

// What is not traced makes no span: no header, not sampled, no traceparent at all, or traces are off.
func TestNoSpan(t *testing.T) {
	b, seen := tracedBench(t, nil)
	b.session("alice")
	r := wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: note(1)}
	for _, parent := range []string{"", testTrace[:53] + "00", testTrace[:54], "ff" + testTrace[2:], "\x00", testTrace + testTrace} {
		b.trace(parent, r)
	}
	b.tell(r)
	b.gate.spans = nil
	b.trace(testTrace, r)
	if got := seen.Ended(); len(got) != 0 {
		t.Errorf("got %d spans, want none", len(got))
	}
}

// Several loops make one span together.
func TestSpanOverLoops(t *testing.T) {
	b, seen := tracedBench(t, nil)
	second, err := newLoop(1, b.gate, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.closeAll(); second.poller.Close() })
	b.gate.loops = append(b.gate.loops, second)
	b.shard.loops, b.shard.out = b.gate.loops, make([][]delivery, 2)
	b.session("alice")
	first := b.loop
	b.loop = second
	b.session("bob")
	b.loop = first
	for i, r := range []wire.Record{
		{Kind: wire.Users, Users: []string{"alice", "bob"}, Notification: note(1)},
		{Kind: wire.All, Notification: note(1)},
	} {
		b.trace(testTrace, r)
		if got := len(seen.Ended()); got != i {
			t.Errorf("got %d spans before the second loop had its turn, want %d", got, i)
		}
		for !second.drain(1 << 20) {
		}
		if got := seen.Ended(); len(got) != i+1 || attributes(got[i])["tidings.sessions"] != "2" {
			t.Fatalf("got %d spans, want %d, the last of 2 sessions", len(got), i+1)
		}
	}
	l := &b.gate.metrics.latency
	exemplars := 0
	for _, bucket := range collect(t, l.of[0].(prometheus.Metric)).GetHistogram().GetBucket() {
		if e := bucket.GetExemplar(); e != nil && e.GetLabel()[0].GetValue() == testTrace[3:35] {
			exemplars++
		}
	}
	if exemplars == 0 {
		t.Error("there is no exemplar of the trace")
	}
}

// With traces on, what is not traced allocates nothing more either.
func TestTracingAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	b, _ := tracedBench(t, nil)
	s, browser := b.session("alice")
	buf := make([]byte, 64<<10)
	b.seq++
	in := b.incoming(b.seq, wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: note(1)})
	e := newEntry(wire.Cursor{Epoch: 1, Seq: in.seq}, s.life, in.part, &in.view)
	m := &nats.Msg{Header: nats.Header{"Nats-Msg-Id": {"x"}}}
	for name, spans := range map[string]*spans{"on": b.gate.spans, "off": nil} {
		if got := testing.AllocsPerRun(200, func() {
			if spans.traced(m, &in.view) != nil {
				t.Error("it is traced")
			}
			e.seq++
			s.deliver(e)
			gulp(browser, buf)
		}); got != 0 {
			t.Errorf("%s: a delivery takes %v allocations, want 0", name, got)
		}
	}
}
