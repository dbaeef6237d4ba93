//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"tidings/integration/load/loadgen"
)

// storm takes the latency of the tabs in windows without and with newcomers, in turn: as many as a gateway may have had that was killed come at once,
// each with its token, are welcomed, drop, and come again until the window ends. As with bad peers, a third kind of window has them at another
// process, which tells what of it is the machine's: on two cores the newcomers and the kernel take as much as the gateway.
func (m *bench) storm(ctx context.Context) error {
	if err := m.makeRoom(ctx, m.o.newcomers); err != nil {
		return err
	}
	other, err := m.s.another(ctx)
	if err != nil {
		return err
	}
	other.name = "elsewhere" // it has no tabs
	var calm, here, elsewhere []view
	handshakes, lasted := 0, time.Duration(0)
	look := func(to *[]view, at *process) error {
		v, n, took, err := m.viewInStorm(ctx, at)
		*to = append(*to, v)
		if at == m.s.procs[0] {
			handshakes, lasted = handshakes+n, lasted+took
		}
		return err
	}
	for range m.o.windows {
		if err := look(&calm, nil); err != nil {
			return err
		}
		if err := look(&elsewhere, other); err != nil {
			return err
		}
		if err := look(&here, m.s.procs[0]); err != nil {
			return err
		}
	}
	var ratios []float64
	for i, w := range here {
		ratios = append(ratios, w.P99/elsewhere[i].P99)
	}
	p50 := func(v view) float64 { return v.P50 }
	p99 := func(v view) float64 { return v.P99 }
	for to, v := range map[metric]float64{
		calmP50: middle(calm, p50), stormP50: middle(here, p50), stormOtherP50: middle(elsewhere, p50),
		calmP99: middle(calm, p99), stormP99: middle(here, p99), stormOtherP99: middle(elsewhere, p99),
		stormOwn: median(ratios), stormRate: float64(handshakes) / lasted.Seconds(),
	} {
		m.r.Values[to] = v
	}
	return nil
}

// makeRoom begins anew with fewer tabs, where a number of others would not fit into the process beside those that are there.
func (m *bench) makeRoom(ctx context.Context, others int) error {
	most := max(1, maxTabsOfProcess-others)
	if m.s.events.open <= most {
		return nil
	}
	fewer, err := m.s.readers(ctx, m.o)
	if err != nil {
		return err
	}
	if err := m.fleet.Close(); err != nil {
		return errors.Join(err, fewer.Close())
	}
	m.fleet = fewer
	m.s.events.opened(0)
	return m.fill(ctx, most)
}

// viewInStorm is one window, with newcomers at a process; nil: without. It tells how many handshakes there were in what time.
func (m *bench) viewInStorm(ctx context.Context, at *process) (v view, handshakes int, took time.Duration, err error) {
	if err := m.fleet.Reset(); err != nil {
		return v, 0, 0, err
	}
	over, came := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	if at == nil {
		came <- nil
	} else {
		cfg := m.o.generators([]string{"ws://" + at.address("browsers") + "/ws"}, m.s.subprotocol, m.s.secret)
		cfg.From, cfg.Users = m.o.users+m.o.peers, m.o.newcomers
		newcomers, err := loadgen.Start(ctx, cfg, 1, tabsProcess)
		if err != nil {
			return v, 0, 0, err
		}
		go func() {
			var err error
			handshakes, err = m.comeAndGo(newcomers, over)
			took = time.Since(began)
			came <- errors.Join(err, newcomers.Close())
		}()
	}
	tabs, _, err := m.s.events.paced(ctx, max(1, m.o.rate/leaveRoom), time.Duration(m.o.seconds)*time.Second)
	var r loadgen.Report
	if err == nil {
		r, err = m.await(tabs)
	}
	close(over)
	if err := errors.Join(err, <-came); err != nil {
		return v, 0, 0, err
	}
	v.P50, v.P99, v.Max = millis(r.Ways.Quantile(0.5)), millis(r.Ways.Quantile(0.99)), millis(r.Max)
	return v, handshakes, took, m.quiet(ctx)
}

// comeAndGo lets the newcomers come and drop until the window is over.
func (m *bench) comeAndGo(newcomers *loadgen.Fleet, over chan struct{}) (handshakes int, err error) {
	for {
		if _, err := newcomers.Return(m.o.newcomers, stormAtOnce, m.o.openWithin()); err != nil {
			return handshakes, err
		}
		handshakes += m.o.newcomers
		if err := newcomers.Drop(); err != nil {
			return handshakes, err
		}
		select {
		case <-over:
			return handshakes, nil
		default:
		}
	}
}
