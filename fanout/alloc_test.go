//go:build !race

package fanout

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// What one event to one user takes from its data to its Record. The race detector allocates too.
func TestAllocations(t *testing.T) {
	oneUser := parse(t, oneRule)
	tests := map[string]struct {
		rules *Rules
		most  float64
	}{
		"default": {nil, 19},
		"rule":    {oneUser, 20},
	}
	for name, tt := range tests {
		e := newEvent("events.load.1042.one", `{"userId":"user-1042","at":1764000000000000000,"text":"a text of some length"}`)
		got := testing.AllocsPerRun(100, func() { makeRecord(t, tt.rules, e) })
		if got > tt.most {
			t.Errorf("%s: got %v allocations, want at most %v", name, got, tt.most)
		}
	}
}

func makeRecord(t *testing.T, rules *Rules, e *ingest.Event) {
	ns, err := rules.Evaluate(e)
	if err != nil || len(ns) != 1 {
		t.Fatal(len(ns), err)
	}
	entries, err := records(e, &ns[0], 1, maxPayload)
	if err != nil || len(entries) != 1 || entries[0].Kind != wire.Users {
		t.Fatal(len(entries), err)
	}
}

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
