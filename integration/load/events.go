//go:build linux

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"tidings/integration/load/loadgen"
)

// events publishes to one server, and knows how many tabs must get each event.
type events struct {
	sink
	random *rand.Rand
	users  int // distinct users
	open   int // tabs: tab i is of user i modulo users
}

func newEvents(s sink, users int) *events {
	return &events{sink: s, random: rand.New(rand.NewPCG(1, 2)), users: users}
}

// opened says how many tabs there are.
func (e *events) opened(tabs int) {
	e.open = tabs
	if o, ok := e.sink.(*floorSink); ok {
		o.open = tabs
	}
}

// tabsOf is the number of open tabs that a user has.
func (e *events) tabsOf(user int) int64 {
	n := e.open / e.users
	if user < e.open%e.users {
		n++
	}
	return int64(n)
}

// any publishes to a random user who has tabs, and gives their number.
func (e *events) any() (tabs int64, err error) {
	u := e.random.IntN(min(e.users, e.open))
	return e.tabsOf(u), e.one(u)
}

// paced publishes to random users, so many a second for a time. It gives the number of deliveries to expect.
func (e *events) paced(ctx context.Context, rate int, length time.Duration) (tabs int64, took time.Duration, err error) {
	began := time.Now()
	for sent, total := 0, int(length.Seconds()*float64(rate)); sent < total; {
		due := min(total, int(time.Since(began).Seconds()*float64(rate)))
		for ; sent < due; sent++ {
			n, err := e.any()
			if err != nil {
				return 0, 0, err
			}
			tabs += n
		}
		if err := errors.Join(e.flush(), ctx.Err()); err != nil {
			return 0, 0, err
		}
		time.Sleep(500 * time.Microsecond) // the pace itself
	}
	return tabs, time.Since(began), e.settled(ctx)
}

// burst publishes to random users as fast as events are taken.
func (e *events) burst(ctx context.Context, count int) (tabs int64, err error) {
	for range count {
		n, err := e.any()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return 0, err
		}
		tabs += n
	}
	return tabs, e.settled(ctx)
}

// each publishes a number of events to every user as fast as they are taken.
func (e *events) each(ctx context.Context, count int) error {
	for range count {
		for u := range min(e.users, e.open) {
			if err := errors.Join(e.one(u), ctx.Err()); err != nil {
				return err
			}
		}
	}
	return e.settled(ctx)
}

// maker makes the data of events, which is what goes to the browsers, in every server.
type maker struct {
	bytes int
	pad   string
}

func newMaker(bytes int) *maker { return &maker{bytes, strings.Repeat("x", bytes)} }

// minBody is what an event has without padding.
const minBody = 128

// data is of the size that was asked for, and carries the time.
func (m *maker) data(user string) []byte {
	b := append(make([]byte, 0, m.bytes+64), `{"userId":"`...)
	b = append(append(b, user...), `",`...)
	b = append(loadgen.Stamp(b, time.Now().UnixNano()), `,"text":"`...)
	b = append(b, m.pad[:max(0, m.bytes-len(b)-2)]...)
	return append(b, `"}`...)
}
