package fanout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"tidings/fanout/wire"
	"tidings/ingest"
)

const (
	// patience is how long one Publish goes on trying: three elections of 4 to 9 s. Then the source has its turn.
	patience = 30 * time.Second

	// ackWait is how long a single acknowledgement may take. A leader that dies takes some with it; nats.go alone would wait for
	// them until the connection breaks.
	ackWait = 5 * time.Second

	defaultPayload = 1 << 20 // max_payload where it is not set

	firstWait, mostWait = 50 * time.Millisecond, 2 * time.Second

	// Unacknowledged bytes over all events. The server drops what does not fit into its own queue of 128 MiB or 100,000
	// messages per stream; a message counts for 16 KiB at least, so that there are never more than 2,048.
	inFlight   = 32 << 20
	inFlightAt = 16 << 10
)

// Publisher stores Records in the log, each exactly once.
type Publisher struct {
	// Fixed at creation.
	js       jetstream.JetStream
	cfg      LogConfig
	patience time.Duration
	log      *slog.Logger
	metrics  *publisherMetrics

	courier *courier
	indexes []*index // by shard
	flying  *semaphore.Weighted
	healing chan struct{} // holds one token while nobody recreates streams
}

// NewPublisher makes a Publisher that uses js and its connection, which should have ReconnectBufSize(-1): what nats.go keeps back
// during an outage and sends after it might come behind the duplicate window.
func NewPublisher(js jetstream.JetStream, cfg LogConfig, log *slog.Logger, reg prometheus.Registerer) *Publisher {
	p := &Publisher{
		js:       js,
		cfg:      cfg,
		patience: patience,
		log:      log,
		metrics:  newPublisherMetrics(reg),
		courier:  newCourier(js.Conn()),
		flying:   semaphore.NewWeighted(inFlight),
		healing:  make(chan struct{}, 1),
	}
	p.healing <- struct{}{}
	for s := range cfg.Shards {
		p.indexes = append(p.indexes, newIndex(js, wire.Stream(s), p.metrics.indexed))
	}
	return p
}

// Shards is the number of shards of the log.
func (p *Publisher) Shards() int { return p.cfg.Shards }

// MaxMessage is what the server takes in one message, headers and body, in bytes; before the first connection, the default of
// all servers: an event must not be found too big because nobody was there to ask.
func (p *Publisher) MaxMessage() int { return cmp.Or(int(p.courier.lineNow().payload), defaultPayload) }

// Publish stores the entries of e and returns nil when all are acknowledged. What could succeed later it tries again with the
// same ids, for 30 s at least, then it returns an error that wraps ingest.ErrUnavailable; what cannot wraps ingest.ErrPermanent.
//
// Before any attempt that is not the first, it asks whether the duplicate window may have passed since an entry can have been
// stored, and if so looks for the entries in the log. After a failure e counts as redelivered: a part may be stored.
func (p *Publisher) Publish(ctx context.Context, entries []Entry, e *ingest.Event) error {
	start := time.Now()
	tried := start // the earliest moment at which an entry can have been stored
	if e.Redelivered {
		tried = e.Stored
	}
	again := e.Redelivered
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		var err error
		if again && p.forgotten(tried) {
			entries, err = p.missing(ctx, entries, tried)
		}
		if err == nil {
			entries, err = p.send(ctx, entries)
		}
		if err == nil {
			p.metrics.latency.Observe(time.Since(start).Seconds())
			return nil
		}
		again, e.Redelivered = true, true
		switch {
		case hopeless(err):
			return ingest.Permanent(fmt.Errorf("store %d records of event %s: %w", len(entries), e.ID, err))
		case ctx.Err() != nil || time.Since(start) > p.patience:
			return fmt.Errorf("store %d records of event %s: %w: %w", len(entries), e.ID, ingest.ErrUnavailable, err)
		}
		p.metrics.retries.Inc()
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) {
			p.heal(ctx)
		}
		pause(ctx, wait)
	}
}

// hopeless tells that the same message can never be stored. A full disk, a full account, a missing leader are not hopeless.
func hopeless(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrInvalidMsg) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum)
}

// heal recreates what an operator deleted. Nobody answers for a stream without a leader either: then it finds nothing to do.
func (p *Publisher) heal(ctx context.Context) {
	select {
	case <-p.healing:
		defer func() { p.healing <- struct{}{} }()
	default:
		return // somebody is at it
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := EnsureLog(ctx, p.js, p.cfg, false); err != nil {
		p.log.Warn("the log does not take records, and its streams could not be checked", "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
