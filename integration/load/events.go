//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/load/loadgen"
)

// events publishes to one server: to Tidings through JetStream, so that every event is stored and acknowledged before the run
// counts it as sent; to the plain server with core NATS, which is all it has.
type events struct {
	nc     *nats.Conn
	js     jetstream.JetStream // nil: plain
	o      *options
	random *rand.Rand
	pad    string
	failed atomic.Int64
}

// unanswered is how many events may be on their way to the stream at once.
const unanswered = 1024

// stallWait is how long a publish waits while that many are on their way; the library's own 200 ms are short for a machine that
// is meant to be full.
const stallWait = 10 * time.Second

// minBody is what an event has without padding.
const minBody = 128

func newEvents(url string, o *options, stored bool) (*events, error) {
	nc, err := nats.Connect(url, nats.Name("tidings load"))
	if err != nil {
		return nil, fmt.Errorf("connect to %s to publish: %w", url, err)
	}
	e := &events{nc: nc, o: o, random: rand.New(rand.NewPCG(1, 2)), pad: strings.Repeat("x", o.bytes)}
	if stored {
		e.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(unanswered), jetstream.WithPublishAsyncTimeout(10*time.Second),
			jetstream.WithPublishAsyncErrHandler(func(jetstream.JetStream, *nats.Msg, error) { e.failed.Add(1) }))
		if err != nil {
			nc.Close()
			return nil, err
		}
	}
	return e, nil
}

func (e *events) close() { e.nc.Close() }

// one publishes an event to a random user and gives the number of tabs it must reach.
func (e *events) one() (tabs int64, err error) {
	u := e.random.IntN(e.o.users)
	return e.o.tabsOf(u), e.publish(fmt.Sprintf("%d.one", u), loadgen.User(u))
}

// all publishes an event to every tab.
func (e *events) all() error { return e.publish("0.all", "") }

func (e *events) publish(subject, user string) error {
	data := e.data(user)
	if e.js != nil {
		_, err := e.js.PublishAsync("events.load."+subject, data, jetstream.WithStallWait(stallWait))
		return err
	}
	audience := `{"all":true,"data":`
	if user != "" {
		audience = `{"users":["` + user + `"],"data":`
	}
	return e.nc.Publish("plain."+subject, append(append([]byte(audience), data...), '}'))
}

// data is the event's data, of the size that was asked for; it is what goes to the browsers, in both servers.
func (e *events) data(user string) []byte {
	b := append(make([]byte, 0, e.o.bytes+64), `{"userId":"`...)
	b = append(append(b, user...), `",`...)
	b = append(loadgen.Stamp(b, time.Now().UnixNano()), `,"text":"`...)
	b = append(b, e.pad[:max(0, e.o.bytes-len(b)-2)]...)
	return append(b, `"}`...)
}

// paced publishes at the rate that was asked for. It gives the number of deliveries to expect.
func (e *events) paced(ctx context.Context) (tabs int64, took time.Duration, err error) {
	began := time.Now()
	for sent, total := 0, e.o.rate*e.o.seconds; sent < total; {
		due := min(total, int(time.Since(began).Seconds()*float64(e.o.rate)))
		for ; sent < due; sent++ {
			n, err := e.one()
			if err != nil {
				return 0, 0, err
			}
			tabs += n
		}
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		time.Sleep(500 * time.Microsecond) // the pace itself
	}
	return tabs, time.Since(began), e.settled(ctx)
}

// burst publishes as fast as events are taken.
func (e *events) burst(ctx context.Context) (tabs int64, err error) {
	for range e.o.burst {
		n, err := e.one()
		if err != nil || ctx.Err() != nil {
			return 0, errors.Join(err, ctx.Err())
		}
		tabs += n
	}
	return tabs, e.settled(ctx)
}

// settled waits until everything is with NATS, and tells of events that it did not take.
func (e *events) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if e.js == nil {
		return e.nc.FlushWithContext(ctx)
	}
	select {
	case <-e.js.PublishAsyncComplete():
	case <-ctx.Done():
		return fmt.Errorf("%d events were not acknowledged in time", e.js.PublishAsyncPending())
	}
	if n := e.failed.Load(); n > 0 {
		return fmt.Errorf("%d events were not stored", n)
	}
	return nil
}
