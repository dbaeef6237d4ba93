package integration

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
)

// publish publishes events, those of one aggregate in their order, until enough is said. Each is tried with the same id until it is
// acknowledged, or the context ends.
func (w *world) publish(ctx context.Context, js jetstream.JetStream) error {
	var all sync.WaitGroup
	errs := make([]error, writers)
	for k := range writers {
		all.Go(func() {
			for _, e := range w.events {
				if e.aggregate%writers != k {
					continue
				}
				if !w.take(e) {
					return
				}
				if errs[k] = w.publishOne(ctx, js, e); errs[k] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// take waits until it is time for the next event. It is false when e is beyond the end.
func (w *world) take(e *event) bool {
	w.mu.Lock()
	if e.index >= w.end {
		w.mu.Unlock()
		return false
	}
	w.reached = max(w.reached, e.index)
	at := w.due
	if now := time.Now(); at.Before(now) || w.hasty > 0 { // what an election has held up is not made up for
		at = now
	}
	w.due = at.Add(time.Second / rate)
	w.hasty = max(0, w.hasty-1)
	w.mu.Unlock()
	time.Sleep(time.Until(at))
	return true
}

// hurry lets the next n events happen as fast as they can.
func (w *world) hurry(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hasty = n
}

// enough lets no more happen than has begun, but for the fewest.
func (w *world) enough() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = max(fewest, w.reached+1)
}

func (w *world) publishOne(ctx context.Context, js jetstream.JetStream, e *event) error {
	err := house.Insist(ctx, js, e.message(), func() { w.retries.Add(1) })
	if err == nil {
		w.published.Add(1)
	}
	return err
}
