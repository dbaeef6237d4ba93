package fanout

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tidings/fanout/wire"
)

type fanMetrics struct {
	events   *prometheus.CounterVec
	audience prometheus.Histogram
}

func newFanMetrics(reg prometheus.Registerer) *fanMetrics {
	f := promauto.With(registerer(reg))
	return &fanMetrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_events_fanned_total",
			Help: "Events handled: delivered to the log, unmatched by any rule, reaching nobody, or failed (error).",
		}, []string{"result"}),
		audience: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidings_audience_users",
			Help:    "Listed users of a notification; groups and all are not counted in users.",
			Buckets: []float64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000},
		}),
	}
}

type publisherMetrics struct {
	records *prometheus.CounterVec
	retries prometheus.Counter
	lookups *prometheus.CounterVec
	indexed prometheus.Counter
	latency prometheus.Histogram

	acknowledged [wire.All + 1]prometheus.Counter // records by kind
}

func newPublisherMetrics(reg prometheus.Registerer) *publisherMetrics {
	f := promauto.With(registerer(reg))
	m := &publisherMetrics{
		records: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_records_total",
			Help: "Records acknowledged by the log, by kind of audience; one that was there already is counted again.",
		}, []string{"kind"}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "tidings_publish_retries_total",
			Help: "Times that the records of an event had to be published again, some or all of them.",
		}),
		lookups: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_log_lookups_total",
			Help: "Records looked for in the log because the duplicate window had passed, by result: found, missing.",
		}, []string{"result"}),
		indexed: f.NewCounter(prometheus.CounterOpts{
			Name: "tidings_log_lookup_reads_total",
			Help: "Records read from the log to look for others; each is read once for all who look at the time.",
		}),
		latency: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidings_publish_seconds",
			Help:    "From the first publish of an event's records to the last acknowledgement.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	for kind := wire.Users; kind <= wire.All; kind++ {
		m.acknowledged[kind] = m.records.WithLabelValues(kind.String())
	}
	return m
}

func registerer(reg prometheus.Registerer) prometheus.Registerer {
	if reg == nil {
		return prometheus.NewRegistry()
	}
	return reg
}
