package picture

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// interval is how often the figures are read. A reading costs 1 ms, most of it for what the Go runtime and the system say of the process.
	interval = time.Second
	// kept is how many readings the page can show: five minutes.
	kept = 300
	// latencyOver is how many readings a latency is measured over: over one second, a quiet house has too few.
	latencyOver = 5
)

// reading is what the metrics say at a time.
type reading struct {
	at       time.Time
	families map[string]*dto.MetricFamily // nil: none
}

// row are the figures of one reading, in the order of the history's names.
type row struct {
	at     time.Time
	values []float64 // NaN: unknown
	closes map[string]float64
}

// History keeps a few minutes of figures.
type History struct {
	metrics prometheus.Gatherer // fixed at creation

	// Owned by Run.
	before []reading // the last few, oldest first

	// Guarded by mu.
	mu    sync.Mutex
	names []figure
	rows  []row // a ring, once it is full
	next  int
}

// NewHistory makes an empty one; Run fills it.
func NewHistory(metrics prometheus.Gatherer) *History { return &History{metrics: metrics} }

// Run reads the figures until the context ends.
func (h *History) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	h.take(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			h.take(now)
		}
	}
}

// take reads the figures once.
func (h *History) take(now time.Time) {
	families, err := h.metrics.Gather()
	if err != nil && len(families) == 0 {
		return // the next second may do better
	}
	r := reading{at: now, families: make(map[string]*dto.MetricFamily, len(families))}
	for _, f := range families {
		r.families[f.GetName()] = f
	}
	var last, earlier reading
	if n := len(h.before); n > 0 {
		last, earlier = h.before[n-1], h.before[0]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learn(r)
	one := row{at: now, values: make([]float64, len(h.names)), closes: r.byLabel("tidings_closes_total")}
	for i, f := range h.names {
		before := last
		if f.name == "p50" || f.name == "p99" {
			before = earlier
		}
		one.values[i] = f.read(r, before)
	}
	h.add(one)
	if h.before = append(h.before, r); len(h.before) > latencyOver {
		h.before[0] = reading{}
		h.before = h.before[1:]
	}
}

// learn finds out which figures this process has. A role's metrics come when it starts.
func (h *History) learn(r reading) {
	for _, f := range figures {
		if r.families[f.from] != nil && !h.has(f.name) {
			h.names = append(h.names, f)
		}
	}
}

func (h *History) has(name string) bool {
	for _, f := range h.names {
		if f.name == name {
			return true
		}
	}
	return false
}

func (h *History) add(one row) {
	if len(h.rows) < kept {
		h.rows = append(h.rows, one)
		return
	}
	h.rows[h.next] = one
	h.next = (h.next + 1) % kept
}

// Figures is what the page is told: JSON has no NaN, so what is not known is null.
type Figures struct {
	Now    int64              `json:"now"` // Unix milliseconds
	Names  []string           `json:"names"`
	At     []int64            `json:"at"`
	Rows   [][]*float64       `json:"rows"`
	Closes map[string]float64 `json:"closes,omitempty"` // by reason, over all that is kept
}

// After are the figures that came after a moment, of all that is kept.
func (h *History) After(moment int64) Figures {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := Figures{Now: time.Now().UnixMilli(), Names: make([]string, len(h.names)), At: []int64{}, Rows: [][]*float64{}}
	for i, n := range h.names {
		f.Names[i] = n.name
	}
	for i := range h.rows {
		r := &h.rows[(h.next+i)%len(h.rows)]
		if at := r.at.UnixMilli(); at > moment {
			f.At = append(f.At, at)
			f.Rows = append(f.Rows, r.known(len(f.Names)))
		}
	}
	if n := len(h.rows); n > 0 {
		f.Closes = increase(h.rows[h.next%n].closes, h.rows[(h.next+n-1)%n].closes)
	}
	return f
}

func (r *row) known(n int) []*float64 {
	out := make([]*float64, n)
	for i := range r.values {
		if v := r.values[i]; !math.IsNaN(v) && !math.IsInf(v, 0) {
			v = math.Round(v*1e6) / 1e6
			out[i] = &v
		}
	}
	return out
}

func increase(from, to map[string]float64) map[string]float64 {
	if len(to) == 0 {
		return nil
	}
	more := map[string]float64{}
	for reason, n := range to {
		if n > from[reason] {
			more[reason] = n - from[reason]
		}
	}
	return more
}
