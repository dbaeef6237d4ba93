//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"tidings/integration/load/badpeers"
	"tidings/integration/load/loadgen"
)

// peers takes the latency of the tabs in windows without and with bad peers, in turn: what the machine does meanwhile may be more
// than what is looked for. In a third kind of window the same peers are at another process, which tells what of it is the machine's. What
// is published is always the same, also for peers that are not there.
func (m *bench) peers(ctx context.Context) error {
	other, err := m.s.another(ctx)
	if err != nil {
		return err
	}
	other.name = "elsewhere" // it has no tabs
	f, w := m.feeder(), &m.r.Windows
	look := func(to *[]view, at *process, weigh bool) error {
		v, err := m.viewBeside(ctx, f, at, weigh)
		*to = append(*to, v)
		return err
	}
	for i := range m.o.windows {
		err := look(&w.Without, nil, false)
		if err == nil {
			err = look(&w.Elsewhere, other, false)
		}
		if err == nil {
			err = look(&w.With, m.s.procs[0], i == m.o.windows-1)
		}
		if err != nil {
			return err
		}
	}
	if err := look(&w.Without, nil, false); err != nil {
		return err
	}
	m.r.contrast(m.o.peers)
	return nil
}

// viewBeside is a window with bad peers at a process, and where weigh says so what they hold at its end.
func (m *bench) viewBeside(ctx context.Context, f *feeder, at *process, weigh bool) (v view, err error) {
	if at == nil {
		return m.view(ctx, f, nil)
	}
	slow, err := m.dropped(ctx, at)
	if err != nil {
		return v, err
	}
	crowd, err := m.crowd(ctx, at)
	if err != nil {
		return v, err
	}
	v, err = m.view(ctx, f, crowd)
	during := &held{}
	if err == nil && weigh {
		during, err = m.held(ctx)
	}
	report, left := crowd.Leave()
	if err := errors.Join(err, left); err != nil {
		return v, err
	}
	if err := errors.Join(report.Check(m.o.peers), m.droppedSince(ctx, at, slow), m.quiet(ctx)); err != nil || !weigh {
		return v, err
	}
	after, err := m.held(ctx)
	if err != nil {
		return v, err
	}
	v.Resident, v.Live, v.Buffers = during.Resident, during.Live-after.Live, during.buffers-after.buffers
	return v, nil
}

// held is memory, and the kernel's buffers.
type held struct {
	memory
	buffers int64
}

func (m *bench) held(ctx context.Context) (h *held, err error) {
	h = &held{}
	if h.memory, err = memoryOf(ctx, m.s, m.o.settle); err != nil {
		return nil, err
	}
	h.buffers, err = socketBuffers()
	return h, err
}

// crowd starts the bad peers. Their users are behind those of the tabs.
func (m *bench) crowd(ctx context.Context, at *process) (*badpeers.Crowd, error) {
	host, requests, err := loadgen.Requests(m.o.generators([]string{"ws://" + at.address("browsers") + "/ws"}, m.s.subprotocol, m.s.secret), m.o.users, m.o.peers)
	if err != nil {
		return nil, err
	}
	life := time.Duration(m.o.seconds)*time.Second + 4*settleWithin + awaitWithin + m.o.settle
	return badpeers.Start(ctx, badpeers.Config{Address: host, Requests: requests, Limit: life},
		func(ctx context.Context) *exec.Cmd { return again(ctx, "peers") })
}

const slowTotal = "tidings_sessions_slow_total"

// dropped is how many queues the server has dropped since their sockets took nothing; -1 where it does not count them.
func (m *bench) dropped(ctx context.Context, at *process) (float64, error) {
	if m.r.Server == "plain" {
		return -1, nil
	}
	return scrape(ctx, at.address("admin"), slowTotal)
}

// droppedSince insists that those of the peers that never read were.
func (m *bench) droppedSince(ctx context.Context, at *process, before float64) error {
	now, err := m.dropped(ctx, at)
	if want := float64(badpeers.Stalled(m.o.peers)); err == nil && before >= 0 && now-before < want {
		err = fmt.Errorf("%s grew by %.0f, want the %.0f bad peers that never read: they were not sent enough", slowTotal, now-before, want)
	}
	return err
}

// view is one window: the peers' sockets are filled, and then the tabs are measured. crowd is nil where there is none.
func (m *bench) view(ctx context.Context, f *feeder, crowd *badpeers.Crowd) (v view, err error) {
	if err := errors.Join(f.fill(), m.settledBehind(ctx), m.fleet.Reset()); err != nil {
		return v, err
	}
	began, own := time.Now(), time.Duration(0)
	if crowd != nil {
		if own, err = cpuOf(crowd.PID()); err != nil {
			return v, err
		}
	}
	used, err := m.used(func() error {
		tabs, err := f.beside(ctx, m.s.events, m.o)
		if err != nil {
			return err
		}
		r, err := m.await(tabs)
		v.P50, v.P99, v.Max = millis(r.Ways.Quantile(0.5)), millis(r.Ways.Quantile(0.99)), millis(r.Max)
		return err
	})
	if err != nil {
		return v, err
	}
	took := time.Since(began)
	v.CPU = percent(used.tabs(), took)
	if crowd != nil {
		now, err := cpuOf(crowd.PID())
		v.Own = percent(now-own, took)
		return v, err
	}
	return v, nil
}

// settledBehind waits until what was published before has gone through.
func (m *bench) settledBehind(ctx context.Context) error {
	if err := m.fleet.Reset(); err != nil {
		return err
	}
	if err := errors.Join(m.s.events.one(0), m.s.events.settled(ctx)); err != nil {
		return err
	}
	if _, err := m.await(m.s.events.tabsOf(0)); err != nil {
		return err
	}
	return pause(ctx, m.o.settle/3)
}

func percent(used, of time.Duration) float64 { return 100 * used.Seconds() / of.Seconds() }
