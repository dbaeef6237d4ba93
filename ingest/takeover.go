package ingest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// takeOver: d comes after deliveries that we have not seen. Those that are not acknowledged would come back only after
// AckWait, behind newer events of the same aggregates. So the reader first takes every event between the consumer's floor and
// its last delivery from the stream itself, in order; what is in hand or done already, the lanes recognise. A
// redelivery that follows is recognised as well.
func (r *reader) takeOver(ctx context.Context, d *delivery) error {
	info, err := r.info(ctx)
	if err != nil {
		r.pin, r.number = "", 0
		return err // d and what follows come again: nothing was acknowledged
	}
	r.redo = redoUntil(info.Config.Metadata)
	got := r.gather(d)
	last := got[len(got)-1]
	if !complete(info, d) {
		r.log.Info("taking over events that were delivered before", "first_seq", info.AckFloor.Stream+1, "last_seq", info.Delivered.Stream, "unacknowledged", info.NumAckPending)
		r.src.metrics.takeOvers.Inc()
		if err := r.readStream(ctx, info, d, got); err != nil {
			r.pin, r.number = "", 0
			return err
		}
	}
	slices.SortStableFunc(got, func(a, b *delivery) int { return cmp.Compare(a.msg.Sequence, b.msg.Sequence) })
	for _, d := range got {
		if err := r.accept(ctx, d); err != nil {
			r.pin, r.number = "", 0
			return err
		}
	}
	r.pin, r.number = last.pin, last.number
	r.pinned.Store(last.pin)
	return nil
}

// gather is d and what has arrived behind it without a gap, under the same pin.
func (r *reader) gather(d *delivery) []*delivery {
	got := []*delivery{d}
	for len(got) < pullBatch {
		m := r.pull.buffered()
		if m == nil {
			break
		}
		next, ok := readReply(m)
		if !ok || next.pin != d.pin || next.number != got[len(got)-1].number+1 {
			break // the next delivery's number will not fit, and that is another take-over
		}
		got = append(got, next)
	}
	return got
}

// complete: whatever is unacknowledged was delivered with d or after it, and so to us. So it is at every start without an
// accident before it, and nothing has to be read.
func complete(info *jetstream.ConsumerInfo, d *delivery) bool {
	return d.times == 1 && info.AckFloor.Consumer+1 >= d.number
}

// readStream accepts the partition's events between the consumer's floor and its last delivery.
func (r *reader) readStream(ctx context.Context, info *jetstream.ConsumerInfo, first *delivery, got []*delivery) error {
	delivered := make(map[eventID]*delivery, len(got))
	for _, d := range got {
		delivered[d.id()] = d
	}
	end := info.Delivered.Stream
	for seq := info.AckFloor.Stream + 1; seq <= end; seq++ {
		m, err := r.read(ctx, seq)
		if err != nil {
			return err
		}
		if m == nil || m.Sequence > end {
			break
		}
		seq = m.Sequence
		d := &delivery{msg: m, ack: first.ack.forEvent(m), pin: first.pin}
		if own := delivered[d.id()]; own != nil {
			d = own // it knows how often it was delivered
		}
		if err := r.accept(ctx, d); err != nil {
			return err
		}
		r.pull.keep()
	}
	return nil
}

// read returns the partition's first event from seq on, nil when there is none. The leader answers: a replica might not have
// what the consumer has delivered.
func (r *reader) read(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		m, err := getFromLeader(ctx, r.src.nc, seq, r.filter)
		if err == nil {
			return m, nil
		}
		if ctx.Err() != nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		pause(ctx, wait)
	}
}

// info is the consumer's state by its leader.
func (r *reader) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		try, cancel := context.WithTimeout(ctx, apiTimeout)
		c, err := r.src.js.Consumer(try, StreamEvents, r.consumer)
		cancel()
		if err == nil {
			return c.CachedInfo(), nil
		}
		if ctx.Err() != nil || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		pause(ctx, wait)
	}
}
