//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// backlogRound is how many events wait in the log before the gateway may go on: their publishing should take less than the
// heartbeats between the gateway and NATS.
const backlogRound = 4000

// backlog stops the gateway's process, lets events pile up in the log, and lets it go on: so that the gateway is saturated, which
// it is never by a pipeline that stores every event twice on the same machine.
func (m *bench) backlog(ctx context.Context) error {
	return m.passes(ctx, backlogCPU, backlogLeast, backlogRate)
}

// backlogPasses is how often the backlog is measured. While the tail fills and the heap grows, memory is touched for the first time, which
// costs some 15 µs a page: the least of the passes is the cost without that.
const backlogPasses = 3

// passes takes the cost of a delivery in the first pass, the least of all, and the rate of the first.
func (m *bench) passes(ctx context.Context, first, least, rate metric) error {
	for i := range backlogPasses {
		cpu, perSecond, err := m.fromLog(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			m.r.Values[first], m.r.Values[least], m.r.Values[rate] = cpu, cpu, perSecond
		}
		m.r.Values[least] = min(m.r.Values[least], cpu)
	}
	return nil
}

// known takes the same when the tail knows many users more.
func (m *bench) known(ctx context.Context) error {
	const ofEvent = 1000
	before, err := m.logLength(ctx)
	if err != nil {
		return err
	}
	for u := 0; u < m.o.known; u += ofEvent {
		if err := m.s.events.sink.(*streamSink).many(m.o.users+u, m.o.users+min(u+ofEvent, m.o.known)); err != nil {
			return err
		}
	}
	if err := m.s.events.settled(ctx); err != nil {
		return err
	}
	if err := m.logged(ctx, before+uint64((m.o.known+ofEvent-1)/ofEvent)); err != nil {
		return err
	}
	if err := m.passes(ctx, knownCPU, knownLeast, knownRate); err != nil {
		return err
	}
	size, err := m.s.procs[0].resident()
	m.r.Values[knownResident] = float64(size)
	return err
}

// fromLog gives the gateway's cost of a delivery, in µs, and the events that it handles in a second.
func (m *bench) fromLog(ctx context.Context) (cpu, rate float64, err error) {
	var spent, took time.Duration
	var deliveries int64
	rounds := max(1, m.o.burst/backlogRound)
	for range rounds {
		if err := m.fleet.Reset(); err != nil {
			return 0, 0, err
		}
		tabs, err := m.pileUp(ctx, min(m.o.burst, backlogRound))
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		used, err := m.used(func() error {
			if err := m.s.procs[0].signal(unix.SIGCONT); err != nil {
				return err
			}
			r, err := m.await(tabs)
			took += time.Unix(0, r.Last).Sub(began)
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		spent += used.tabs()
		deliveries += tabs
	}
	return micros(spent) / float64(deliveries), float64(rounds*min(m.o.burst, backlogRound)) / took.Seconds(), nil
}

// pileUp publishes while the gateway stands still, and waits until the log has everything.
func (m *bench) pileUp(ctx context.Context, events int) (tabs int64, err error) {
	if err := m.s.procs[0].signal(unix.SIGSTOP); err != nil {
		return 0, err
	}
	before, err := m.logLength(ctx)
	if err == nil {
		tabs, err = m.s.events.burst(ctx, events)
	}
	if err == nil {
		err = m.logged(ctx, before+uint64(events))
	}
	if err != nil {
		m.s.procs[0].signal(unix.SIGCONT) // so that it can be told to end
	}
	return tabs, err
}

// nobody publishes events whose users have no tab here: every gateway reads the whole log, and that is what it costs.
func (m *bench) nobody(ctx context.Context) error {
	if err := m.fleet.Reset(); err != nil {
		return err
	}
	used, err := m.used(func() error {
		before, err := m.logLength(ctx)
		if err != nil {
			return err
		}
		for i := range m.o.burst {
			if err := m.s.events.one(m.o.users + i); err != nil {
				return err
			}
		}
		if err := m.s.events.settled(ctx); err != nil {
			return err
		}
		if err := m.logged(ctx, before+uint64(m.o.burst)); err != nil {
			return err
		}
		if err := m.s.events.one(0); err != nil { // behind them in the log
			return err
		}
		_, err = m.await(m.s.events.tabsOf(0))
		return err
	})
	if err != nil {
		return err
	}
	m.r.Values[nobodyCPU] = micros(used.tabs()) / float64(m.o.burst*len(m.s.targets))
	m.r.Values[nobodyNATS] = micros(used.of("nats")) / float64(m.o.burst)
	m.r.Values[recordBytes], err = m.bytesOfRecord(ctx)
	return err
}

// bytesOfRecord is what a record of a one-user event takes in the log.
func (m *bench) bytesOfRecord(ctx context.Context) (float64, error) {
	s, err := m.log(ctx)
	if err != nil {
		return 0, err
	}
	return float64(s.Bytes) / float64(max(s.Msgs, 1)), nil
}

// logLength is the sequence of the last record.
func (m *bench) logLength(ctx context.Context) (uint64, error) {
	s, err := m.log(ctx)
	return s.LastSeq, err
}

func (m *bench) log(ctx context.Context) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	s, err := m.s.events.sink.(*streamSink).js.Stream(ctx, "LOG_0")
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("the log: %w", err)
	}
	return s.CachedInfo().State, nil
}

// logged waits until the log has a record.
func (m *bench) logged(ctx context.Context, sequence uint64) error {
	for end := time.Now().Add(awaitWithin); ; {
		n, err := m.logLength(ctx)
		if err != nil || n >= sequence {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the log ends with record %d after %v, want %d", n, awaitWithin, sequence)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}
