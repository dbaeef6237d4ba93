//go:build !race

package ingest

import "testing"

// Without a tracer nothing is made. The race detector allocates too.
func TestNoTraceCostsNothing(t *testing.T) {
	s := &Source{work: t.Context()}
	s.Trace(nil)
	e, w := &Event{TraceParent: tracedBy + "01", NATSSubject: "events.orders.1042.shipped"}, &work{}
	if got := testing.AllocsPerRun(100, func() { s.end(s.begin(e, w), true) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
