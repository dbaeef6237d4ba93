package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// most spans wait for the collector, some 2 MB. It is the standard size; OTEL_BSP_MAX_QUEUE_SIZE is not looked at, because the SDK's own
// queue, which counts what it drops for itself only, must never be the smaller one.
const most = sdktrace.DefaultMaxQueueSize

// queue lets at most so many spans wait for the exporter, and counts the rest. The SDK's batches do the work behind it.
type queue struct {
	sdktrace.SpanProcessor
	*exporter
}

// exporter counts what becomes of the spans, and says once that the collector does not take them.
type exporter struct {
	sdktrace.SpanExporter
	metrics *metrics
	log     *slog.Logger
	waiting atomic.Int64
	failing atomic.Bool
}

func newQueue(to sdktrace.SpanExporter, m *metrics, log *slog.Logger) *queue {
	e := &exporter{SpanExporter: to, metrics: m, log: log}
	return &queue{sdktrace.NewBatchSpanProcessor(e, sdktrace.WithMaxQueueSize(most)), e}
}

// OnEnd never waits.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if q.waiting.Add(1) > most {
		q.waiting.Add(-1)
		q.metrics.full.Inc()
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// Shutdown is the processor's, which ends the exporter too.
func (q *queue) Shutdown(ctx context.Context) error { return q.SpanProcessor.Shutdown(ctx) }

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	n := float64(len(spans))
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.waiting.Add(-int64(len(spans)))
	if err != nil {
		e.metrics.refused.Add(n)
		if !e.failing.Swap(true) {
			e.log.Warn("the collector does not take traces; spans are dropped and counted", "error", err)
		}
		return nil // said, and the SDK would say it for every batch
	}
	e.metrics.exported.Add(n)
	if e.failing.Swap(false) {
		e.log.Info("the collector takes traces again")
	}
	return nil
}

type metrics struct{ exported, full, refused prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	dropped := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tidings_spans_dropped_total",
		Help: "Spans that are lost, by cause: the queue was full, or the collector did not take them (export).",
	}, []string{"cause"})
	return &metrics{
		exported: f.NewCounter(prometheus.CounterOpts{Name: "tidings_spans_exported_total", Help: "Spans that the collector has taken."}),
		full:     dropped.WithLabelValues("queue"),
		refused:  dropped.WithLabelValues("export"),
	}
}
