//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"tidings/integration/load/badpeers"
)

// What fills the sockets of bad peers: the kernel keeps some 64 KiB of a session's bytes, which a few events fill; the others are
// more than a session's queue may hold.
const (
	feedBytes = 16 << 10
	feedFill  = 90
	feedEvery = 250 * time.Millisecond // in a window
)

// leaveRoom is the part of -rate at which tabs are measured beside bad peers: queues of a pipeline that is nearly full would hide
// what peers do.
const leaveRoom = 5

// feeder publishes to the users of those bad peers that are bad by not reading: one event for all of them, so that what it costs
// before the gateway is next to nothing.
type feeder struct {
	sink interface {
		some(from, to, bytes int) error
	}
	from, to int // users
}

func (m *bench) feeder() *feeder {
	f := &feeder{from: m.o.users, to: m.o.users + badpeers.Fed(m.o.peers)}
	switch s := m.s.events.sink.(type) {
	case *streamSink:
		f.sink = s
	case *coreSink:
		f.sink = s
	}
	return f
}

func (f *feeder) feed() error { return f.sink.some(f.from, f.to, feedBytes) }

func (f *feeder) fill() error {
	for range feedFill {
		if err := f.feed(); err != nil {
			return err
		}
	}
	return nil
}

// beside publishes to the tabs as e.paced does, and meanwhile to the peers. It gives the number of deliveries to expect at the tabs.
func (f *feeder) beside(ctx context.Context, e *events, o *options) (tabs int64, err error) {
	over, fed := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(feedEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				fed <- nil
				return
			case <-tick.C:
			}
			if err := f.feed(); err != nil {
				fed <- err
				return
			}
		}
	}()
	tabs, _, err = e.paced(ctx, max(1, o.rate/leaveRoom), time.Duration(o.seconds)*time.Second)
	close(over)
	return tabs, errors.Join(err, <-fed)
}
