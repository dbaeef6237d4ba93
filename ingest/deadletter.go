package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a dead letter, besides those the event had.
const (
	HeaderReason   = "Tidings-Reason"
	HeaderSubject  = "Tidings-Subject"
	HeaderSequence = "Tidings-Sequence"
	HeaderAttempts = "Tidings-Attempts"
	HeaderTime     = "Tidings-Time"
	HeaderBody     = "Tidings-Body" // only when the body did not fit

	// originalPrefix stands before headers that would act again, or that are ours.
	originalPrefix = "Tidings-Original-"
)

// maxReason bounds a header's value; an expression and its error are far shorter.
const maxReason = 1024

// deadLetter is why an event could not be handled.
type deadLetter struct {
	reason   string // for the metric
	err      error
	attempts int
}

// bury stores the event in the DLQ, however long that takes, and returns false only when the work was ended before: an event
// that is acknowledged was handled or can be found there.
func (s *Source) bury(ctx context.Context, e *Event, w *work, why deadLetter) bool {
	dead(ctx, why)
	m := why.message(w.msg)
	if over := size(m) - int(s.nc.MaxPayload()); over > 0 {
		m.Data = nil
		m.Header.Set(HeaderBody, fmt.Sprintf("left out: too large together with these headers; it is message %d of %s", w.msg.Sequence, StreamEvents))
	}
	for n := 0; s.work.Err() == nil; n++ {
		err := s.publishDead(m)
		if err == nil {
			s.metrics.events.dead.Inc()
			s.metrics.dead.WithLabelValues(why.reason).Inc()
			e.Logger(ctx, s.log).Warn("an event was moved to the DLQ", "reason", why.reason, "attempts", why.attempts, "error", why.err)
			return true
		}
		if n == 0 {
			e.Logger(ctx, s.log).Warn("the DLQ does not take an event, trying again until it does", "error", err)
		}
		s.watch.wake() // it may have been deleted
		pause(s.work, awayWait(n))
	}
	return false
}

func (s *Source) publishDead(m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(s.work, apiTimeout)
	defer cancel()
	_, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectStream(StreamDLQ))
	return err
}

// message is the dead letter: the event as it was, and what happened to it.
func (d deadLetter) message(event *jetstream.RawStreamMsg) *nats.Msg {
	subject := Published(event.Subject)
	m := nats.NewMsg("dlq." + subject)
	m.Data = event.Data
	for name, values := range event.Header {
		m.Header[originalName(name)] = values
	}
	var own interface{ DeadLetterHeaders() map[string]string }
	if errors.As(d.err, &own) {
		for name, value := range own.DeadLetterHeaders() {
			m.Header.Set(name, oneLine(value))
		}
	}
	m.Header.Set(HeaderReason, oneLine(d.err.Error()))
	m.Header.Set(HeaderSubject, oneLine(subject))
	m.Header.Set(HeaderSequence, strconv.FormatUint(event.Sequence, 10))
	m.Header.Set(HeaderAttempts, strconv.Itoa(d.attempts))
	m.Header.Set(HeaderTime, event.Time.UTC().Format(time.RFC3339Nano))
	m.Header.Set(nats.MsgIdHdr, "dead."+storageKey(event))
	return m
}

// originalName keeps a header from acting again: Nats-Msg-Id, Nats-Expected-*, Nats-TTL and their kind are orders to the server.
func originalName(name string) string {
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, strings.ToLower(originalPrefix)) {
		return name // a dead letter that was published again and died again
	}
	if strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "tidings-") {
		return originalPrefix + name
	}
	return name
}

// oneLine is s as a header's value.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + " …"
}

// size is what the server counts against its limit: headers as they go over the wire, and the body.
func size(m *nats.Msg) int {
	n := len(m.Data) + len("NATS/1.0\r\n\r\n")
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}
