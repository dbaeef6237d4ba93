package fanout

import (
	"context"
	"errors"
	"sync"
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
	numbers []uint64 // of the questions; entries[:len(numbers)] are sent, 0 is one that could not be
	landed  int      // entries[:landed] are acknowledged, or failed
	failed  []Entry
	err     error  // the first
	breaks  uint64 // how often the connection had broken before

	answered []answer // guarded by answers.mu

	// Kept for the next flight.
	news  chan struct{} // holds one when an answer has come since it was last taken
	timer *time.Timer   // runs while land waits
	msg   nats.Msg
}

// answer is what the log said to a message.
type answer struct {
	done bool
	err  error
}

// flights keeps what every flight needs: most have one entry, and then this was half of their cost.
var flights = sync.Pool{New: func() any {
	f := &flight{
		news:  make(chan struct{}, 1),
		timer: time.NewTimer(ackWait),
		msg:   nats.Msg{Header: nats.Header{jetstream.MsgIDHeader: {""}}},
	}
	f.timer.Stop()
	return f
}}

// send publishes entries, and returns those that are not acknowledged, with an error if there are any.
func (p *Publisher) send(ctx context.Context, entries []Entry) ([]Entry, error) {
	// Without this check nats.go could keep the messages, and send them whenever it is connected again.
	if !p.nc.IsConnected() {
		return entries, errDisconnected
	}
	f := flights.Get().(*flight)
	defer f.release()
	f.p, f.entries, f.breaks = p, entries, p.nc.Stats().Reconnects
	f.answered = append(f.answered[:0], make([]answer, len(entries))...)
	for f.err == nil && len(f.numbers) < len(entries) && f.reserve(ctx) {
		f.launch()
	}
	for f.landed < len(f.numbers) {
		f.land(ctx)
	}
	return append(f.failed, entries[len(f.numbers):]...), f.err
}

func (f *flight) release() {
	*f = flight{numbers: f.numbers[:0], answered: f.answered[:0], news: f.news, timer: f.timer, msg: nats.Msg{Header: f.msg.Header}}
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

// launch sends the next entry; its room is reserved.
func (f *flight) launch() {
	e := &f.entries[len(f.numbers)]
	number, reply, err := f.p.answers.ask(f, len(f.numbers))
	if err == nil {
		f.msg.Subject, f.msg.Reply, f.msg.Data = e.Subject, reply, e.Body
		f.msg.Header[jetstream.MsgIDHeader][0] = e.MsgID
		err = f.p.nc.PublishMsg(&f.msg) // has copied all of it when it returns
	}
	if err != nil {
		f.p.answers.forget(number)
		number = 0
		f.fail(e, err)
	}
	f.numbers = append(f.numbers, number)
}

// land waits for the oldest entry that is not acknowledged, and gives its room back.
func (f *flight) land(ctx context.Context) {
	i := f.landed
	f.landed++
	e := &f.entries[i]
	defer f.p.flying.Release(e.weight())
	if f.numbers[i] == 0 {
		return
	}
	if err := f.wait(ctx, i); err != nil {
		f.p.answers.forget(f.numbers[i])
		f.fail(e, err)
		return
	}
	f.p.metrics.acknowledged[e.Kind].Inc()
}

// wait waits for the answer to entry i, for as long as it can come.
func (f *flight) wait(ctx context.Context, i int) error {
	f.timer.Reset(lookEvery)
	defer f.timer.Stop()
	for waited := time.Duration(0); ; {
		if a := f.p.answers.get(f, i); a.done {
			return a.err
		}
		select {
		case <-f.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.timer.C:
			waited += lookEvery
			if !f.p.nc.IsConnected() || f.p.nc.Stats().Reconnects != f.breaks {
				return errDisconnected
			}
			if waited >= ackWait {
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
