package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// waiting bounds the questions that are not answered yet; more are dropped, and whoever asked learns who was silent.
const waiting = 64

// All sends a question to everybody who listens on the subject, and gives got each answer, for patience at most; got says how much longer to wait
// for others. That nobody listens is no error.
func All(ctx context.Context, nc *nats.Conn, subject string, question any, patience time.Duration, got func([]byte) time.Duration) error {
	b, err := json.Marshal(question)
	if err != nil {
		return err
	}
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("ask %s: %w", subject, err)
	}
	defer sub.Unsubscribe()
	end := time.Now().Add(patience)
	if err := nc.PublishRequest(subject, inbox, b); err != nil {
		return fmt.Errorf("ask %s: %w", subject, err)
	}
	for {
		wait, cancel := context.WithDeadline(ctx, end)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return nil
		case err != nil && ctx.Err() == nil && !time.Now().Before(end):
			return nil
		case err != nil:
			return fmt.Errorf("ask %s: %w", subject, err)
		}
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			return nil // nobody listens
		}
		if sooner := time.Now().Add(got(m.Data)); sooner.Before(end) {
			end = sooner
		}
	}
}

// Listen hands what is asked on the subject to answer, one question after the other, until the context ends. What answer returns goes to who asked, as JSON;
// nil is no answer: it was not meant, or not understood.
func Listen(ctx context.Context, nc *nats.Conn, subject string, log *slog.Logger, answer func([]byte) any) {
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		log.Error("cannot be asked", "subject", subject, "error", err)
		return
	}
	defer sub.Unsubscribe()
	sub.SetPendingLimits(waiting, waiting*MaxQuestion) // fails for closed subscriptions only
	for warned := false; ctx.Err() == nil; {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case err == nil:
			if err := reply(nc, m, answer(m.Data)); err != nil {
				log.Warn("a question could not be answered", "subject", subject, "error", err)
			}
		case errors.Is(err, nats.ErrSlowConsumer), ctx.Err() != nil:
		default:
			if !warned {
				log.Warn("cannot be asked now", "subject", subject, "error", err)
				warned = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func reply(nc *nats.Conn, m *nats.Msg, answer any) error {
	if answer == nil || m.Reply == "" {
		return nil
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return nc.Publish(m.Reply, b)
}
