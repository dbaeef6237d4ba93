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
		if s.dialect == tidingsV1 && s.state < closing {
			b := append(make([]byte, 0, 64), `{"type":"draining","retryAfterMs":`...)
			b = strconv.AppendInt(b, rand.Int64N(retrySpread.Milliseconds()), 10)
			s.sendControl(frame.AppendText(nil, append(b, '}')))
		}
		s.close(closeDraining, "this server leaves")
	})
}
