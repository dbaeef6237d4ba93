package ingest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

const (
	// maxAttempts is how often an event is tried whose handler does not say that it can never succeed.
	maxAttempts = 6

	// maxDeliveries: an event that was delivered so often has been in the hands of processes that died of something.
	maxDeliveries = 20

	// attemptTimeout is well below the duplicate window: an attempt that comes late can store nothing twice.
	attemptTimeout = 60 * time.Second

	// maxWait bounds the pause between two attempts while NATS is away.
	maxWait = 5 * time.Second
)

// backOff is the pause behind attempt 1, 2, 3 …; the last one stays. The lane waits, others go on.
var backOff = [...]time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, time.Second, 2 * time.Second}

// Reasons for the DLQ, as the metric names them.
const (
	reasonDecode     = "decode"
	reasonPermanent  = "permanent"
	reasonAttempts   = "attempts"
	reasonDeliveries = "deliveries"
)

// handleWork brings an event to its end: handled, or in the DLQ. It returns false when the work was ended before.
func (s *Source) handleWork(l *lanes, w *work) (done bool) {
	e, err := Decode(w.msg)
	if err != nil {
		e = undecoded(w.msg)
	}
	ctx := s.begin(e, w)
	defer func() { s.end(ctx, done) }()
	switch n := l.deliveries(w); {
	case err != nil:
		return s.bury(ctx, e, w, deadLetter{reason: reasonDecode, err: err, attempts: 1})
	case n > maxDeliveries:
		err := fmt.Errorf("delivered %d times without an end: the processes that handled it may have died of it", n)
		return s.bury(ctx, e, w, deadLetter{reason: reasonDeliveries, err: err, attempts: n})
	}
	e.Redelivered = w.again
	for failed, away := 0, 0; s.work.Err() == nil; e.Redelivered = true {
		if !e.Redelivered && !l.grip.holds(s.work, w.pin, w.since) {
			e.Redelivered = true
		}
		err := s.attempt(ctx, e)
		switch {
		case err == nil:
			s.metrics.events.handled.Inc()
			return true
		case s.work.Err() != nil:
			return false
		case errors.Is(err, ErrPermanent):
			return s.bury(ctx, e, w, deadLetter{reason: reasonPermanent, err: err, attempts: failed + 1})
		case errors.Is(err, ErrUnavailable):
			s.retrying(ctx, e, err, away)
			pause(s.work, awayWait(away))
			away++
			continue
		}
		failed++
		if failed == maxAttempts {
			return s.bury(ctx, e, w, deadLetter{reason: reasonAttempts, err: err, attempts: failed})
		}
		s.retrying(ctx, e, err, failed-1)
		pause(s.work, backOff[min(failed, len(backOff))-1])
	}
	return false
}

// attempt calls the handler once; a panic is an error like any other.
func (s *Source) attempt(ctx context.Context, e *Event) (err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			e.Logger(ctx, s.log).Error("panic while handling an event", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.handle(ctx, e)
}

func (s *Source) retrying(ctx context.Context, e *Event, err error, before int) {
	s.metrics.events.retried.Inc()
	failed(ctx, err)
	log := e.Logger(ctx, s.log)
	if before == 0 {
		log.Warn("an event was not handled, trying again", "error", err)
	} else { // once said
		log.Debug("an event was not handled, trying again", "error", err)
	}
}

// awayWait doubles from 100 ms to maxWait.
func awayWait(n int) time.Duration { return min(backOff[0]<<min(n, 10), maxWait) }

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
