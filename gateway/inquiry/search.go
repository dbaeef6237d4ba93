package inquiry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout"
)

// Search looks for what became of events, and what users got.
type Search struct {
	JS jetstream.JetStream

	// Rules are used where no running fanout answers; HasRules tells that they are known, since nil is a set of rules too: that
	// of no file.
	Rules    *fanout.Rules
	HasRules bool

	Limit    int           // messages that one search may read
	Patience time.Duration // that one search may take
}

// The bounds of a search unless another is asked for: 250,000 messages of 400 B a second are read where nothing else goes on.
const (
	DefaultLimit    = 1_000_000
	DefaultPatience = 15 * time.Second
	PagePatience    = 6 * time.Second // of each stream; a page is not to hang
)

// budget is what is left of a search's bounds.
type budget struct {
	left int
	end  time.Time
}

func (s *Search) budget() *budget {
	return &budget{left: s.Limit, end: time.Now().Add(s.Patience)}
}

// spent tells why a search cannot go on; "" if it can.
func (b *budget) spent() string {
	switch {
	case b.left <= 0:
		return "as many messages were read as the limit allows"
	case !time.Now().Before(b.end):
		return "the time for one search was over"
	}
	return ""
}

// Walk is how much of a stream was looked at.
type Walk struct {
	Stream  string    `json:"stream"`
	Read    int       `json:"read"`
	From    time.Time `json:"from,omitzero"` // when the oldest that was read was stored
	To      time.Time `json:"to,omitzero"`
	Stopped string    `json:"stopped,omitempty"` // why it ended early; empty: all there was to look at was
}

func (w *Walk) saw(at time.Time) {
	w.Read++
	if w.From.IsZero() || at.Before(w.From) {
		w.From = at
	}
	if at.After(w.To) {
		w.To = at
	}
}

// span is a part of a stream: the messages with these subjects from a sequence or a time on, up to a sequence.
type span struct {
	stream   string
	subjects []string
	from     uint64
	since    time.Time // where from is 0
	to       uint64
	headers  bool // they suffice
}

const (
	// stepPatience bounds how long a stream may be silent.
	stepPatience = 3 * time.Second
	// tidyPatience bounds the deletion of a consumer, which goes by itself a minute later.
	tidyPatience = 2 * time.Second
)

// walk calls f with the messages of a span, oldest first, until it returns false.
func (s *Search) walk(ctx context.Context, sp span, b *budget, w *Walk, f func(*jetstream.RawStreamMsg) bool) error {
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects: sp.subjects, HeadersOnly: sp.headers, InactiveThreshold: time.Minute,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(sp.from, 1),
	}
	if sp.from == 0 && !sp.since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &sp.since
	}
	c, err := s.JS.OrderedConsumer(ctx, sp.stream, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", sp.stream, err)
	}
	defer s.tidy(ctx, sp.stream, c)
	if info := c.CachedInfo(); info == nil || info.NumPending == 0 {
		return nil
	}
	it, err := c.Messages(jetstream.PullMaxMessages(1000), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return fmt.Errorf("read %s: %w", sp.stream, err)
	}
	defer it.Stop()
	for {
		if w.Stopped = b.spent(); w.Stopped != "" {
			return nil
		}
		next, cancel := context.WithTimeout(ctx, min(stepPatience, time.Until(b.end)+time.Millisecond))
		m, err := it.Next(jetstream.NextContext(next))
		cancel()
		if err != nil {
			if ctx.Err() == nil && !time.Now().Before(b.end) {
				continue // it says so
			}
			return fmt.Errorf("read %s: %w", sp.stream, inWords(err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", sp.stream, err)
		}
		if meta.Sequence.Stream > sp.to {
			return nil
		}
		b.left--
		w.saw(meta.Timestamp)
		raw := &jetstream.RawStreamMsg{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Header: m.Headers(), Data: m.Data(), Time: meta.Timestamp}
		if !f(raw) || meta.NumPending == 0 || raw.Sequence == sp.to {
			return nil
		}
	}
}

func (s *Search) tidy(ctx context.Context, stream string, c jetstream.Consumer) {
	info := c.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyPatience)
	defer cancel()
	_ = s.JS.DeleteConsumer(ctx, stream, info.Name) // otherwise it goes by itself
}

// firstWindow is how many of the newest messages are looked at first. Each further window is four times as large.
const firstWindow = 10_000

// walkBack looks at the newest messages first: in windows, each oldest first, until f has found enough, which it is asked at the end of each
// window, or everything was read.
func (s *Search) walkBack(ctx context.Context, sp span, b *budget, w *Walk, f func(*jetstream.RawStreamMsg), enough func() bool) error {
	stream, err := s.stream(ctx, sp.stream)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	to := state.LastSeq
	for size := uint64(firstWindow); to >= state.FirstSeq && to > 0; size *= 4 {
		if len(sp.subjects) == 0 {
			size = min(size, uint64(max(b.left, 1))) // the newest of what it may read, not the oldest of a window
		}
		sp.from, sp.to = state.FirstSeq, to
		if to-state.FirstSeq >= size {
			sp.from = to - size + 1
		}
		err := s.walk(ctx, sp, b, w, func(m *jetstream.RawStreamMsg) bool { f(m); return true })
		if err != nil || enough() {
			w.Stopped = ""
			return err
		}
		to = sp.from - 1
		if to < state.FirstSeq || to == 0 {
			return nil
		}
		if w.Stopped = b.spent(); w.Stopped != "" {
			return nil
		}
	}
	return nil
}

func (s *Search) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	stream, err := s.JS.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, inWords(err))
	}
	return stream, nil
}

// inWords says what to do where the library's text does not.
func inWords(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: the fanout role makes it; is it running?", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("NATS does not answer, or these credentials may not read it (%w)", err)
	}
	return err
}
