package fanout

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/fanout/wire"
)

const (
	// slack is how far back before an event's own time its Records are looked for: the clocks of the servers differ.
	slack = time.Minute

	// head is how much earlier than asked an index begins: behind a crash the events of all partitions come back, and
	// the first one asked about is not the oldest.
	head = time.Minute

	// indexIdle is how long an index is kept after the last question.
	indexIdle = time.Minute

	// lookupIdle is how long a search may stand still. A replica that lags is milliseconds behind; an election takes up to 9 s,
	// and then the next attempt goes on from there.
	lookupIdle = 5 * time.Second
)

// forgotten tells whether the log's duplicate window may have dropped an id that was stored at that moment. The margin covers
// what lies between this question and the store: one acknowledgement, and clocks that differ.
func (p *Publisher) forgotten(stored time.Time) bool {
	margin := min(p.cfg.Duplicates/4, 30*time.Second)
	return time.Since(stored) > p.cfg.Duplicates-margin
}

// missing looks for entries in the log, among the Records stored since then, and returns those that are not there.
func (p *Publisher) missing(ctx context.Context, entries []Entry, since time.Time) ([]Entry, error) {
	sets := make([]*idSet, len(p.indexes)) // of the shards that entries are in
	for _, e := range entries {
		if sets[e.Shard] != nil {
			continue
		}
		var err error
		if sets[e.Shard], err = p.indexes[e.Shard].ask(ctx, since.Add(-slack)); err != nil {
			return entries, fmt.Errorf("look for records in %s: %w", wire.Stream(e.Shard), err)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return sets[e.Shard].has(e.MsgID) })
	p.metrics.lookups.WithLabelValues("found").Add(float64(len(entries) - len(missing)))
	p.metrics.lookups.WithLabelValues("missing").Add(float64(len(missing)))
	return missing, nil
}

// index answers which ids a shard of the log holds. It reads the log once for all who ask: behind a crash that may be every
// event of a backlog, and each would have to read what the others have stored. It goes on from where it has read to, for
// as long as somebody asks, and is dropped a minute later.
type index struct {
	// Fixed at creation.
	js     jetstream.JetStream
	stream string
	read   prometheus.Counter
	turn   chan struct{} // holds one token while nobody reads
	idle   *time.Timer   // runs forget

	// Guarded by mu.
	mu   sync.Mutex
	next *pass // will be made by whoever has the turn next; nil: nobody waits

	// Owned by the holder of turn.
	set *idSet
}

// pass is one reading of the log, up to what the leader had when it began, for all who asked before it began.
type pass struct {
	since time.Time // the earliest that anybody asked for; guarded by index.mu until the pass begins

	// Written before done is closed.
	done chan struct{}
	set  *idSet
	err  error
	left bool // whoever made it gave up: those who still want to know make another
}

func newIndex(js jetstream.JetStream, stream string, read prometheus.Counter) *index {
	x := &index{js: js, stream: stream, read: read, turn: make(chan struct{}, 1)}
	x.turn <- struct{}{}
	x.idle = time.AfterFunc(indexIdle, x.forget)
	x.idle.Stop()
	return x
}

// ask returns a set with every id that the shard held when ask was called, and that was stored at or after since.
func (x *index) ask(ctx context.Context, since time.Time) (*idSet, error) {
	for {
		p := x.join(since)
		select {
		case <-x.turn:
			x.make(ctx, p)
			x.turn <- struct{}{}
		case <-p.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if !p.left || ctx.Err() != nil {
			return p.set, p.err
		}
	}
}

// join takes part in the pass that has not begun yet.
func (x *index) join(since time.Time) *pass {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.next == nil {
		x.next = &pass{since: since, done: make(chan struct{})}
	}
	if since.Before(x.next.since) {
		x.next.since = since
	}
	return x.next
}

// make makes p unless it is made already. The caller has the turn.
func (x *index) make(ctx context.Context, p *pass) {
	select {
	case <-p.done:
		return
	default:
	}
	x.mu.Lock()
	x.next = nil
	x.mu.Unlock()
	x.idle.Stop()
	p.err = x.refresh(ctx, p.since)
	p.set, p.left = x.set, ctx.Err() != nil
	x.idle.Reset(indexIdle)
	close(p.done)
}

// forget gives the memory back, unless somebody is reading.
func (x *index) forget() {
	select {
	case <-x.turn:
		x.set = nil
		x.turn <- struct{}{}
	default:
	}
}

// refresh reads on, up to the last message that the stream's leader knows: a consumer may live on a replica that lags, and
// would end earlier without a sign.
func (x *index) refresh(ctx context.Context, since time.Time) error {
	stream, err := x.js.Stream(ctx, x.stream) // the leader answers
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	if x.set == nil || since.Before(x.set.from) || !x.set.created.Equal(info.Created) {
		x.set = &idSet{from: since.Add(-head), created: info.Created, seed: maphash.MakeSeed(), ids: map[uint64]struct{}{}}
	}
	last := info.State.LastSeq
	switch {
	case last <= x.set.upTo:
		return nil
	case info.State.Msgs == 0 || info.State.LastTime.Before(x.set.from):
		x.set.upTo = last
		return nil
	}
	return x.readTo(ctx, last)
}

// readTo adds the ids of the messages behind the last one read, up to that sequence. What was read before an error stays.
func (x *index) readTo(ctx context.Context, last uint64) error {
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &x.set.from,
		HeadersOnly:       true,
		InactiveThreshold: time.Minute,
	}
	if x.set.upTo > 0 {
		cfg.DeliverPolicy, cfg.OptStartTime, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, nil, x.set.upTo+1
	}
	c, err := x.js.OrderedConsumer(ctx, x.stream, cfg)
	if err != nil {
		return err
	}
	defer x.remove(c)
	// Without a sign of life for twice this long it makes another consumer, perhaps on another replica: one on a server
	// that has just come back may stay silent.
	it, err := c.Messages(jetstream.PullHeartbeat(500*time.Millisecond), jetstream.PullMaxMessages(2000))
	if err != nil {
		return err
	}
	defer it.Stop()
	defer context.AfterFunc(ctx, it.Stop)()
	for x.set.upTo < last {
		m, err := it.Next(jetstream.NextMaxWait(lookupIdle))
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		x.read.Inc()
		x.set.add(m.Headers().Get(jetstream.MsgIDHeader))
		x.set.upTo = meta.Sequence.Stream
	}
	return nil
}

// remove deletes the consumer of a pass. Left to their InactiveThreshold, the consumers of many passes would reach the thousand
// that a stream may have, and then nobody could follow the log any more, gateways neither.
func (x *index) remove(c jetstream.Consumer) {
	info := c.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupIdle)
	defer cancel()
	_ = x.js.DeleteConsumer(ctx, x.stream, info.Name) // otherwise it goes by itself, a minute later
}

// idSet holds ids as hashes of 64 bits, which is all the map has of each: a backlog of an hour may have millions. Two of ten million ids share
// one with a probability of 3 in a million, one that is asked for and missing is taken for found with one in 10^12.
type idSet struct {
	// Fixed at creation.
	from    time.Time
	created time.Time // of the stream
	seed    maphash.Seed

	upTo uint64 // owned by the index: the last sequence read

	// Guarded by mu.
	mu  sync.RWMutex
	ids map[uint64]struct{}
}

func (s *idSet) add(id string) {
	h := maphash.String(s.seed, id)
	s.mu.Lock()
	s.ids[h] = struct{}{}
	s.mu.Unlock()
}

func (s *idSet) has(id string) bool {
	h := maphash.String(s.seed, id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.ids[h]
	return ok
}
