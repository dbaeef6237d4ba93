package picture

import (
	"math"

	dto "github.com/prometheus/client_model/go"
)

// figure is one line of a plot: what is read of the metrics once a second.
type figure struct {
	name string
	from string // the metric; where a process does not have it, it does not have the figure
	read func(now, before reading) float64
}

// figures are what the page knows how to show (figures.js names them too).
var figures = []figure{
	rate("events", "tidings_events_total", "handled"),
	rate("dead", "tidings_events_total", "dead_letter"),
	rate("records", "tidings_records_total"),
	rate("deliveries", "tidings_notifications_sent_total"),
	level("sessions", "tidings_sessions"),
	quantile("p50", "tidings_delivery_seconds", 0.5),
	quantile("p99", "tidings_delivery_seconds", 0.99),
	rate("fresh", "tidings_resumes_total", "none"),
	rate("resumed", "tidings_resumes_total", "complete"),
	rate("reset", "tidings_resumes_total", "reset"),
	rate("closes", "tidings_closes_total"),
	level("waiting", "tidings_events_waiting"),
	level("lag", "tidings_feed_lag_records"),
	level("resident", "process_resident_memory_bytes"),
	level("heap", "go_memstats_heap_alloc_bytes"),
	rate("cpu", "process_cpu_seconds_total"),
	rate("gc", "go_gc_duration_seconds"),
}

func rate(name, metric string, labels ...string) figure {
	return figure{name, metric, func(now, before reading) float64 {
		passed := now.at.Sub(before.at).Seconds()
		if before.families == nil || passed <= 0 {
			return math.NaN()
		}
		return max(0, now.sum(metric, labels)-before.sum(metric, labels)) / passed
	}}
}

func level(name, metric string, labels ...string) figure {
	return figure{name, metric, func(now, _ reading) float64 { return now.sum(metric, labels) }}
}

// quantile is that of what was observed in between; not a number where that is nothing.
func quantile(name, metric string, q float64) figure {
	return figure{name, metric, func(now, before reading) float64 {
		h := now.buckets(metric)
		if before.families != nil {
			h = h.minus(before.buckets(metric))
		}
		return h.quantile(q)
	}}
}

// sum adds up a metric over the series that have all the given label values. Of a summary or a histogram it is the sum of what was observed.
func (r reading) sum(metric string, labels []string) (sum float64) {
	for _, m := range r.families[metric].GetMetric() {
		if has(m, labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetSummary().GetSampleSum() + m.GetHistogram().GetSampleSum()
		}
	}
	return sum
}

func has(m *dto.Metric, values []string) bool {
	for _, want := range values {
		found := false
		for _, l := range m.Label {
			found = found || l.GetValue() == want
		}
		if !found {
			return false
		}
	}
	return true
}

// byLabel are the values of a counter by its one label.
func (r reading) byLabel(metric string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range r.families[metric].GetMetric() {
		if len(m.Label) == 1 {
			values[m.Label[0].GetValue()] += m.GetCounter().GetValue()
		}
	}
	return values
}

// histogram counts observations up to each bound; the last is without one.
type histogram struct {
	bounds []float64
	counts []float64 // cumulative
}

// buckets adds up the series of a metric: they have the same bounds. The bucket without a bound is there only where it has an exemplar.
func (r reading) buckets(metric string) (h histogram) {
	all := 0.0
	for _, m := range r.families[metric].GetMetric() {
		all += float64(m.GetHistogram().GetSampleCount())
		for i, b := range m.GetHistogram().GetBucket() {
			if math.IsInf(b.GetUpperBound(), 1) {
				break
			}
			if i == len(h.bounds) {
				h.bounds, h.counts = append(h.bounds, b.GetUpperBound()), append(h.counts, 0)
			}
			h.counts[i] += float64(b.GetCumulativeCount())
		}
	}
	if len(h.bounds) > 0 {
		h.bounds, h.counts = append(h.bounds, math.Inf(1)), append(h.counts, all)
	}
	return h
}

func (h histogram) minus(before histogram) histogram {
	d := histogram{bounds: h.bounds, counts: append([]float64(nil), h.counts...)}
	for i := range min(len(d.counts), len(before.counts)) {
		d.counts[i] -= before.counts[i]
	}
	return d
}

// quantile is estimated within its step, as if the observations were spread evenly there. Beyond the last bound it is that bound.
func (h histogram) quantile(q float64) float64 {
	n := len(h.counts)
	if n == 0 || h.counts[n-1] <= 0 {
		return math.NaN()
	}
	rank := q * h.counts[n-1]
	below, from := 0.0, 0.0
	for i, count := range h.counts {
		if math.IsInf(h.bounds[i], 1) {
			return from
		}
		if count >= rank {
			if count == below {
				return h.bounds[i]
			}
			return from + (h.bounds[i]-from)*(rank-below)/(count-below)
		}
		below, from = count, h.bounds[i]
	}
	return from
}
