package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// watchEvery is how old the known floors are at most: a consumer that is deleted is made anew behind its floor.
const watchEvery = 3 * time.Second

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
	began   bool // check has succeeded once

	// Guarded by mu.
	mu      sync.Mutex
	problem error
	moves   [Partitions + 1]movement
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
		case errors.Is(err, errSetup):
			return err
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
	failed := 0
	for {
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
		case err != nil:
			if failed%20 == 0 {
				w.src.log.Warn("streams or consumers of the events are not well", "error", err)
			}
			failed++
		case failed > 0:
			w.src.log.Info("streams and consumers of the events are well again")
			failed = 0
		}
		pause(ctx, 300*time.Millisecond) // woken by many at once
	}
}

// check makes and heals everything, and learns where the consumers are.
func (w *watch) check(ctx context.Context) error {
	err := w.look(ctx)
	w.mu.Lock()
	w.problem = err
	w.mu.Unlock()
	if err == nil {
		w.began = true
	}
	return err
}

func (w *watch) look(ctx context.Context) error {
	info, did, err := w.streams.ensure(ctx)
	for name, did := range did {
		w.say(did, w.src.log.With("stream", name))
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
	return firstOf(errs[:])
}

// firstOf is the first error and the number of the others: one line, where all would be seventeen.
func firstOf(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}

// lookAt is called for different partitions at once.
func (w *watch) lookAt(ctx context.Context, p int, last uint64) error {
	c, did, err := w.consumers.ensure(ctx, p, w.floors[p], last)
	if did != "" {
		w.say(did, w.src.log.With("stream", StreamEvents, "consumer", consumerName(p), "seq", w.floors[p]))
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

// say tells what was done: at the start the usual, later an accident of somebody's.
func (w *watch) say(did string, log *slog.Logger) {
	if !w.began {
		log.Debug("a stream or consumer was set up", "did", did)
		return
	}
	w.src.metrics.healed.Inc()
	if did == didCreate {
		log.Warn("a stream or consumer was gone and is made again")
	} else {
		log.Warn("a stream or consumer was changed and is put right")
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
		storageExceeded      = 10047 // TIDINGS_EVENTS_MAX_BYTES is more than the disk has
		replicasNotSupported = 10074 // on a server without a cluster
	)
	return api.ErrorCode == storageExceeded || api.ErrorCode == replicasNotSupported || api.Code == 400 && api.ErrorCode != noSuitablePeers
}
