//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"time"

	"tidings/integration/load/loadgen"
)

// few takes the cost of a delivery with few tabs: with all, it should be the same.
func (m *bench) few(ctx context.Context) error {
	if err := m.fill(ctx, m.o.few); err != nil {
		return err
	}
	all, err := m.toAll(ctx, min(m.o.all*m.tabs/m.o.few, maxFewEvents), fewPause)
	if err != nil {
		return err
	}
	m.r.Values[fewAllCPU] = all.cpu
	one, err := m.saturate(ctx)
	if err != nil {
		return err
	}
	m.r.Values[fewOneCPU] = micros(one.used.tabs()) / float64(one.Deliveries)
	return nil
}

const (
	maxFewEvents = 200
	fewPause     = 10 * time.Millisecond
	allPause     = 100 * time.Millisecond // between two events to all
)

// all takes events to all tabs.
func (m *bench) all(ctx context.Context) error {
	r, err := m.toAll(ctx, m.o.all, allPause)
	if err != nil {
		return err
	}
	m.r.Values[allP50], m.r.Values[allLast], m.r.Values[allCPU] = r.half, r.last, r.cpu
	m.r.Values[allOwn] = r.own
	m.r.Values[allRate] = float64(m.s.events.open) / (r.last / 1e3)
	return nil
}

// toAll is what events to all tabs cost.
type toAll struct {
	half, last float64 // ms until half, and until all of the tabs have it; medians of the events
	cpu        float64 // µs per delivery
	own        float64 // the same of the processes that hold the tabs' other ends
}

func (m *bench) toAll(ctx context.Context, count int, rest time.Duration) (*toAll, error) {
	var half, last []float64
	var cpu, own time.Duration
	for range count {
		before, err := m.ownCPU()
		if err != nil {
			return nil, err
		}
		used, err := m.used(func() error {
			if err := m.fleet.Reset(); err != nil {
				return err
			}
			if err := errors.Join(m.s.events.all(), m.s.events.flush()); err != nil {
				return err
			}
			report, err := m.await(int64(m.s.events.open))
			half, last = append(half, millis(report.Ways.Quantile(0.5))), append(last, millis(report.Max))
			return err
		})
		if err != nil {
			return nil, err
		}
		after, err := m.ownCPU()
		if err != nil {
			return nil, err
		}
		cpu, own = cpu+used.tabs(), own+after-before
		if err := pause(ctx, rest); err != nil {
			return nil, err
		}
	}
	n := float64(count * m.s.events.open)
	return &toAll{median(half), median(last), micros(cpu) / n, micros(own) / n}, nil
}

// ownCPU is what the load generator's processes have used.
func (m *bench) ownCPU() (sum time.Duration, err error) {
	for _, pid := range m.fleet.PIDs() {
		t, err := cpuOf(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// paced takes the latency at a rate that leaves room, and what everybody on the machine needs for it.
func (m *bench) paced(ctx context.Context) error {
	before, err := m.outside()
	if err != nil {
		return err
	}
	var report loadgen.Report
	used, err := m.used(func() error {
		if err := m.fleet.Reset(); err != nil {
			return err
		}
		tabs, took, err := m.s.events.paced(ctx, m.o.rate, time.Duration(m.o.seconds)*time.Second)
		if err != nil {
			return err
		}
		m.r.Values[pacedRate] = float64(m.o.rate*m.o.seconds) / took.Seconds()
		report, err = m.await(tabs)
		return err
	})
	if err != nil {
		return err
	}
	after, err := m.outside()
	if err != nil {
		return err
	}
	events, deliveries := float64(m.o.rate*m.o.seconds), float64(report.Deliveries)
	m.r.Values[pacedP50], m.r.Values[pacedP99] = millis(report.Ways.Quantile(0.5)), millis(report.Ways.Quantile(0.99))
	m.r.Values[pacedCPU], m.r.Values[pacedHouse] = micros(used.tabs())/deliveries, micros(used.house())/events
	m.r.Values[pacedPublisher] = micros(after.publisher-before.publisher) / events
	m.r.Values[pacedOwn] = micros(after.tabs-before.tabs) / deliveries
	m.partOf(used, "fanout", pacedFanout, events)
	m.partOf(used, "nats", pacedNATS, events)
	return nil
}

// outside is the processor time of those who are no part of the server.
type outside struct{ publisher, tabs time.Duration }

func (m *bench) outside() (o outside, err error) {
	if o.publisher, err = cpuOf(os.Getpid()); err == nil {
		o.tabs, err = m.ownCPU()
	}
	return o, err
}

// one takes one-user events as fast as they are taken.
func (m *bench) one(ctx context.Context) error {
	r, err := m.saturate(ctx)
	if err != nil {
		return err
	}
	m.r.Values[oneRate] = float64(m.o.burst) / r.took.Seconds()
	m.r.Values[oneCPU] = micros(r.used.tabs()) / float64(r.Deliveries)
	m.r.Values[oneHouse] = micros(r.used.house()) / float64(m.o.burst)
	m.partOf(r.used, "fanout", oneFanout, float64(m.o.burst))
	m.partOf(r.used, "nats", oneNATS, float64(m.o.burst))
	return nil
}

// partOf takes what one process has of the cost of events, where the server has such a process.
func (m *bench) partOf(used *cost, name string, to metric, events float64) {
	if d := used.of(name); d > 0 {
		m.r.Values[to] = micros(d) / events
	}
}

type saturated struct {
	loadgen.Report
	used *cost
	took time.Duration // from the first publish until the last was read
}

func (m *bench) saturate(ctx context.Context) (*saturated, error) {
	var r saturated
	var began time.Time
	var err error
	r.used, err = m.used(func() error {
		if err := m.fleet.Reset(); err != nil {
			return err
		}
		began = time.Now()
		tabs, err := m.s.events.burst(ctx, m.o.burst)
		if err != nil {
			return err
		}
		r.Report, err = m.await(tabs)
		return err
	})
	if err == nil {
		r.took = time.Unix(0, r.Last).Sub(began)
	}
	return &r, err
}
