package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// watchEvery is how old the known floors are at most: a consumer that is deleted is made anew behind its floor.
	watchEvery = 3 * time.Second

	// stallAfter: events wait, and the consumer has neither delivered nor seen acknowledged any for so long.
	stallAfter = 60 * time.Second
)

// errSetup: a stream or a consumer cannot be made, and waiting does not help.
var errSetup = errors.New("cannot set up NATS")

// watch looks after the streams and consumers: it makes them at the start, makes them again when somebody deleted them, and
// knows whether they move.
type watch struct {
	// Fixed at creation.
	src       *Source
	streams   streams
	consumers consumers
	woken     chan struct{}

	// Owned by check.
	created time.Time // of the stream EVENTS that floors belong to
	floors  [Partitions + 1]uint64
	first   bool // check has succeeded once

	// Guarded by mu.
	mu      sync.Mutex
	problem error
	moves   [Partitions + 1]movement
}

// movement is where a consumer was when it last moved.
type movement struct {
	delivered, floor uint64
	at               time.Time
	waiting          uint64 // events that wait now; 0 when nothing does, or when it is paused
}

func newWatch(s *Source) *watch {
	return &watch{
		src:       s,
		streams:   streams{s.js, s.nc, s.cfg},
		consumers: consumers{s.js},
		woken:     make(chan struct{}, 1),
		problem:   errors.New("streams and consumers are not checked yet"),
	}
}

// wake asks for a check now.
func (w *watch) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// prepare checks until all is there. Its error says what waiting does not help with.
func (w *watch) prepare(ctx context.Context) error {
	for n := 0; ; n++ {
		err := w.check(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case hopeless(err):
			return fmt.Errorf("%w: %w", errSetup, err)
		case n%20 == 0:
			w.src.log.Warn("NATS is not ready for events yet, trying again", "error", err)
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// run checks until ctx ends.
func (w *watch) run(ctx context.Context) {
	var said string
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-w.woken:
		case <-time.After(watchEvery):
		}
		err := w.check(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && said != "":
			w.src.log.Info("streams and consumers of the events are well again")
			said = ""
		case err != nil && err.Error() != said:
			w.src.log.Error("streams or consumers of the events are not well", "error", err)
			said = err.Error()
		}
		pause(ctx, 100*time.Millisecond) // woken by many at once
	}
}

// check makes and heals everything, and learns where the consumers are.
func (w *watch) check(ctx context.Context) error {
	err := w.look(ctx)
	w.mu.Lock()
	w.problem = err
	w.mu.Unlock()
	if err == nil {
		w.first = true
	}
	return err
}

func (w *watch) look(ctx context.Context) error {
	info, did, err := w.streams.ensure(ctx)
	for _, what := range did {
		w.say(what)
	}
	if err != nil {
		return err
	}
	if !info.Created.Equal(w.created) { // its sequences begin anew
		w.created, w.floors = info.Created, [Partitions + 1]uint64{}
	}
	var all sync.WaitGroup
	var errs [Partitions + 1]error
	for p := range Partitions + 1 {
		all.Go(func() { errs[p] = w.lookAt(ctx, p, info.State.LastSeq) })
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// lookAt is called for different partitions at once.
func (w *watch) lookAt(ctx context.Context, p int, last uint64) error {
	c, did, err := w.consumers.ensure(ctx, p, w.floors[p], last)
	if did != "" {
		w.say(did+" consumer "+consumerName(p), "behind", w.floors[p])
	}
	if err != nil || c == nil {
		return err
	}
	w.floors[p] = c.AckFloor.Stream
	w.src.metrics.waiting.WithLabelValues(c.Name).Set(float64(c.NumPending))
	w.src.metrics.unacked.WithLabelValues(c.Name).Set(float64(c.NumAckPending))
	w.mu.Lock()
	w.moves[p].note(c, time.Now())
	w.mu.Unlock()
	return nil
}

func (w *watch) say(what string, more ...any) {
	if !w.first {
		w.src.log.Debug(what, more...)
		return
	}
	w.src.metrics.healed.Inc()
	w.src.log.Warn(what+": it was not as the contract needs it", more...)
}

func (m *movement) note(c *jetstream.ConsumerInfo, now time.Time) {
	if m.at.IsZero() || m.delivered != c.Delivered.Consumer || m.floor != c.AckFloor.Stream {
		m.delivered, m.floor, m.at = c.Delivered.Consumer, c.AckFloor.Stream, now
	}
	if m.waiting = c.NumPending; m.waiting == 0 || c.Paused {
		m.waiting, m.at = 0, now
	}
}

// ready tells what is not well, by the last check.
func (w *watch) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.problem != nil {
		return w.problem
	}
	for p, m := range w.moves {
		if still := time.Since(m.at); m.waiting > 0 && still > stallAfter {
			return fmt.Errorf("consumer %s has not moved for %s, and %d events wait", consumerName(p), still.Round(time.Second), m.waiting)
		}
	}
	return nil
}

// hopeless: the server understood the request and refuses it for what it says. A cluster that is still coming together has no
// room for three copies yet.
func hopeless(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	const (
		noSuitablePeers      = 10005
		replicasNotSupported = 10074 // on a server without a cluster
	)
	return api.ErrorCode == replicasNotSupported || api.Code == 400 && api.ErrorCode != noSuitablePeers
}
