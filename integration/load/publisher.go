//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
)

// publisher publishes events that are stored, and counts the acknowledgements. It takes its time from the same two cores as what is
// measured: the library's way, which has a future for each message, took twice as much of it.
type publisher struct {
	nc     *nats.Conn
	inbox  string // of all acknowledgements: which is whose does not matter
	room   *semaphore.Weighted
	failed atomic.Int64
	reason atomic.Pointer[string] // of one that failed
}

const (
	// unanswered is how many events may be on their way to the stream at once.
	unanswered = 1024

	// stallWait is how long a publish waits while that many are on their way: the machine is meant to be full.
	stallWait = 10 * time.Second
)

func newPublisher(nc *nats.Conn) (*publisher, error) {
	p := &publisher{nc: nc, inbox: nc.NewInbox(), room: semaphore.NewWeighted(unanswered)}
	if _, err := nc.Subscribe(p.inbox, p.answered); err != nil {
		return nil, fmt.Errorf("subscribe to the acknowledgements of events: %w", err)
	}
	return p, nil
}

func (p *publisher) answered(m *nats.Msg) {
	if !bytes.HasPrefix(m.Data, []byte(`{"stream":`)) || bytes.Contains(m.Data, []byte(`"error":`)) { // {"stream":"EVENTS","seq":1}
		p.failed.Add(1)
		reason := fmt.Sprintf("%s %v", m.Data, m.Header)
		p.reason.Store(&reason)
	}
	p.room.Release(1)
}

// publish hands an event over. Whether it is stored, settled tells.
func (p *publisher) publish(subject string, data []byte) error {
	if !p.room.TryAcquire(1) {
		ctx, cancel := context.WithTimeout(context.Background(), stallWait)
		defer cancel()
		if p.room.Acquire(ctx, 1) != nil {
			return fmt.Errorf("%d events were not acknowledged within %v", unanswered, stallWait)
		}
	}
	if err := p.nc.PublishRequest(subject, p.inbox, data); err != nil {
		p.room.Release(1)
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// settled waits until all are acknowledged, and tells of those that were not stored.
func (p *publisher) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := p.room.Acquire(ctx, unanswered); err != nil {
		return fmt.Errorf("events were not acknowledged in time: %w", err)
	}
	p.room.Release(unanswered)
	if n := p.failed.Load(); n > 0 {
		return fmt.Errorf("%d events were not stored, one of them because of: %s", n, *p.reason.Load())
	}
	return nil
}
