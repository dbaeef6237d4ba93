//go:build linux

package main

import (
	"context"
	"time"
)

// connect opens the tabs, and takes what they cost.
func (m *bench) connect(ctx context.Context) error {
	if err := m.fill(ctx, max(m.o.low, m.s.events.open)); err != nil {
		return err
	}
	before, err := memoryOf(ctx, m.s, m.o.settle)
	if err != nil {
		return err
	}
	more, began := float64(m.tabs-m.s.events.open), time.Now()
	used, err := m.used(func() error {
		_, err := m.fleet.Open(m.tabs, m.o.openWithin())
		return err
	})
	if err != nil {
		return err
	}
	m.r.Values[handshakes] = more / time.Since(began).Seconds()
	m.r.Values[handshakeCPU] = micros(used.tabs()) / more
	after, err := memoryOf(ctx, m.s, m.o.settle)
	if err != nil {
		return err
	}
	m.r.Values[resident] = float64(after.Resident)
	m.r.Values[residentTab] = float64(after.Resident-before.Resident) / more
	if size, err := socketObjects(); err == nil { // only root may read it
		m.r.Values[kernelSocket] = float64(size)
	}
	m.r.Values[kernelTab] = float64(after.Kernel-before.Kernel) / more
	if len(m.s.admins) > 0 {
		m.r.Values[liveTab] = float64(after.Live-before.Live) / more
	}
	return m.warm(ctx, m.tabs)
}

// idle is what tabs cost that get nothing but heartbeats.
func (m *bench) idle(ctx context.Context) error {
	used, err := m.used(func() error { return pause(ctx, m.o.idle) })
	if err != nil {
		return err
	}
	m.r.Values[idleCPU] = 100 * used.tabs().Seconds() / m.o.idle.Seconds()
	m.r.Values[idleHouse] = 100 * used.house().Seconds() / m.o.idle.Seconds()
	_, err = m.await(int64(m.tabs)) // of the last event before: nothing came, and nobody went
	return err
}
