package ingest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const tracedBy = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

// spanOf is the span of one event with these headers, whose handling ends as end says; nil if there is none.
func spanOf(t *testing.T, header nats.Header, end func(*Source, context.Context)) sdktrace.ReadOnlySpan {
	t.Helper()
	seen := tracetest.NewSpanRecorder()
	s := &Source{work: t.Context()}
	s.Trace(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample()))))
	m := &jetstream.RawStreamMsg{Subject: "ev.3.orders.1042.shipped", Sequence: 7, Header: header, Data: []byte("{}"), Time: time.Now()}
	e, err := Decode(m)
	if err != nil {
		e = undecoded(m)
	}
	ctx := s.begin(e, &work{delivery: &delivery{msg: m}})
	end(s, ctx)
	if list := seen.Ended(); len(list) == 1 {
		return list[0]
	}
	return nil
}

func done(s *Source, ctx context.Context) { s.end(ctx, true) }

func TestSpanOfEvent(t *testing.T) {
	for _, tt := range []struct {
		name          string
		header        nats.Header
		trace, parent string // "": a new one
	}{
		{"header", nats.Header{"Traceparent": {tracedBy + "01"}}, tracedBy[3:35], tracedBy[36:52]},
		{"extension", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/"}, "ce-type": {"t"}, "ce-traceparent": {tracedBy + "01"}}, tracedBy[3:35], tracedBy[36:52]},
		{"no CloudEvent", nats.Header{"ce-specversion": {"9"}, "traceparent": {tracedBy + "01"}}, tracedBy[3:35], tracedBy[36:52]},
		{"another version", nats.Header{"traceparent": {"01" + tracedBy[2:] + "01-more"}}, tracedBy[3:35], tracedBy[36:52]},
		{"nothing", nil, "", ""},
		{"cut short", nats.Header{"traceparent": {tracedBy}}, "", ""},
		{"no hexadecimal digits", nats.Header{"traceparent": {"00-zaf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sp := spanOf(t, tt.header, done)
			if sp == nil || sp.Name() != "process events.orders.*.shipped" || sp.SpanKind() != trace.SpanKindConsumer || sp.Status().Code != codes.Unset {
				t.Fatalf("got %v", sp)
			}
			parent := ""
			if sp.Parent().IsValid() {
				parent = sp.Parent().SpanID().String()
			}
			if parent != tt.parent || tt.trace != "" && sp.SpanContext().TraceID().String() != tt.trace {
				t.Errorf("got trace %s and parent %q, want %q and %q", sp.SpanContext().TraceID(), parent, tt.trace, tt.parent)
			}
		})
	}
	if sp := spanOf(t, nats.Header{"traceparent": {tracedBy + "00"}}, done); sp != nil {
		t.Error("there is a span of what its publisher does not sample")
	}
}

// An event that ends in the DLQ, or does not end, is an error of its span; an attempt that failed is an event in it.
func TestSpanOfFailure(t *testing.T) {
	why := deadLetter{reason: reasonAttempts, err: errGone, attempts: 6}
	buried := spanOf(t, nil, func(s *Source, ctx context.Context) { failed(ctx, errGone); dead(ctx, why); s.end(ctx, true) })
	if buried.Status().Code != codes.Error || buried.Status().Description != errGone.Error() || len(buried.Events()) != 1 {
		t.Errorf("got %v with %d events", buried.Status(), len(buried.Events()))
	}
	if left := spanOf(t, nil, func(s *Source, ctx context.Context) { s.end(ctx, false) }); left.Status().Code != codes.Error {
		t.Errorf("got %v for what was not ended", left.Status())
	}
}
