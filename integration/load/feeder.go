//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"tidings/integration/load/badpeers"
)

// What fills the sockets of bad peers: the kernel keeps some 64 KiB of a session's bytes, which the large events fill; the small
// ones are more than a session's queue may hold.
const (
	fillLarge, largeBytes = 8, 16 << 10
	fillSmall             = 100
)

// leaveRoom is the part of -rate at which tabs are measured beside bad peers; the peers' users get half as much. The queues of a
// pipeline that is nearly full would hide what peers do.
const leaveRoom = 5

// feeder publishes to the users of those bad peers that are bad by not reading.
type feeder struct{ large, small *events }

func (m *bench) feeder() (*feeder, error) {
	fed := badpeers.Fed(m.o.peers)
	open := func(bytes int) (*events, error) {
		s, err := m.s.sized(bytes)
		if err != nil {
			return nil, err
		}
		e := newEvents(&behind{s, m.o.users}, fed)
		e.opened(fed)
		return e, nil
	}
	large, err := open(largeBytes)
	if err != nil {
		return nil, err
	}
	small, err := open(m.o.bytes)
	if err != nil {
		large.close()
		return nil, err
	}
	return &feeder{large, small}, nil
}

// behind is a sink for the users from a number on.
type behind struct {
	sink
	from int
}

func (b *behind) one(user int) error { return b.sink.one(b.from + user) }

func (f *feeder) close() {
	f.large.close()
	f.small.close()
}

func (f *feeder) fill(ctx context.Context) error {
	if err := f.large.each(ctx, fillLarge); err != nil {
		return err
	}
	return f.small.each(ctx, fillSmall)
}

// beside publishes to the tabs as e.paced does, and meanwhile to the peers. It gives the number of deliveries to expect at the tabs.
func (f *feeder) beside(ctx context.Context, e *events, o *options) (tabs int64, err error) {
	rate, length := max(2, o.rate/leaveRoom), time.Duration(o.seconds)*time.Second
	fed := make(chan error, 1)
	go func() {
		_, _, err := f.small.paced(ctx, rate/2, length)
		fed <- err
	}()
	tabs, _, err = e.paced(ctx, rate, length)
	return tabs, errors.Join(err, <-fed)
}
