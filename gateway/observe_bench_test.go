package gateway

import (
	"testing"

	"tidings/fanout/wire"
)

// BenchmarkObserve is the part of a delivery that measures it.
func BenchmarkObserve(b *testing.B) {
	w := newBench(b, nil)
	s, _ := w.session("alice")
	in := w.incoming(1, wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: note(1)})
	e := newEntry(wire.Cursor{Epoch: 1, Seq: in.seq}, s.life, in.part, &in.view)
	b.ReportAllocs()
	for b.Loop() {
		e.stored = s.loop.clock.now - 700_000 // 0.7 ms, whatever the machine does meanwhile
		s.observe(e)
	}
}
