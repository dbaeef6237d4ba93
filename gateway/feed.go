package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
)

// feed follows one shard's log and keeps the shard's tail. It requires every Record to be the one after the last; where that
// cannot be, because the log was made anew or trimmed past this gateway, the shard's sessions are told.
//
// It reads through a consumer of its own that is never made again behind its back: a consumer that nats.go recreates could
// belong to another incarnation of the stream, with the same sequences for other Records.
type feed struct {
	// Fixed at creation.
	shard   *shard
	js      jetstream.JetStream
	log     *slog.Logger
	metrics *metrics
	warm    int // Records read at the start
	shards  int // of the whole log
	pod     string

	// Owned by Run.
	began bool
	epoch uint64
	head  uint64

	heard   atomic.Int64 // Unix nanoseconds of the last word from the log's leader
	current atomic.Int64 // Unix nanoseconds of the last time that the feed had all the leader has
	lost    atomic.Bool  // the epoch that the leader names is not ours
}

const (
	leaderInterval = 2 * time.Second
	leaderTimeout  = 3 * time.Second
	feedPause      = 100 * time.Millisecond // before a consumer is made anew
	feedBatch      = 256
)

// Run follows until the context ends, or the log turns out to have another number of shards.
func (f *feed) Run(ctx context.Context) error {
	told := "" // an outage is told once
	for {
		cause, err := f.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errShards):
			return err
		}
		f.metrics.feedRestarts.WithLabelValues(cause).Inc()
		if why := fmt.Sprint(cause, f.head, err); why != told {
			f.log.Warn("following the log begins anew", "cause", cause, "seq", f.head, "error", err)
			told = why
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(feedPause):
		}
	}
}

var errShards = errors.New("the log was made anew with another number of shards: start the gateway again")

// ready tells why sessions cannot rely on this feed now.
func (f *feed) ready(patience time.Duration) error {
	lag, open := f.shard.lag()
	silence := time.Since(time.Unix(0, f.heard.Load()))
	switch {
	case !open:
		return errors.New("the log is being read for the first time")
	case silence > patience:
		return fmt.Errorf("no word from the log's leader for %v", silence.Round(time.Second))
	case lag > 0 && time.Since(time.Unix(0, f.current.Load())) > patience:
		return fmt.Errorf("%d records behind the log", lag)
	}
	return nil
}

// follow makes a consumer behind head and takes what it brings, until something is wrong with it.
func (f *feed) follow(ctx context.Context) (cause string, err error) {
	stream, info, err := f.ask(ctx)
	if err != nil {
		return "stream", err
	}
	epoch := wire.Epoch(info.Created, info.Config.Metadata)
	switch {
	case !f.began:
		if err := f.begin(ctx, stream, info, epoch, f.warm); err != nil {
			return "stream", err
		}
		f.began = true
	case epoch != f.epoch:
		was := f.epoch
		if err := f.begin(ctx, stream, info, epoch, 0); err != nil {
			return "stream", err
		}
		f.log.Error("the log is not the one that was followed: every browser of this shard is told to reload", "epoch_before", was, "epoch", epoch)
	default:
		f.passTrimmed()
	}
	return f.consume(ctx, stream, info.State.LastSeq)
}

// passTrimmed goes on to the log's first Record when those behind head have left it.
func (f *feed) passTrimmed() {
	if first, trimmed := f.shard.trimmedPast(f.head); trimmed {
		f.log.Error("the log was trimmed past this gateway: every browser of this shard is told to reload", "seq", f.head, "first_seq", first)
		f.restart(f.epoch, first-1, mark{})
	}
}

func (f *feed) restart(epoch, base uint64, m mark) {
	f.epoch, f.head = epoch, base
	f.lost.Store(false)
	f.shard.restart(epoch, base, m)
}

// begin decides where the tail starts: warm Records before the end of the log. The Record there is only a mark: a scan of the
// log that has seen it has seen everything before the tail.
func (f *feed) begin(ctx context.Context, stream jetstream.Stream, info *jetstream.StreamInfo, epoch uint64, warm int) error {
	first, last := info.State.FirstSeq, info.State.LastSeq
	switch {
	case info.State.Msgs == 0:
		f.restart(epoch, last, mark{})
		return nil
	case last-first < uint64(warm):
		f.restart(epoch, first-1, mark{})
		return nil
	}
	at := last - uint64(warm)
	m, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(fmt.Sprintf("log.%d.>", f.shard.id)))
	if err != nil {
		return fmt.Errorf("read the log at %d: %w", at, err)
	}
	f.restart(epoch, m.Sequence, mark{m.Sequence, part(m.Subject)})
	return nil
}

// ask gets the stream's state from its leader.
func (f *feed) ask(ctx context.Context) (jetstream.Stream, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	asked := time.Now()
	stream, err := f.js.Stream(ctx, wire.Stream(f.shard.id))
	if err != nil {
		return nil, nil, err
	}
	info := stream.CachedInfo()
	if n, err := shardsOf(info); err != nil {
		return nil, nil, err
	} else if n != f.shards {
		return nil, nil, errShards
	}
	f.heard.Store(time.Now().UnixNano())
	if e := wire.Epoch(info.Created, info.Config.Metadata); e == f.shard.epochNow() {
		f.shard.ends(info.State.FirstSeq, info.State.LastSeq, asked)
	} else if f.shard.epochNow() != 0 {
		f.lost.Store(true)
	}
	return stream, info, nil
}

func (f *feed) consume(ctx context.Context, stream jetstream.Stream, end uint64) (cause string, err error) {
	create, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	cons, err := stream.CreateConsumer(create, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.head + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: 30 * time.Second,
		MemoryStorage:     true,
		Replicas:          1,
		Metadata:          map[string]string{ask.MetaPod: f.pod},
	})
	if err != nil {
		return "consumer", err
	}
	// The stream is asked once more: if it still is the one that head belongs to, so is the consumer, which was made in
	// between and ends with the stream.
	if _, info, err := f.ask(ctx); err != nil {
		return "stream", err
	} else if wire.Epoch(info.Created, info.Config.Metadata) != f.epoch {
		return "epoch", nil
	}
	p, err := newPull(f.js.Conn(), wire.Stream(f.shard.id), cons.CachedInfo().Name)
	if err != nil {
		return "consumer", err
	}
	defer p.close() // whatever still comes is dropped: the next consumer begins behind head
	return f.take(ctx, p, end)
}

// take takes Records until the consumer fails, or stops bringing what the leader has.
func (f *feed) take(ctx context.Context, p *pull, end uint64) (string, error) {
	tick := time.NewTicker(leaderInterval)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(ctx)
	asking := make(chan error, 1)
	busy := false
	defer func() {
		if cancel(); busy {
			<-asking
		}
	}()
	fresh := true
	quiet := f.head // at the last tick
	batch := make([]incoming, 0, feedBatch)
	for {
		if f.head >= end {
			f.shard.open()
		}
		select {
		case <-ctx.Done():
			return "", nil
		case m := <-p.msgs:
			var cause string
			var err error
			batch, cause, err = f.gather(ctx, p, m, batch[:0], &fresh)
			f.append(batch)
			if cause != "" {
				return cause, err
			}
		case <-tick.C:
			if f.lost.Load() {
				return "epoch", nil
			}
			if p.silent(time.Now()) {
				return "consumer", errors.New("the consumer is silent")
			}
			lag, _ := f.shard.lag()
			f.metrics.lag.WithLabelValues(strconv.Itoa(f.shard.id)).Set(float64(lag))
			if lag == 0 {
				f.current.Store(time.Now().UnixNano())
			} else if quiet == f.head {
				return "stalled", fmt.Errorf("the log is %d records ahead, and none came for %v", lag, leaderInterval)
			}
			quiet = f.head
			if !busy {
				busy = true
				go func() {
					_, _, err := f.ask(ctx)
					asking <- err
				}()
			}
		case err := <-asking:
			busy = false
			if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, errShards) {
				return "stream", err
			}
		}
	}
}

// gather adds a message to batch, and what has come behind it, until the batch is full. A cause says that nothing more is to be had.
func (f *feed) gather(ctx context.Context, p *pull, m *nats.Msg, batch []incoming, fresh *bool) ([]incoming, string, error) {
	for {
		seq, err := p.take(m)
		if err != nil {
			return batch, "consumer", err
		}
		if seq != 0 {
			in, cause, err := f.decode(ctx, m, seq, *fresh)
			if cause != "" {
				return batch, cause, err
			}
			*fresh = false
			if in.seq != 0 {
				batch = append(batch, in)
			}
			if len(batch) == feedBatch {
				return batch, "", nil
			}
		}
		select {
		case m = <-p.msgs:
			continue
		default:
			runtime.Gosched() // the connection may be in the middle of what it has read
		}
		select {
		case m = <-p.msgs:
		default:
			return batch, "", nil
		}
	}
}

// decode turns a message into the Record behind head. A sequence of 0 says that it was seen already.
func (f *feed) decode(ctx context.Context, m *nats.Msg, seq uint64, fresh bool) (in incoming, cause string, err error) {
	switch {
	case seq <= f.head:
		return in, "", nil
	case seq != f.head+1 && !fresh:
		return in, "gap", fmt.Errorf("record %d came after %d", seq, f.head)
	case seq != f.head+1: // a hole, unless the log was trimmed since the leader was asked
		if _, _, err := f.ask(ctx); err != nil {
			return in, "stream", err
		}
		f.passTrimmed()
		if seq <= f.head { // trimmed meanwhile
			return in, "", nil
		}
	}
	f.head = seq
	in = incoming{seq: seq, part: part(m.Subject)}
	if in.view, err = wire.Parse(m.Data); err != nil {
		f.metrics.badRecords.Inc()
		f.log.Error("a record of the log cannot be read and is skipped", "seq", seq, "error", err)
		in.view = wire.View{}
		return in, "", nil
	}
	in.label = f.metrics.latency.number(in.view.Notification)
	in.traced = f.shard.spans.traced(m, &in.view)
	return in, "", nil
}

func (f *feed) append(batch []incoming) {
	if len(batch) > 0 {
		f.shard.append(batch)
		f.metrics.records.Add(float64(len(batch)))
	}
}

// part is the user partition in a log subject, or mixed.
func part(subject string) int8 {
	p, err := strconv.ParseInt(subject[strings.LastIndexByte(subject, '.')+1:], 10, 8)
	if err != nil || p < 0 || p >= wire.Partitions {
		return mixed
	}
	return int8(p)
}
