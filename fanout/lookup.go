package fanout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

const (
	// slack is how far back before an event's own time its Records are looked for: the clocks of the servers differ.
	slack = time.Minute

	// lookupIdle is how long a search may stand still. A replica that lags is milliseconds behind; an election takes up to 9 s,
	// and then the next attempt searches again.
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
	found := make(map[string]bool, len(entries)) // by id; false: still looked for
	subjects := map[int]map[string]bool{}        // by shard
	for _, e := range entries {
		found[e.MsgID] = false
		if subjects[e.Shard] == nil {
			subjects[e.Shard] = map[string]bool{}
		}
		subjects[e.Shard][e.Subject] = true
	}
	for shard, set := range subjects {
		s := search{p.js, wire.Stream(shard), slices.Sorted(maps.Keys(set)), since.Add(-slack)}
		if err := s.run(ctx, found); err != nil {
			return entries, fmt.Errorf("look for records in %s: %w", wire.Stream(shard), err)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return found[e.MsgID] })
	p.metrics.lookups.WithLabelValues("found").Add(float64(len(entries) - len(missing)))
	p.metrics.lookups.WithLabelValues("missing").Add(float64(len(missing)))
	return missing, nil
}

// search reads the ids that a stream holds under some subjects since some time.
type search struct {
	js       jetstream.JetStream
	stream   string
	subjects []string
	since    time.Time
}

// run marks in found what it meets. It has read everything only when it has seen the last message that the stream's leader
// knows: a consumer may live on a replica that lags, and would end earlier without a sign.
func (s search) run(ctx context.Context, found map[string]bool) error {
	last, err := s.last(ctx)
	if err != nil || last == 0 {
		return err
	}
	c, err := s.js.OrderedConsumer(ctx, s.stream, jetstream.OrderedConsumerConfig{
		FilterSubjects:    s.subjects,
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &s.since,
		HeadersOnly:       true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	defer s.remove(c)
	// Without a sign of life for twice this long it makes another consumer, perhaps on another replica: one on a server
	// that has just come back may stay silent.
	it, err := c.Messages(jetstream.PullHeartbeat(500 * time.Millisecond))
	if err != nil {
		return err
	}
	defer it.Stop()
	defer context.AfterFunc(ctx, it.Stop)()
	for {
		m, err := it.Next(jetstream.NextMaxWait(lookupIdle))
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		id := m.Headers().Get(jetstream.MsgIDHeader)
		if _, ok := found[id]; ok {
			found[id] = true
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream >= last {
			return nil
		}
	}
}

// remove deletes the consumer of a search. Left to its InactiveThreshold, the consumers of a take-over with many events would reach the
// thousand that a stream may have, and then nobody could follow the log any more, gateways neither.
func (s search) remove(c jetstream.Consumer) {
	info := c.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupIdle)
	defer cancel()
	_ = s.js.DeleteConsumer(ctx, s.stream, info.Name) // otherwise it goes by itself, a minute later
}

// last is the sequence at which the search ends: the newest message of all subjects, as the stream's leader has it; 0 when
// none of them is new enough.
func (s search) last(ctx context.Context) (uint64, error) {
	var last uint64
	for _, subject := range s.subjects {
		seq, stored, err := s.lastOf(ctx, subject)
		if err != nil {
			return 0, err
		}
		if !stored.Before(s.since) {
			last = max(last, seq)
		}
	}
	return last, nil
}

// lastOf asks the leader for the newest message of a subject; 0 when there is none. jetstream.Stream.GetLastMsgForSubject will
// not do: on a stream with AllowDirect any replica answers it.
func (s search) lastOf(ctx context.Context, subject string) (uint64, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupIdle)
	defer cancel()
	question, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return 0, time.Time{}, err
	}
	msg, err := s.js.Conn().RequestWithContext(ctx, apiPrefix(s.js)+"STREAM.MSG.GET."+s.stream, question)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("ask for the newest record of %s: %w", subject, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return 0, time.Time{}, fmt.Errorf("ask for the newest record of %s: %w", subject, err)
	}
	switch {
	case answer.Error == nil:
		return answer.Message.Sequence, answer.Message.Time, nil
	case answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return 0, time.Time{}, nil
	}
	return 0, time.Time{}, fmt.Errorf("ask for the newest record of %s: %w", subject, answer.Error)
}

func apiPrefix(js jetstream.JetStream) string {
	o := js.Options()
	switch {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}
