package fanout

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	errDisconnected = errors.New("not connected to NATS")
	errAckTimeout   = errors.New("no acknowledgement from NATS in 5 s")
)

// flight is one attempt at publishing entries: sent in order and without waiting for each acknowledgement, as far as the bytes
// in flight allow. It ends with the first error: what follows would fail the same way.
type flight struct {
	p       *Publisher
	entries []Entry
	futures []jetstream.PubAckFuture // entries[:len(futures)] are sent
	landed  int                      // entries[:landed] are acknowledged, or failed
	failed  []Entry
	err     error // the first
}

// send publishes entries, and returns those that are not acknowledged, with an error if there are any.
func (p *Publisher) send(ctx context.Context, entries []Entry) ([]Entry, error) {
	// Without this check nats.go could keep the messages, and send them whenever it is connected again.
	if !p.js.Conn().IsConnected() {
		return entries, errDisconnected
	}
	f := &flight{p: p, entries: entries, futures: make([]jetstream.PubAckFuture, 0, len(entries))}
	for f.err == nil && len(f.futures) < len(entries) && f.reserve(ctx) {
		f.launch()
	}
	for f.landed < len(f.futures) {
		f.land(ctx)
	}
	return append(f.failed, entries[len(f.futures):]...), f.err
}

// reserve waits for room for the next entry. While f has room of its own to give back it waits for that: two big events must
// not hold half of the room each and wait for each other.
func (f *flight) reserve(ctx context.Context) bool {
	w := f.entries[len(f.futures)].weight()
	for f.landed < len(f.futures) {
		if f.p.flying.TryAcquire(w) {
			return true
		}
		f.land(ctx)
		if f.err != nil {
			return false
		}
	}
	f.err = f.p.flying.Acquire(ctx, w)
	return f.err == nil
}

// launch sends the next entry; its room is reserved.
func (f *flight) launch() {
	e := &f.entries[len(f.futures)]
	future, err := f.p.js.PublishMsgAsync(&nats.Msg{
		Subject: e.Subject,
		Header:  nats.Header{jetstream.MsgIDHeader: {e.MsgID}},
		Data:    e.Body,
	})
	if err != nil {
		f.fail(e, err)
	}
	f.futures = append(f.futures, future) // nil after an error
}

// land waits for the oldest entry that is not acknowledged, and gives its room back.
func (f *flight) land(ctx context.Context) {
	e, future := &f.entries[f.landed], f.futures[f.landed]
	f.landed++
	defer f.p.flying.Release(e.weight())
	if future == nil {
		return
	}
	timer := time.NewTimer(ackWait)
	defer timer.Stop()
	select {
	case <-future.Ok():
		f.p.metrics.records.WithLabelValues(e.Kind.String()).Inc()
	case err := <-future.Err():
		f.fail(e, err)
	case <-ctx.Done():
		f.fail(e, context.Cause(ctx))
	case <-timer.C:
		f.fail(e, errAckTimeout)
	}
}

func (f *flight) fail(e *Entry, err error) {
	f.failed = append(f.failed, *e)
	if f.err == nil {
		f.err = err
	}
}

func (e *Entry) weight() int64 { return min(max(int64(len(e.Body)), inFlightAt), inFlight) }
