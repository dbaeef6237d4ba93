package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	attr "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"tidings/fanout/wire"
)

// spans makes one span of each traced Record that is delivered here: one, however many sessions there are. nil is off.
//
// A Record is traced when fanout says so in a header, and only if its trace is sampled. Each loop counts for itself what it does with the
// Record; the last one makes the span.
type spans struct {
	tracer trace.Tracer

	mu   sync.Mutex
	open map[*entry]*delivered
}

// delivered is a traced Record on its way to sessions.
type delivered struct {
	// Fixed at creation.
	from    trace.SpanContext
	arrived time.Time
	subject string
	event   string
	kind    string
	labels  prometheus.Labels // of exemplars

	// Guarded by spans.mu.
	loops int // that are not done
	sum   sighting
}

// sighting is what a loop has seen of the traced Record that it is delivering.
type sighting struct {
	*delivered
	sessions, queued int
	first, last      int64 // Unix nanoseconds
}

func newSpans(p trace.TracerProvider) *spans {
	if p == nil {
		return nil
	}
	return &spans{tracer: p.Tracer("tidings/gateway"), open: map[*entry]*delivered{}}
}

// traced is what is to be known of a Record that is traced; nil for others, and then it has cost nothing.
func (s *spans) traced(m *nats.Msg, v *wire.View) *delivered {
	if s == nil {
		return nil
	}
	parent := m.Header.Get(wire.HeaderTrace)
	if parent == "" {
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	from := trace.SpanContextFromContext(ctx)
	if !from.IsSampled() {
		return nil
	}
	return &delivered{
		from: from, arrived: time.Now(), subject: m.Subject, event: string(v.EventID), kind: string(kindOf(v.Notification)),
		labels: prometheus.Labels{"trace_id": from.TraceID().String()},
	}
}

// begin is told that an entry goes to so many loops, before it does.
func (s *spans) begin(e *entry, d *delivered, loops int) {
	e.traced, d.loops = true, loops
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[e] = d
}

func (s *spans) of(e *entry) *delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[e]
}

// saw counts a session that a traced entry was given to, and tells whether it is this loop's first.
func (l *loop) saw(e *entry, now int64) (first bool) {
	w := &l.sighting
	if first = w.sessions == 0; first {
		w.delivered, w.first = l.gate.spans.of(e), now
	}
	w.sessions++
	w.last = now
	return first && w.delivered != nil
}

// passed is the end of a traced entry in this loop.
func (l *loop) passed(e *entry) {
	l.batch.flush()
	l.gate.spans.passed(l.gate, e, l.sighting)
	l.sighting = sighting{}
}

func (s *spans) passed(g *Gateway, e *entry, w sighting) {
	s.mu.Lock()
	d := s.open[e]
	if d == nil {
		s.mu.Unlock()
		return
	}
	d.sum.add(w)
	d.loops--
	if d.loops > 0 {
		s.mu.Unlock()
		return
	}
	delete(s.open, e)
	s.mu.Unlock()
	if d.sum.sessions > 0 {
		s.make(g, e, d)
	}
}

func (w *sighting) add(o sighting) {
	if o.sessions == 0 {
		return
	}
	if w.sessions == 0 || o.first < w.first {
		w.first = o.first
	}
	w.last = max(w.last, o.last)
	w.sessions += o.sessions
	w.queued += o.queued
}

// make is the span, from the arrival of the Record to the last write.
func (s *spans) make(g *Gateway, e *entry, d *delivered) {
	w := d.sum
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), d.from)
	_, sp := s.tracer.Start(ctx, "deliver log", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(d.arrived), trace.WithAttributes(
		attr.String("messaging.system", "nats"),
		attr.String("messaging.operation.name", "deliver"),
		attr.String("messaging.operation.type", "process"),
		attr.String("messaging.destination.name", d.subject),
		attr.String("messaging.destination.template", "log"),
		attr.String("messaging.message.id", d.event),
		attr.Int64("tidings.log.seq", int64(e.seq)),
		attr.String("tidings.kind", d.kind),
		attr.Int("tidings.sessions", w.sessions),
		attr.Int("tidings.sessions.written", w.sessions-w.queued),
		attr.Int("tidings.sessions.queued", w.queued),
		attr.Float64("tidings.lag_ms.first", milliseconds(w.first-e.stored)),
		attr.Float64("tidings.lag_ms.last", milliseconds(w.last-e.stored)),
	))
	end := time.Unix(0, w.last)
	if end.Before(d.arrived) { // the loop's clock is read for several deliveries at once
		end = d.arrived
	}
	sp.End(trace.WithTimestamp(end))
	g.log.Debug("a traced record was delivered", "event_id", d.event, "trace_id", d.from.TraceID().String(), "subject", d.subject, "seq", e.seq,
		"sessions", w.sessions, "queued", w.queued)
}

func milliseconds(ns int64) float64 { return float64(max(ns, 0)) / 1e6 }
