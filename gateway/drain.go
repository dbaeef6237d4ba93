package gateway

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"tidings/gateway/frame"
)

const (
	// drainPatience is how long sessions have for their part of the closing handshake when the gateway leaves.
	drainPatience = 5 * time.Second
	// drainRest is what a process needs beside the delay and the window: to bring events to rest, and for the last to close.
	drainRest = 10 * time.Second
	// returnSpread is the time over which browsers come back that were told to leave one after the other.
	returnSpread = time.Second
	// crowdSpread is the same for browsers that were told so all at once.
	crowdSpread = 3 * time.Second
	// retryLeast is the shortest reconnection time that an EventSource is given.
	retryLeast = time.Second
)

// Retire makes the gateway not ready, and lets it serve as before: the first thing to do when a process is to end, so that no new browsers are
// sent here.
func (g *Gateway) Retire() { g.retired.Store(true) }

// leave lets new browsers go elsewhere for TIDINGS_DRAIN_DELAY, then closes every session with 1012, over TIDINGS_DRAIN_WINDOW. It waits for the
// loops, but not beyond drainPatience.
func (g *Gateway) leave(work context.Context, loops *sync.WaitGroup) {
	window := g.cfg.DrainWindow
	g.Retire()
	if g.alone {
		window = 0
	} else if g.cfg.DrainDelay > 0 {
		g.log.Info("leaving: not ready any more, and serving until that is known", "delay", g.cfg.DrainDelay)
		select {
		case <-time.After(g.cfg.DrainDelay):
		case <-work.Done():
		}
	}
	g.leaving.Store(true)
	g.log.Info("leaving: sessions are told to come back elsewhere", "sessions", g.open.Load(), "window", window)
	for _, l := range g.loops {
		l.call(func() { l.leave(window) })
	}
	done := make(chan struct{})
	go func() { loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(window + drainPatience):
	}
	g.closeListener()
}

// leave sends this loop's sessions away over the window, and then ends the loop when their sockets are closed. Until then it accepts, to say
// where not to come: a listener that nobody looks after would let browsers wait.
func (l *loop) leave(window time.Duration) {
	spread := returnSpread
	if window == 0 {
		spread = crowdSpread
	}
	l.depart(1, window, spread, func() {
		l.stopping = true
		l.gate.refuseTLS()
		if !l.paused && l.listener >= 0 {
			l.poller.Remove(l.listener)
		}
		l.each(func(s *Session) { s.drain(spread) }, (*greeting).close)
	})
}

// drain sends the session to another gateway; its browser comes back within spread.
func (s *Session) drain(spread time.Duration) {
	s.together(func() {
		if s.dialect != plain && s.state < closing {
			s.sayRetry("draining", rand.N(spread))
		}
		s.close(closeDraining, "this server leaves")
	})
}

// comeLater is for a page when this gateway cannot take it: a page cannot read the status of a refused handshake, but these.
func (s *Session) comeLater(after time.Duration) {
	if s.dialect != plain {
		s.sayRetry("overloaded", after)
	}
	s.close(closeOverloaded, "this server cannot take more connections now")
}

// sayRetry tells when to come back. An EventSource comes back by itself, after its reconnection time: here it is set. It stays set, so that
// it is never less than a second.
func (s *Session) sayRetry(why string, after time.Duration) {
	if s.dialect == eventStream {
		after += retryLeast
	}
	ms := strconv.FormatInt(after.Milliseconds(), 10)
	text := []byte(`{"type":"` + why + `","retryAfterMs":` + ms + `}`)
	if s.dialect == eventStream {
		s.sendControl(appendEvent(nil, "retry: "+ms+"\n", nil, text))
		return
	}
	s.sendControl(frame.AppendText(nil, text))
}
