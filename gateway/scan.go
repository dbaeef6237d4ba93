package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// scan is one reading of the log up to the mark of the tail, for the sessions of one user partition. It reads that partition's
// subject, the mixed one, and the mark's, through a consumer made by the stream's leader: a replica that lags delivers
// late, but having seen the mark is having seen all.
type scan struct {
	// Fixed at creation.
	replay *replay
	shard  *shard
	part   int8
	base   uint64
	mark   mark
	life   uint32
	epoch  uint64

	waiters []*waiter // still to be served
	users   map[string][]*waiter
	groups  map[string][]*waiter

	stream   jetstream.Stream
	consumer jetstream.Consumer
	read     uint64 // stream sequence of the last message
	number   uint64 // its number in the consumer
}

func (sc *scan) add(w *waiter) { sc.waiters = append(sc.waiters, w) }

// run reads until all waiters are served, or something fails. A waiter's position is always true: what it has not got yet
// lies behind it.
func (sc *scan) run(ctx context.Context) error {
	sc.read = sc.waiters[0].pos
	for _, w := range sc.waiters {
		sc.read = min(sc.read, w.pos)
	}
	if sc.mark.seq <= sc.read { // there is nothing between
		sc.finish()
		return nil
	}
	sc.replay.metrics.scans.Inc()
	if err := sc.open(ctx); err != nil {
		return err
	}
	defer sc.close()
	sc.index()
	for len(sc.waiters) > 0 && sc.read < sc.mark.seq {
		if err := sc.step(ctx); err != nil {
			return err
		}
	}
	sc.finish()
	return nil
}

// finish serves those who are left: they have everything up to the tail.
func (sc *scan) finish() {
	for _, w := range sc.waiters {
		w.pos = max(w.pos, sc.base)
		w.serve()
	}
	sc.waiters = nil
}

func (sc *scan) index() {
	sc.users, sc.groups = map[string][]*waiter{}, map[string][]*waiter{}
	for _, w := range sc.waiters {
		sc.users[w.user] = append(sc.users[w.user], w)
		for _, g := range w.groups {
			sc.groups[g] = append(sc.groups[g], w)
		}
	}
}

func (sc *scan) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scanPatience)
	defer cancel()
	var err error
	if sc.stream, err = sc.replay.js.Stream(ctx, wire.Stream(sc.shard.id)); err != nil {
		return err
	}
	filter := []string{wire.Subject(sc.shard.id, int(sc.part)), wire.MixedSubject(sc.shard.id)}
	if sc.mark.part != sc.part && sc.mark.part != mixed {
		filter = append(filter, wire.Subject(sc.shard.id, int(sc.mark.part)))
	}
	sc.consumer, err = sc.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       sc.read + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubjects:    filter,
		InactiveThreshold: 30 * time.Second,
		MemoryStorage:     true,
		Replicas:          1,
	})
	return err
}

func (sc *scan) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = sc.stream.DeleteConsumer(ctx, sc.consumer.CachedInfo().Name) // left alone it ends by itself
}

// step reads one batch, makes sure that nothing was trimmed under it, and moves the waiters on.
func (sc *scan) step(ctx context.Context) error {
	before := sc.read
	found := map[*waiter][]*entry{}
	if err := sc.fetch(ctx, found); err != nil {
		return err
	}
	first, err := sc.first(ctx)
	if err != nil {
		return err
	}
	sc.waiters = slices.DeleteFunc(sc.waiters, func(w *waiter) bool {
		if w.pos+1 < first { // what it missed may have gone before it was read
			w.reset(resetTrimmed)
			return true
		}
		if w.pos >= sc.read {
			return false
		}
		w.list = append(w.list, found[w]...)
		w.pos = sc.read
		if len(w.list) < scanHand {
			return false
		}
		w.serve()
		return true
	})
	sc.index()
	if sc.read == before && len(sc.waiters) > 0 {
		return fmt.Errorf("the log brought nothing after record %d within %v, want up to %d", before, scanPatience, sc.mark.seq)
	}
	return nil
}

// first asks the leader for the log's first sequence, and whether it is still the same log.
func (sc *scan) first(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, scanPatience)
	defer cancel()
	info, err := sc.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	if wire.Epoch(info.Created, info.Config.Metadata) != sc.epoch {
		return 0, errors.New("the log was made anew")
	}
	return info.State.FirstSeq, nil
}

// interestPatience: in a cluster a consumer is made by the stream's leader, and answers from a server to which the way is known a little later. Whoever
// asks before that is told that nobody listens.
const (
	interestPatience = 3 * time.Second
	interestPause    = 20 * time.Millisecond
)

// fetch reads one batch, for what is not known to listen yet more than once.
func (sc *scan) fetch(ctx context.Context, found map[*waiter][]*entry) error {
	for began := time.Now(); ; {
		err := sc.fetchOnce(ctx, found)
		if !errors.Is(err, nats.ErrNoResponders) || time.Since(began) > interestPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(interestPause):
		}
	}
}

func (sc *scan) fetchOnce(ctx context.Context, found map[*waiter][]*entry) error {
	batch, err := sc.consumer.Fetch(scanBatch, jetstream.FetchMaxWait(scanPatience))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != sc.number+1 {
			return fmt.Errorf("message %d of the scan came after %d", meta.Sequence.Consumer, sc.number)
		}
		sc.number, sc.read = meta.Sequence.Consumer, meta.Sequence.Stream
		sc.match(meta.Sequence.Stream, m, found)
		if sc.read >= sc.mark.seq {
			return nil
		}
	}
	if err := batch.Error(); err != nil && sc.number == 0 {
		return err
	}
	return ctx.Err()
}

// match finds the waiters that a Record is for. Those beyond the mark are in the tail.
func (sc *scan) match(seq uint64, m jetstream.Msg, found map[*waiter][]*entry) {
	sc.replay.metrics.scanned.Inc()
	v, err := wire.Parse(m.Data())
	if err != nil || seq > sc.base {
		return // the feed has counted and logged it
	}
	var e *entry
	offer := func(list []*waiter) {
		for _, w := range list {
			if seq <= w.pos || v.Excepts(w.user, w.groups) {
				continue
			}
			if e == nil {
				e = newEntry(wire.Cursor{Shard: sc.shard.id, Epoch: sc.epoch, Seq: seq}, sc.life, part(m.Subject()), &v)
			}
			if l := found[w]; len(l) == 0 || l[len(l)-1] != e {
				found[w] = append(l, e)
			}
		}
	}
	switch v.Kind {
	case wire.Users:
		for _, u := range v.Users.All() {
			offer(sc.users[string(u)])
		}
	case wire.Group:
		offer(sc.groups[string(v.Group)])
	case wire.All:
		offer(sc.waiters)
	}
}
