package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// aliveFor is how long a reader counts as following its consumer after the last sign of life. Heartbeats come every second, and
// an election takes 4 to 9 s.
const aliveFor = 12 * time.Second

// lookAgain is how often a reader without room looks whether there is some: other readers' events fill the budget too.
const lookAgain = 50 * time.Millisecond

// reader follows the consumer of one partition and puts its events into lanes.
//
// Order rests on one rule: an event goes into its lane only when every earlier event of the partition that may be unhandled is
// in hand already. The consumer delivers first times in order, so that holds from one delivery to the next as long
// as all go to us. The consumer numbers its deliveries: when a number is missing, or the pin is new, then somebody else got some
// or they were lost on the way, and the reader takes over (takeover.go) before it goes on.
type reader struct {
	// Fixed at creation.
	src      *Source
	consumer string
	filter   string
	lanes    *lanes
	log      *slog.Logger
	heardAt  atomic.Int64 // Unix nanoseconds of the last sign of life of the consumer
	full     atomic.Bool  // it has an event in its hand that there is no room for
	pinned   atomic.Value // string: the pin we read under, for the farewell

	// Owned by run.
	pull   *puller
	pin    string // of the last delivery that went into a lane
	number uint64 // of that delivery
	redo   uint64 // events up to this sequence may have been handled before the consumer was made anew
}

func newReader(s *Source, p int) *reader {
	name := consumerName(p)
	r := &reader{src: s, consumer: name, filter: filter(p), log: s.log.With("consumer", name)}
	r.lanes = newLanes(s, newGrip(s.cfg, r.info))
	r.pinned.Store("")
	return r
}

// run reads until ctx ends, then stays until the lanes are empty or work ends.
func (r *reader) run(ctx, work context.Context) error {
	pull, err := newPuller(r.src.nc, r.consumer, func() { r.heardAt.Store(time.Now().UnixNano()) })
	if err != nil {
		return err
	}
	defer pull.close()
	r.pull = pull
	for ctx.Err() == nil {
		m, err := pull.next(ctx)
		if err == nil {
			err = r.receive(work, m)
		}
		switch {
		case err == nil || ctx.Err() != nil:
		case r.src.nc.IsClosed():
			return fmt.Errorf("follow %s: %w", r.consumer, nats.ErrConnectionClosed)
		default:
			r.trouble(ctx, err)
		}
	}
	pull.leave(work)
	for m := pull.buffered(); m != nil && work.Err() == nil; m = pull.buffered() {
		if r.receive(work, m) != nil {
			break
		}
	}
	r.finish(work)
	return nil
}

// trouble asks the watch to look after the consumer and waits a moment.
func (r *reader) trouble(ctx context.Context, err error) {
	if !errors.Is(err, errGone) {
		r.log.Warn("cannot read events, trying again", "error", err)
	}
	r.src.watch.wake()
	pause(ctx, 250*time.Millisecond)
}

// receive puts a delivery into its lane, after a take-over where one is due.
func (r *reader) receive(ctx context.Context, m *nats.Msg) error {
	d, ok := readReply(m)
	if !ok {
		return errors.New("a message without an acknowledgement subject")
	}
	if d.pin != r.pin || d.number != r.number+1 {
		return r.takeOver(ctx, d)
	}
	r.number = d.number
	return r.accept(ctx, d)
}

// accept hands d to the lanes, waiting for room. It keeps the pin meanwhile: somebody else would meet the same handler.
func (r *reader) accept(ctx context.Context, d *delivery) error {
	again := d.times != 1 || d.msg.Sequence <= r.redo
	defer r.full.Store(false)
	for !r.lanes.put(d, again) {
		r.full.Store(true)
		select {
		case <-r.lanes.room:
		case <-time.After(lookAgain):
			r.pull.keep()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// finish waits until what is in hand is done, and keeps the pin, so that nobody else begins the same.
func (r *reader) finish(work context.Context) {
	for !r.lanes.idle() {
		select {
		case <-r.lanes.room:
		case <-time.After(lookAgain):
			r.pull.keep()
		case <-work.Done():
			return
		}
	}
}

// alive tells whether the consumer has given a sign of life lately. Who has no room does not listen for one: slow, but alive, as long as something
// is being finished.
func (r *reader) alive() bool {
	heard := r.heardAt.Load()
	if r.full.Load() {
		heard = max(heard, r.src.doneAt.Load())
	}
	return time.Since(time.Unix(0, heard)) < aliveFor
}
