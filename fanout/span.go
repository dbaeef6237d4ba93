package fanout

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"tidings/ingest"
)

// A traced event comes in a context with the span of its handling. What is done for it here are two spans below that one: its rules,
// and storing its Records, which take the second one with them to the gateways.

// begin starts a span below that of ctx. It is nil where nobody traces the event, and then nothing is made.
func begin(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nil
	}
	return parent.TracerProvider().Tracer("tidings/fanout").Start(ctx, name, trace.WithSpanKind(kind))
}

func end(sp trace.Span, err error) {
	if err != nil {
		sp.SetStatus(codes.Error, err.Error())
	}
	sp.End()
}

// evaluate is Rules.Evaluate in a span.
func (f *Fan) evaluate(ctx context.Context, e *ingest.Event) ([]Notification, error) {
	_, sp := begin(ctx, "evaluate rules", trace.SpanKindInternal)
	notifications, err := f.rules.Evaluate(e)
	if sp != nil {
		matched := make([]string, len(notifications))
		kinds := make([]string, len(notifications))
		for i, n := range notifications {
			matched[i], kinds[i] = n.Rule, n.Kind
		}
		sp.SetAttributes(
			attribute.Int("tidings.rules", f.rules.Len()),
			attribute.StringSlice("tidings.rules.matched", matched),
			attribute.StringSlice("tidings.kinds", kinds),
		)
		end(sp, err)
	}
	return notifications, err
}

// store is Publisher.Publish in a span, which the entries name as where they come from.
func (f *Fan) store(ctx context.Context, entries []Entry, e *ingest.Event) error {
	ctx, sp := begin(ctx, "send log", trace.SpanKindProducer)
	if sp != nil {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		for i := range entries {
			entries[i].TraceParent = carrier["traceparent"]
		}
		sp.SetAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.name", "send"),
			attribute.String("messaging.operation.type", "send"),
			attribute.String("messaging.destination.name", entries[0].Subject), // of the first, where they are several
			attribute.String("messaging.destination.template", "log"),
			attribute.Int("messaging.batch.message_count", len(entries)),
			attribute.String("messaging.message.id", entries[0].MsgID),
		)
	}
	err := f.pub.Publish(ctx, entries, e)
	if sp != nil {
		end(sp, err)
	}
	return err
}
