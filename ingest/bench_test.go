package ingest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkSource: one process with the server in it, a backlog of 20,000 small events of 1,000 aggregates, and a handler that
// does nothing.
func BenchmarkSource(b *testing.B) {
	const n = 20_000
	var took time.Duration
	runs := 0
	for b.Loop() {
		b.StopTimer()
		bench := newBench(b)
		if _, _, err := (streams{bench.js, bench.nc, testConfig()}).ensure(bench.ctx()); err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if _, err := bench.js.PublishAsync(fmt.Sprintf("events.orders.%d.shipped", i%1000), []byte(`{"orderId":1042,"customerId":"alice","total":12.5}`)); err != nil {
				b.Fatal(err)
			}
		}
		<-bench.js.PublishAsyncComplete()
		s, err := NewSource(bench.nc, testConfig(), testLog(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.watch.prepare(bench.ctx()); err != nil { // the consumers are there, as after the first start
			b.Fatal(err)
		}
		var handled atomic.Int64
		ctx, cancel := context.WithCancel(b.Context())
		b.StartTimer()
		start := time.Now()
		if err := s.Run(ctx, func(context.Context, *Event) error {
			if handled.Add(1) == n {
				took += time.Since(start)
				cancel()
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		bench.srv.Shutdown()
		runs++
		b.StartTimer()
	}
	b.ReportMetric(n*float64(runs)/took.Seconds(), "events/s")
}
