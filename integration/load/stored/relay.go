package stored

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// inHand is how many events may be between delivery and acknowledgement: so many that nobody waits for it, and far from the 100,000
	// messages of a stream's queue in the server.
	inHand = 4096

	startWithin = 10 * time.Second
	storeWithin = 10 * time.Second
)

// relay copies events into LOG.
type relay struct {
	// Fixed at creation.
	fail context.CancelCauseFunc
	js   jetstream.JetStream

	// Guarded by mu.
	mu     sync.Mutex
	events map[*nats.Msg]jetstream.Msg // by their copies, which are under way
}

// Relay makes the streams, calls ready when it takes events, and copies them until ctx ends. An event that could not be stored ends it
// too.
func Relay(ctx context.Context, url string, ready func()) error {
	nc, err := nats.Connect(url, nats.Name("relay"))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", url, err)
	}
	defer nc.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &relay{fail: fail, events: map[*nats.Msg]jetstream.Msg{}}
	r.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(inHand), jetstream.WithPublishAsyncTimeout(storeWithin),
		jetstream.WithPublishAsyncAckHandler(r.stored),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { fail(fmt.Errorf("store an event again: %w", err)) }))
	if err != nil {
		return err
	}
	consuming, err := r.consume(ctx)
	if err != nil {
		return err
	}
	defer consuming.Stop()
	ready()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// consume starts the only consumer of EVENTS.
func (r *relay) consume(ctx context.Context) (jetstream.ConsumeContext, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := streams(ctx, r.js); err != nil {
		return nil, err
	}
	c, err := r.js.CreateConsumer(ctx, events, jetstream.ConsumerConfig{Durable: "relay", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: inHand})
	if err != nil {
		return nil, fmt.Errorf("create the consumer of %s: %w", events, err)
	}
	return c.Consume(r.copy, jetstream.PullMaxMessages(inHand)) // it goes on by itself after what it would report
}

// copy publishes an event as it is. Its sequence is the id of the copy, so that a redelivery stores nothing twice.
func (r *relay) copy(event jetstream.Msg) {
	meta, err := event.Metadata()
	if err != nil {
		r.fail(err)
		return
	}
	m := &nats.Msg{Subject: prefix + event.Subject(), Data: event.Data(),
		Header: nats.Header{jetstream.MsgIDHeader: {strconv.FormatUint(meta.Sequence.Stream, 10)}}}
	r.mu.Lock()
	r.events[m] = event
	r.mu.Unlock()
	if _, err := r.js.PublishMsgAsync(m); err != nil {
		r.fail(fmt.Errorf("publish an event again: %w", err))
	}
}

// stored acknowledges the event of which the copy is stored.
func (r *relay) stored(_ jetstream.JetStream, m *nats.Msg, _ *jetstream.PubAck) {
	r.mu.Lock()
	event := r.events[m]
	delete(r.events, m)
	r.mu.Unlock()
	if err := event.Ack(); err != nil {
		r.fail(fmt.Errorf("acknowledge an event: %w", err))
	}
}
