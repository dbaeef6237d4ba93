//go:build linux

package chaos

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
)

// flow lets events happen at a pace, until it is stopped. What an election holds up is not made up for.
type flow struct {
	world   *world
	rate    int
	retries atomic.Int64
	stop    context.CancelFunc
	ended   chan struct{}
	err     error
}

// startFlow begins to publish. What has begun when it is stopped is published still; ctx ends that too.
func startFlow(ctx context.Context, js jetstream.JetStream, w *world, rate int) *flow {
	flowing, stop := context.WithCancel(ctx)
	f := &flow{world: w, rate: rate, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		f.err = f.run(ctx, flowing, js)
	}()
	return f
}

// end stops it and waits.
func (f *flow) end() error {
	f.stop()
	<-f.ended
	return f.err
}

func (f *flow) run(ctx, flowing context.Context, js jetstream.JetStream) error {
	var all sync.WaitGroup
	errs := make([]error, writers)
	queues := make([]chan *event, writers)
	for k := range queues {
		queues[k] = make(chan *event, 1)
		all.Go(func() {
			for e := range queues[k] {
				if errs[k] == nil { // else the context has ended, and they go by
					errs[k] = f.publish(ctx, js, e)
				}
			}
		})
	}
	tick := time.NewTicker(time.Second / time.Duration(f.rate))
	defer tick.Stop()
	for flowing.Err() == nil {
		e := f.world.next()
		queues[e.aggregate%writers] <- e
		select {
		case <-tick.C:
		case <-flowing.Done():
		}
	}
	for _, q := range queues {
		close(q)
	}
	all.Wait()
	return errors.Join(errs...)
}

func (f *flow) publish(ctx context.Context, js jetstream.JetStream, e *event) error {
	m := f.world.message(e)
	e.tried.Store(time.Now().UnixNano())
	err := house.Insist(ctx, js, m, func() { f.retries.Add(1) })
	if err == nil {
		e.acked.Store(time.Now().UnixNano())
	}
	return err
}
