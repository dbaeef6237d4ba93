package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// publishPatience is how long Publish tries when its context has no deadline: longer than an election.
const publishPatience = 30 * time.Second

// Publish stores an event and returns nil when NATS has acknowledged it. It tries again with the same Nats-Msg-Id, so that the event
// is stored once, until ctx ends; its error is a sentence.
func Publish(ctx context.Context, js jetstream.Publisher, subject string, body []byte, header nats.Header) error {
	if err := CheckSubject(subject); err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publishPatience)
		defer cancel()
	}
	m := &nats.Msg{Subject: subject, Data: body, Header: maps.Clone(header)}
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	if m.Header.Get(nats.MsgIdHdr) == "" {
		m.Header.Set(nats.MsgIdHdr, nuid.Next())
	}
	var said error // the last answer that was more than the end of our patience
	for n := 0; ; n++ {
		err := publishOnce(ctx, js, m)
		if err == nil {
			return nil
		}
		if said == nil || ctx.Err() == nil {
			said = err
		}
		if !refused(err) {
			pause(ctx, awayWait(n))
		}
		if refused(err) || ctx.Err() != nil {
			return fmt.Errorf("the event on %s was not stored: %w", subject, inWords(said))
		}
	}
}

func publishOnce(ctx context.Context, js jetstream.Publisher, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := js.PublishMsg(ctx, m, jetstream.WithExpectStream(StreamEvents))
	return err
}

// refused: the same message will never be taken.
func refused(err error) bool {
	return hopeless(err) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || errors.Is(err, nats.ErrInvalidMsg) ||
		errors.Is(err, nats.ErrConnectionClosed)
}

// inWords says what to do where the library's text does not.
func inWords(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("no stream takes it (%w): is Tidings running, which makes the stream %s?", err, StreamEvents)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("it is larger than the NATS server allows (%w)", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("NATS does not answer (%w)", err)
	}
	return err
}
