package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
)

const (
	// maxBytesInHand bounds the bodies that wait for the handler, of all partitions together.
	maxBytesInHand = 64 << 20

	// grace is how long events in hand may take to be finished when the Source is asked to leave.
	grace = 10 * time.Second
)

// Source reads events and gives them to a handler.
type Source struct {
	// Fixed at creation.
	nc      *nats.Conn
	js      jetstream.JetStream
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	budget  *semaphore.Weighted // bytes in hand
	doneAt  atomic.Int64        // Unix nanoseconds when something was finished last
	watch   *watch
	readers []*reader
	grace   time.Duration

	tracer trace.Tracer // fixed before Run; nil: spans are not made

	// Fixed by Run before it starts anything.
	handle func(context.Context, *Event) error
	work   context.Context // what is in hand may go on, up to grace after Run's context

	crew crew // drives the lanes
	acks acks
}

// NewSource prepares a Source; Run does everything. A nil reg leaves the metrics unseen.
func NewSource(nc *nats.Conn, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	s := &Source{
		nc:      nc,
		js:      js,
		cfg:     cfg,
		log:     log.With("component", "ingest"),
		metrics: newMetrics(reg),
		grace:   grace,
		budget:  semaphore.NewWeighted(maxBytesInHand),
	}
	s.acks.nc = nc
	s.watch = newWatch(s)
	for p := range Partitions + 1 {
		s.readers = append(s.readers, newReader(s, p))
	}
	return s, nil
}

// Run makes the streams and consumers and calls handle for every event until ctx ends: those of one aggregate one after the
// other and in order, those of different aggregates at the same time. It may be called once.
//
// handle returns nil for an event that is dealt with, an error that is ErrPermanent for one that can never be, and one that is
// ErrUnavailable while NATS is away; with any other error it is called again a few times. Its context ends with the attempt.
// An event that comes a second time is marked Redelivered and has the same Key.
//
// When ctx ends, what is in hand is finished within 10 s, and Run returns nil.
func (s *Source) Run(ctx context.Context, handle func(context.Context, *Event) error) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s.handle, s.work = handle, work

	if err := s.watch.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { s.watch.run(work) })
	helpers.Go(func() { s.tend(work) })
	helpers.Go(func() { s.boundGrace(ctx, work, stop) })

	var readers sync.WaitGroup
	errs := make([]error, len(s.readers))
	for i, r := range s.readers {
		readers.Go(func() {
			if errs[i] = r.run(ctx, work); errs[i] != nil {
				leave()
			}
		})
	}
	readers.Wait()
	stop()
	s.crew.up.Wait()
	helpers.Wait()
	s.farewell()
	return errors.Join(errs...)
}

// boundGrace ends the work some time after ctx.
func (s *Source) boundGrace(ctx, work context.Context, stop func()) {
	select {
	case <-ctx.Done():
	case <-work.Done():
		return
	}
	pause(work, s.grace)
	stop()
}

// tend sends away goroutines that are not needed, and keeps the server from delivering again what is in hand, for as long as it takes.
func (s *Source) tend(ctx context.Context) {
	tick := time.NewTicker(progressEvery / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, r := range s.readers {
				for _, ack := range r.lanes.unacked(now) {
					_ = s.nc.Publish(string(ack), []byte("+WPI")) // lost, it is delivered again, and recognised
				}
			}
			s.crew.trim()
		}
	}
}

// farewell gives the partitions back, so that another process goes on at once and not after pinnedTTL.
func (s *Source) farewell() {
	ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
	defer cancel()
	s.acks.end()
	if s.nc.FlushWithContext(ctx) != nil { // the acknowledgements first
		return
	}
	var all sync.WaitGroup
	for _, r := range s.readers {
		all.Go(func() { r.unpin(ctx) })
	}
	all.Wait()
}

// unpin lets go of the partition if we hold it. Where it fails, the pin runs out.
func (r *reader) unpin(ctx context.Context) {
	pin := r.pinned.Load().(string)
	if pin == "" {
		return
	}
	c, err := r.src.js.Consumer(ctx, StreamEvents, r.consumer)
	if err != nil {
		return
	}
	for _, g := range c.CachedInfo().PriorityGroups {
		if g.PinnedClientID == pin {
			stream, err := r.src.js.Stream(ctx, StreamEvents)
			if err == nil {
				_ = stream.UnpinConsumer(ctx, r.consumer, priorityGroup)
			}
		}
	}
}

// Ready tells why this Source does not follow the events, nil when it does: the streams and consumers are there and as they
// must be, every consumer answers, and none stands still while events wait.
func (s *Source) Ready() error {
	if err := s.watch.ready(); err != nil {
		return err
	}
	for _, r := range s.readers {
		if !r.alive() {
			return fmt.Errorf("consumer %s of %s does not answer", r.consumer, StreamEvents)
		}
	}
	return nil
}
