//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// stormAtOnce is how many handshakes each process has under way when every tab comes back.
const stormAtOnce = 512

// resume drops every tab at once, publishes what each misses, and lets them all come back.
func (m *bench) resume(ctx context.Context) error {
	tabs := m.s.events.open
	before, err := m.logLength(ctx)
	if err != nil {
		return err
	}
	if err := m.fleet.Drop(); err != nil {
		return err
	}
	if err := m.s.events.each(ctx, m.o.missed); err != nil {
		return err
	}
	if err := m.logged(ctx, before+uint64(m.o.missed*min(m.o.users, tabs))); err != nil {
		return err
	}
	if err := pause(ctx, m.o.settle/2); err != nil { // the gateway reads them too
		return err
	}
	if err := m.fleet.Reset(); err != nil {
		return err
	}
	began := time.Now()
	used, err := m.used(func() error { return m.comeBack(tabs, began) })
	if err != nil {
		return err
	}
	m.r.Values[resumeCPU] = micros(used.tabs()) / float64(tabs)
	size, err := m.s.procs[0].resident()
	m.r.Values[resumeResident] = float64(size)
	return err
}

func (m *bench) comeBack(tabs int, began time.Time) error {
	if _, err := m.fleet.Return(tabs, stormAtOnce, m.o.openWithin()); err != nil {
		return err
	}
	m.r.Values[resumeOpen] = time.Since(began).Seconds()
	r, err := m.await(int64(tabs * m.o.missed))
	if err != nil {
		return err
	}
	m.r.Values[resumeSeconds] = time.Unix(0, r.Last).Sub(began).Seconds()
	if r.Tabs[m.o.missed] != tabs {
		return fmt.Errorf("%d events were missed, but the tabs have, by number of events: %v", m.o.missed, r.Tabs)
	}
	return nil
}
