package gateway

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"tidings/gateway/frame"
)

const (
	// drainPatience is how long sessions have for their part of the closing handshake when the gateway leaves.
	drainPatience = 5 * time.Second
	// retrySpread is the time over which the browsers of a leaving gateway come back.
	retrySpread = 3 * time.Second
	// retryLeast is the shortest reconnection time that an EventSource is given.
	retryLeast = time.Second
)

// leave takes no more connections and closes every session with 1012. It waits for the loops, but not for ever.
func (g *Gateway) leave(loops *sync.WaitGroup) {
	g.leaving.Store(true)
	for _, l := range g.loops {
		l.call(l.leave)
	}
	done := make(chan struct{})
	go func() { loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(drainPatience):
	}
	g.closeListener()
}

// leave closes this loop's sockets and ends the loop when they are.
func (l *loop) leave() {
	l.stopping = true
	if !l.paused {
		l.poller.Remove(l.listener)
	}
	l.each((*Session).drain, (*greeting).close)
}

func (s *Session) drain() {
	s.together(func() {
		if s.dialect != plain && s.state < closing {
			s.sayDraining(rand.Int64N(retrySpread.Milliseconds()))
		}
		s.close(closeDraining, "this server leaves")
	})
}

// sayDraining tells when to come back. An EventSource comes back by itself, after its reconnection time: here it is set. It stays set, so that
// it is never less than a second.
func (s *Session) sayDraining(after int64) {
	if s.dialect == eventStream {
		after += retryLeast.Milliseconds()
	}
	ms := strconv.FormatInt(after, 10)
	text := []byte(`{"type":"draining","retryAfterMs":` + ms + `}`)
	if s.dialect == eventStream {
		s.sendControl(appendEvent(nil, "retry: "+ms+"\n", nil, text))
		return
	}
	s.sendControl(frame.AppendText(nil, text))
}
