package inquiry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// Event is what EVENTS has about an event.
type Event struct {
	Sequence    uint64    `json:"sequence"`
	Stored      time.Time `json:"stored"`
	Subject     string    `json:"subject"` // as published
	ID          string    `json:"id"`
	Key         string    `json:"key,omitempty"`
	Type        string    `json:"type,omitempty"`
	Source      string    `json:"source,omitempty"`
	Time        time.Time `json:"time,omitzero"`
	Bytes       int       `json:"bytes"`
	TraceParent string    `json:"traceparent,omitempty"`
	Broken      string    `json:"broken,omitempty"` // why it cannot be decoded

	raw *jetstream.RawStreamMsg
}

func newEvent(m *jetstream.RawStreamMsg) *Event {
	e := &Event{Sequence: m.Sequence, Stored: m.Time.UTC(), Subject: ingest.Published(m.Subject), ID: m.Header.Get(nats.MsgIdHdr), Bytes: len(m.Data), raw: m}
	d, err := ingest.Decode(m)
	if err != nil {
		e.Broken = err.Error()
		return e
	}
	e.ID, e.Key, e.Type, e.Source, e.Time, e.TraceParent = d.ID, d.Key, d.Type, d.Source, d.Time.UTC(), d.TraceParent
	return e
}

// sequencePrefix in front of an id says that it is the sequence of an event in EVENTS, as dead letters and logs name it.
const sequencePrefix = "seq:"

// maxSame is how many events of one id are told apart.
const maxSame = 5

// event finds the newest event with that id, and how many more there are where it was found.
func (s *Search) event(ctx context.Context, id string, b *budget) (e *Event, others int, w Walk, err error) {
	w.Stream = ingest.StreamEvents
	if text, ok := strings.CutPrefix(id, sequencePrefix); ok {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil || seq == 0 {
			return nil, 0, w, fmt.Errorf("%w: %q is no sequence of an event: want %s1042", errQuestion, text, sequencePrefix)
		}
		m, err := s.get(ctx, ingest.StreamEvents, seq)
		if m == nil || err != nil {
			return nil, 0, w, err
		}
		return newEvent(m), 0, w, nil
	}
	var found []*jetstream.RawStreamMsg
	err = s.walkBack(ctx, span{stream: ingest.StreamEvents}, b, &w, func(m *jetstream.RawStreamMsg) {
		if ingest.Is(m, id) {
			if len(found) == maxSame {
				found = found[1:]
			}
			found = append(found, m)
		}
	}, func() bool { return len(found) > 0 })
	if len(found) == 0 {
		return nil, 0, w, err
	}
	return newEvent(found[len(found)-1]), len(found) - 1, w, nil
}

// get reads one message from a stream's leader; nil where there is none.
func (s *Search) get(ctx context.Context, name string, seq uint64) (*jetstream.RawStreamMsg, error) {
	stream, err := s.stream(ctx, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read message %d of %s: %w", seq, name, inWords(err))
	}
	return m, nil
}

// Dead is a dead letter of the event.
type Dead struct {
	Sequence   uint64    `json:"sequence"` // in the DLQ
	At         time.Time `json:"at"`
	Reason     string    `json:"reason"`
	Rule       string    `json:"rule,omitempty"`
	Expression string    `json:"expression,omitempty"`
	Attempts   int       `json:"attempts,omitempty"`
	Event      uint64    `json:"event,omitempty"` // its sequence in EVENTS
	Subject    string    `json:"subject"`

	stored time.Time
}

// dead looks for the event in the DLQ: for this one where e is known, by its id otherwise.
func (s *Search) dead(ctx context.Context, id string, e *Event, b *budget) (d *Dead, w Walk, err error) {
	w.Stream = ingest.StreamDLQ
	take := func(m *jetstream.RawStreamMsg) {
		l := ingest.ReadDeadLetter(m)
		d = &Dead{Sequence: m.Sequence, At: m.Time.UTC(), Reason: l.Reason, Rule: l.Rule, Expression: l.Expression, Attempts: l.Attempts,
			Event: l.Sequence, Subject: l.Subject, stored: l.Stored}
	}
	if e == nil {
		if strings.HasPrefix(id, sequencePrefix) {
			return nil, w, nil
		}
		err = s.walkBack(ctx, span{stream: ingest.StreamDLQ}, b, &w, func(m *jetstream.RawStreamMsg) {
			if ingest.Is(m, id) || ingest.Is(ingest.ReadDeadLetter(m).Event, id) {
				take(m)
			}
		}, func() bool { return d != nil })
		return d, w, err
	}
	stream, err := s.stream(ctx, ingest.StreamDLQ)
	if err != nil {
		return nil, w, err
	}
	// It was buried after it was stored; the clocks of the servers differ.
	sp := span{stream: ingest.StreamDLQ, subjects: []string{ingest.DeadLetterSubject(e.Subject)}, since: e.Stored.Add(-clocks), to: stream.CachedInfo().State.LastSeq}
	err = s.walk(ctx, sp, b, &w, func(m *jetstream.RawStreamMsg) bool {
		if l := ingest.ReadDeadLetter(m); l.Sequence == e.Sequence && l.Stored.Equal(e.Stored) {
			take(m)
		}
		return d == nil
	})
	if d != nil {
		w.Stopped = ""
	}
	return d, w, err
}

// clocks is by how much those of servers may differ.
const clocks = time.Minute

// Handling is where the event is among what its consumer has given to the fanouts.
type Handling struct {
	Consumer  string    `json:"consumer"`
	State     string    `json:"state"` // "handled", "in hand", "waiting", "unknown"
	Ahead     uint64    `json:"ahead,omitempty"`
	Paused    time.Time `json:"paused,omitzero"`
	Worker    bool      `json:"worker"` // a fanout is working on this partition
	Error     string    `json:"error,omitempty"`
	delivered uint64
}

// States of an event at its consumer.
const (
	handled   = "handled"
	inHand    = "in hand" // delivered, and not known to be acknowledged
	waiting   = "waiting"
	isUnknown = "unknown"
)

func (s *Search) handling(ctx context.Context, e *Event) Handling {
	h := Handling{Consumer: ingest.ConsumerOf(e.raw.Subject), State: isUnknown}
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	c, err := s.JS.Consumer(ctx, ingest.StreamEvents, h.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		h.Error = "the consumer does not exist: the fanout role makes it; is it running?"
		return h
	}
	if err != nil {
		h.Error = inWords(err).Error()
		return h
	}
	info := c.CachedInfo()
	for _, g := range info.PriorityGroups {
		h.Worker = h.Worker || g.PinnedClientID != ""
	}
	if info.Paused && info.Config.PauseUntil != nil {
		h.Paused = info.Config.PauseUntil.UTC()
	}
	switch h.delivered = info.Delivered.Stream; {
	case e.Sequence <= info.AckFloor.Stream:
		h.State = handled
	case e.Sequence <= info.Delivered.Stream && info.NumAckPending == 0:
		h.State = handled
	case e.Sequence <= info.Delivered.Stream:
		h.State = inHand
	default:
		h.State, h.Ahead = waiting, info.NumPending
	}
	return h
}

// shards is how many the log has; 0 where that is not known.
func (s *Search) shards(ctx context.Context) int {
	stream, err := s.stream(ctx, wire.Stream(0))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(stream.CachedInfo().Config.Metadata[wire.MetaShards])
	return n
}

// errQuestion is wrapped by errors about what a person asked for.
var errQuestion = errors.New("the question cannot be answered")
