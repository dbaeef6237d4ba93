package fanout

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// An event that nobody traces makes no span and no allocation here.
func TestNoTraceCostsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if got := testing.AllocsPerRun(100, func() {
		if c, sp := begin(ctx, "x", trace.SpanKindInternal); sp != nil || c != ctx {
			t.Error("a span began")
		}
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
