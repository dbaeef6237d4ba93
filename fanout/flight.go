package fanout

import (
	"context"
	"errors"
	"sync"
	"time"
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
	numbers []uint64 // of the courier; entries[:len(numbers)] are sent
	landed  int      // entries[:landed] are acknowledged, or failed
	failed  []Entry
	err     error // the first

	answers []answer // guarded by courier.mu

	// Kept for the next flight.
	news  chan struct{} // holds one when an answer has come since it was last taken
	timer *time.Timer   // runs while wait waits
}

// answer is what is known about one entry.
type answer struct {
	sent   bool
	breaks uint64 // of the connection, before it was sent
	done   bool
	err    error
}

// flights keeps what every flight needs: most have one entry, and then this was half of their cost.
var flights = sync.Pool{New: func() any {
	f := &flight{news: make(chan struct{}, 1), timer: time.NewTimer(ackWait)}
	f.timer.Stop()
	return f
}}

// send publishes entries, and returns those that are not acknowledged, with an error if there are any.
func (p *Publisher) send(ctx context.Context, entries []Entry) ([]Entry, error) {
	f := flights.Get().(*flight)
	defer f.release()
	f.p, f.entries = p, entries
	f.answers = append(f.answers, make([]answer, len(entries))...)
	for f.err == nil && len(f.numbers) < len(entries) && f.reserve(ctx) {
		f.numbers = append(f.numbers, p.courier.send(f, len(f.numbers)))
	}
	for f.landed < len(f.numbers) {
		f.land(ctx)
	}
	return append(f.failed, entries[len(f.numbers):]...), f.err
}

func (f *flight) release() {
	*f = flight{numbers: f.numbers[:0], answers: f.answers[:0], news: f.news, timer: f.timer}
	flights.Put(f)
}

// reserve waits for room for the next entry. While f has room of its own to give back it waits for that: two big events must
// not hold half of the room each and wait for each other.
func (f *flight) reserve(ctx context.Context) bool {
	w := f.entries[len(f.numbers)].weight()
	for f.landed < len(f.numbers) {
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

// land waits for the oldest entry that is not acknowledged, and gives its room back.
func (f *flight) land(ctx context.Context) {
	i := f.landed
	f.landed++
	e := &f.entries[i]
	defer f.p.flying.Release(e.weight())
	if err := f.wait(ctx, i); err != nil {
		f.p.courier.forget(f.numbers[i])
		f.fail(e, err)
		return
	}
	f.p.metrics.acknowledged[e.Kind].Inc()
}

// wait waits for the answer to entry i, for as long as it can come.
func (f *flight) wait(ctx context.Context, i int) error {
	c := f.p.courier
	f.timer.Reset(lookEvery)
	defer f.timer.Stop()
	for began := time.Now(); ; {
		a := c.get(f, i)
		if a.done {
			return a.err
		}
		select {
		case <-f.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-f.timer.C:
			if l := c.lineNow(); !l.up || a.sent && l.breaks != a.breaks {
				return errDisconnected
			}
			if now.Sub(began) >= ackWait {
				return errAckTimeout
			}
			f.timer.Reset(lookEvery)
		}
	}
}

func (f *flight) fail(e *Entry, err error) {
	f.failed = append(f.failed, *e)
	if f.err == nil {
		f.err = err
	}
}

func (e *Entry) weight() int64 { return min(max(int64(len(e.Body)), inFlightAt), inFlight) }
