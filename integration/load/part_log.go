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
	var cpu, took time.Duration
	var deliveries int64
	rounds := max(1, m.o.burst/backlogRound)
	for range rounds {
		if err := m.fleet.Reset(); err != nil {
			return err
		}
		tabs, err := m.pileUp(ctx, min(m.o.burst, backlogRound))
		if err != nil {
			return err
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
			return err
		}
		cpu += used.tabs()
		deliveries += tabs
	}
	m.r.Values[backlogCPU] = micros(cpu) / float64(deliveries)
	m.r.Values[backlogRate] = float64(rounds*min(m.o.burst, backlogRound)) / took.Seconds()
	return nil
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
	used, err := m.unconcerning(ctx)
	if err != nil {
		return err
	}
	m.r.Values[nobodyCPU] = micros(used.tabs()) / float64(m.o.burst*len(m.s.targets))
	m.r.Values[nobodyNATS] = micros(used.of("nats")) / float64(m.o.burst)
	m.r.Values[recordBytes], err = m.bytesOfRecord(ctx)
	return err
}

// moreFollowers is how many gateways are added to see what each costs.
const moreFollowers = 4

// followers adds gateways without tabs, and takes what NATS needs for each more than before.
func (m *bench) followers(ctx context.Context) error {
	before, err := m.unconcerning(ctx)
	if err != nil {
		return err
	}
	for range moreFollowers {
		if _, err := m.s.startGateway(ctx, m.b); err != nil {
			return err
		}
	}
	after, err := m.unconcerning(ctx)
	if err != nil {
		return err
	}
	m.r.Values[followerNATS] = micros(after.of("nats")-before.of("nats")) / float64(m.o.burst*moreFollowers)
	return nil
}

// unconcerning publishes events that concern nobody, and waits until a gateway has read them all.
func (m *bench) unconcerning(ctx context.Context) (*cost, error) {
	if err := m.fleet.Reset(); err != nil {
		return nil, err
	}
	return m.used(func() error {
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
