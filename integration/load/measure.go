//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"tidings/integration/load/loadgen"
)

// result is one measurement of one server. CPU is that of the process which holds the tabs, unless it says house: then it is
// that of every process the server needs, NATS too.
type result struct {
	Server string

	ConnectRate float64 // handshakes per second
	ConnectCPU  float64 // µs each

	Resident       float64 // bytes of the process with all tabs, idle
	ResidentPerTab float64 // bytes, the slope
	LivePerTab     float64 // bytes of live heap and stacks, the slope

	PacedRate float64 // events per second, as published
	PacedP50  float64 // ms from publish to frame read
	PacedP99  float64
	PacedCPU  float64 // µs per delivery

	AllP50  float64 // ms until half of the tabs have it; median of the events
	AllLast float64 // ms until the last tab has it; median of the events
	AllRate float64 // deliveries per second until then
	AllCPU  float64 // µs per delivery

	BurstRate  float64 // deliveries per second
	BurstCPU   float64 // µs per delivery
	BurstHouse float64 // µs per event
}

// bench is one server under measurement.
type bench struct {
	o     *options
	s     *server
	fleet *loadgen.Fleet
	r     result
}

const (
	awaitWithin = 30 * time.Second       // for what was published to arrive
	allPause    = 100 * time.Millisecond // between two events to all
)

// measure starts a server, measures it and stops it.
func measure(ctx context.Context, o *options, b *builder, k kind) (r *result, err error) {
	s, err := k.start(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	fleet, err := loadgen.Start(ctx, o.generators(s.target, s.subprotocol, s.secret), o.procs, tabsProcess)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	m := &bench{o: o, s: s, fleet: fleet, r: result{Server: k.name}}
	for _, part := range []func(context.Context) error{m.connect, m.warm, m.paced, m.all, m.burst} {
		if err := part(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return &m.r, nil
}

func tabsProcess(ctx context.Context) *exec.Cmd { return again(ctx, "tabs") }

// connect opens the tabs, and takes what they cost.
func (m *bench) connect(ctx context.Context) error {
	if _, err := m.fleet.Open(m.o.low, m.o.openWithin()); err != nil {
		return err
	}
	before, err := memoryOf(ctx, m.s, m.o.settle)
	if err != nil {
		return err
	}
	more, began := float64(m.o.tabs-m.o.low), time.Now()
	used, err := m.used(func() error {
		_, err := m.fleet.Open(m.o.tabs, m.o.openWithin())
		return err
	})
	if err != nil {
		return err
	}
	m.r.ConnectRate = more / time.Since(began).Seconds()
	m.r.ConnectCPU = micros(used[0]) / more
	after, err := memoryOf(ctx, m.s, m.o.settle)
	if err != nil {
		return err
	}
	m.r.Resident = float64(after.Resident)
	m.r.ResidentPerTab = float64(after.Resident-before.Resident) / more
	m.r.LivePerTab = float64(after.Live-before.Live) / more
	return nil
}

// warm sends what is not counted: the first event wakes pages and makes buffers.
func (m *bench) warm(context.Context) error {
	if err := m.s.events.all(); err != nil {
		return err
	}
	_, err := m.await(int64(m.o.tabs))
	return err
}

func (m *bench) paced(ctx context.Context) error {
	var report loadgen.Report
	used, err := m.used(func() error {
		if err := m.fleet.Reset(); err != nil {
			return err
		}
		tabs, took, err := m.s.events.paced(ctx)
		if err != nil {
			return err
		}
		m.r.PacedRate = float64(m.o.rate*m.o.seconds) / took.Seconds()
		report, err = m.await(tabs)
		return err
	})
	if err != nil {
		return err
	}
	m.r.PacedP50, m.r.PacedP99 = millis(report.Ways.Quantile(0.5)), millis(report.Ways.Quantile(0.99))
	m.r.PacedCPU = micros(used[0]) / float64(report.Deliveries)
	return nil
}

func (m *bench) all(ctx context.Context) error {
	var half, last []float64
	var cpu time.Duration
	for range m.o.all {
		used, err := m.used(func() error {
			if err := m.fleet.Reset(); err != nil {
				return err
			}
			if err := m.s.events.all(); err != nil {
				return err
			}
			report, err := m.await(int64(m.o.tabs))
			half, last = append(half, millis(report.Ways.Quantile(0.5))), append(last, millis(report.Max))
			return err
		})
		if err != nil {
			return err
		}
		cpu += used[0]
		if err := pause(ctx, allPause); err != nil {
			return err
		}
	}
	m.r.AllP50, m.r.AllLast = median(half), median(last)
	m.r.AllRate = float64(m.o.tabs) / (m.r.AllLast / 1e3)
	m.r.AllCPU = micros(cpu) / float64(m.o.all*m.o.tabs)
	return nil
}

func (m *bench) burst(ctx context.Context) error {
	var report loadgen.Report
	var began time.Time
	used, err := m.used(func() error {
		if err := m.fleet.Reset(); err != nil {
			return err
		}
		began = time.Now()
		tabs, err := m.s.events.burst(ctx)
		if err != nil {
			return err
		}
		report, err = m.await(tabs)
		return err
	})
	if err != nil {
		return err
	}
	n := float64(report.Deliveries)
	m.r.BurstRate = n / time.Unix(0, report.Last).Sub(began).Seconds()
	m.r.BurstCPU = micros(used[0]) / n
	var house time.Duration
	for _, d := range used {
		house += d
	}
	m.r.BurstHouse = micros(house) / float64(m.o.burst)
	return nil
}

// await waits for exactly so many deliveries: one more or less, and the figures would be of something else.
func (m *bench) await(deliveries int64) (loadgen.Report, error) {
	r, err := m.fleet.Await(deliveries, awaitWithin)
	if err == nil && (r.Deliveries != deliveries || r.Resets > 0) {
		err = fmt.Errorf("%d deliveries and %d resets within %v, want %d and 0", r.Deliveries, r.Resets, awaitWithin, deliveries)
	}
	return r, err
}

// used is the processor time of each of the server's processes while f runs.
func (m *bench) used(f func() error) ([]time.Duration, error) {
	used := make([]time.Duration, len(m.s.procs))
	for i, p := range m.s.procs {
		t, err := p.cpu()
		if err != nil {
			return nil, err
		}
		used[i] = -t
	}
	if err := f(); err != nil {
		return nil, err
	}
	for i, p := range m.s.procs {
		t, err := p.cpu()
		if err != nil {
			return nil, err
		}
		used[i] += t
	}
	return used, nil
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
func millis(ns int64) float64        { return float64(ns) / 1e6 }

// median is the middle of values, or of the middle two the mean.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
