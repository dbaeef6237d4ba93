package ingest

import (
	"context"
	"log/slog"
	"strings"

	attr "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Trace makes a span of every event that is handled, in the trace of its publisher. It may be called before Run; nil is off, and costs
// nothing.
func (s *Source) Trace(p trace.TracerProvider) {
	if p != nil {
		s.tracer = p.Tracer("tidings/ingest")
	}
}

// begin starts the span of e, from its decoding to its end, through all attempts. What is done for e in the returned context is a child
// of it.
func (s *Source) begin(e *Event, w *work) context.Context {
	if s.tracer == nil {
		return s.work
	}
	ctx := s.work
	if e.TraceParent != "" { // the baggage stays behind: it is for services, and we hand on to browsers
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.TraceParent, "tracestate": e.TraceState})
	}
	place := template(e.NATSSubject)
	ctx, sp := s.tracer.Start(ctx, "process "+place, trace.WithSpanKind(trace.SpanKindConsumer))
	if sp.IsRecording() {
		sp.SetAttributes(
			attr.String("messaging.system", "nats"),
			attr.String("messaging.operation.name", "process"),
			attr.String("messaging.operation.type", "process"),
			attr.String("messaging.destination.name", e.NATSSubject),
			attr.String("messaging.destination.template", place),
			attr.String("messaging.message.id", e.ID),
			attr.Int("messaging.message.body.size", len(w.msg.Data)),
			attr.Int64("tidings.event.seq", int64(e.Sequence)),
			attr.String("tidings.event.type", e.Type),
			attr.Bool("tidings.event.redelivered", w.again),
		)
	}
	return ctx
}

// template is a subject with a star for the aggregate's own name, so that spans of one kind have one name.
func template(subject string) string {
	t := strings.Split(subject, ".")
	if len(t) < 4 {
		return subject
	}
	t[2] = "*"
	return strings.Join(t, ".")
}

// failed notes an attempt after which there is another.
func failed(ctx context.Context, err error) {
	if sp := trace.SpanFromContext(ctx); sp.IsRecording() {
		sp.AddEvent("attempt failed", trace.WithAttributes(attr.String("exception.message", err.Error())))
	}
}

// dead notes that the event goes to the DLQ, and why.
func dead(ctx context.Context, why deadLetter) {
	if sp := trace.SpanFromContext(ctx); sp.IsRecording() {
		sp.SetStatus(codes.Error, why.err.Error())
		sp.SetAttributes(attr.String("error.type", why.reason), attr.Int("tidings.event.attempts", why.attempts))
	}
}

// end is the end of the event here: it is done, or the work was ended before and it will be handled again.
func (s *Source) end(ctx context.Context, done bool) {
	if s.tracer == nil {
		return
	}
	sp := trace.SpanFromContext(ctx)
	if !done {
		sp.SetStatus(codes.Error, "the process ended before the event was handled")
	}
	sp.End()
}

// Logger is log with what tells this event from all others, and its trace: that of ctx, else its publisher's.
func (e *Event) Logger(ctx context.Context, log *slog.Logger) *slog.Logger {
	log = log.With("subject", e.NATSSubject, "seq", e.Sequence, "event_id", e.ID)
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		return log.With("trace_id", c.TraceID().String())
	}
	if e.TraceParent != "" {
		return log.With("trace_id", e.TraceParent[3:35])
	}
	return log
}
