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

// bench is one server under measurement.
type bench struct {
	o     *options
	b     *builder
	s     *server
	fleet *loadgen.Fleet
	tabs  int // in the end; s.events.open is how many there are now
	r     *result
}

const (
	awaitWithin = 30 * time.Second // for what was published to arrive
	atOnce      = 64               // handshakes of each process, where their rate is not measured
)

// measure starts a server, measures those of its parts that were asked for, and stops it.
func measure(ctx context.Context, o *options, b *builder, k *kind) (r *result, err error) {
	s, err := k.start(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	fleet, err := s.readers(ctx, o)
	if err != nil {
		return nil, err
	}
	m := &bench{o: o, b: b, s: s, fleet: fleet, tabs: k.tabs(o), r: &result{Server: k.name, Values: map[metric]float64{}}}
	defer func() { err = errors.Join(err, m.fleet.Close()) }()
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) || !slices.Contains(k.parts, p.name) {
			continue
		}
		if p.name != "few" && p.name != "connect" {
			err = m.fill(ctx, m.tabs)
		}
		if err == nil {
			err = p.run(m, ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", k.name, p.name, err)
		}
	}
	return m.r, nil
}

// readers starts the processes that get the deliveries: tabs, or what the server has in their place.
func (s *server) readers(ctx context.Context, o *options) (*loadgen.Fleet, error) {
	if s.reader != nil {
		return loadgen.StartReader(ctx, s.reader)
	}
	return loadgen.Start(ctx, o.generators(s.targets, s.subprotocol, s.secret), o.procs, tabsProcess)
}

// tabsProcess is one that holds tabs. To the runtime its goroutine seems to go on and on (see loadgen's poller), and would be interrupted.
func tabsProcess(ctx context.Context) *exec.Cmd {
	cmd := again(ctx, "tabs")
	cmd.Env = append(cmd.Env, "GODEBUG=asyncpreemptoff=1")
	return cmd
}

// fill opens tabs as fast as it goes, until there are so many. What is sent then is not counted: the first event wakes pages and
// makes buffers.
func (m *bench) fill(ctx context.Context, tabs int) error {
	if m.s.events.open >= tabs {
		return nil
	}
	_, err := m.fleet.Return(tabs, atOnce, m.o.openWithin())
	if err != nil {
		return err
	}
	return m.warm(ctx, tabs)
}

func (m *bench) warm(ctx context.Context, tabs int) error {
	m.s.events.opened(tabs)
	if err := m.fleet.Reset(); err != nil {
		return err
	}
	if err := errors.Join(m.s.events.all(), m.s.events.flush()); err != nil {
		return err
	}
	_, err := m.await(int64(tabs))
	if err != nil {
		return err
	}
	return m.quiet(ctx)
}

// await waits for exactly so many deliveries: one more or less, and the figures would be of something else.
func (m *bench) await(deliveries int64) (loadgen.Report, error) {
	r, err := m.fleet.Await(deliveries, awaitWithin)
	if err == nil && (r.Deliveries != deliveries || r.Resets > 0) {
		err = fmt.Errorf("%d deliveries and %d resets within %v, want %d and 0", r.Deliveries, r.Resets, awaitWithin, deliveries)
	}
	return r, err
}

// cost is the processor time of each of the server's processes.
type cost struct {
	procs []*process
	times []time.Duration
}

// tabs is that of the processes which hold the tabs.
func (c *cost) tabs() time.Duration { return c.of(c.procs[0].name) }

// of is that of the processes with a name.
func (c *cost) of(name string) (sum time.Duration) {
	for i, p := range c.procs {
		if p.name == name {
			sum += c.times[i]
		}
	}
	return sum
}

func (c *cost) house() (sum time.Duration) {
	for _, d := range c.times {
		sum += d
	}
	return sum
}

func (m *bench) spent() (*cost, error) {
	c := &cost{procs: m.s.procs}
	for _, p := range c.procs {
		t, err := p.cpu()
		if err != nil {
			return nil, err
		}
		c.times = append(c.times, t)
	}
	return c, nil
}

// used is what the server uses while f runs.
func (m *bench) used(f func() error) (*cost, error) {
	before, err := m.spent()
	if err != nil {
		return nil, err
	}
	if err := f(); err != nil {
		return nil, err
	}
	after, err := m.spent()
	if err != nil {
		return nil, err
	}
	for i := range after.times {
		after.times[i] -= before.times[i]
	}
	return after, nil
}

// quiet waits until the server's processes do next to nothing: what they do behind an event is not to be counted as the next one's.
func (m *bench) quiet(ctx context.Context) error {
	const look = 250 * time.Millisecond
	for range int(settleWithin / look) {
		used, err := m.used(func() error { return pause(ctx, look) })
		if err != nil || used.house() < look/10 {
			return err
		}
	}
	return fmt.Errorf("the servers were still busy after %v without events", settleWithin)
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
func millis(ns int64) float64        { return float64(ns) / 1e6 }

// median is the middle of values, or of the middle two the mean.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
