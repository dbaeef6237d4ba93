package gateway

import (
	"math/rand/v2"
	"time"

	"tidings/gateway/netpoll"
)

// departure is sessions of one loop on their way to other gateways, one after the other: those that nothing is on the way to first.
type departure struct {
	order  []netpoll.Tag // who is still to go, and behind them who was busy when the turn came
	total  int
	gone   int
	from   time.Time
	over   time.Duration
	spread time.Duration // see Session.drain
	last   func()        // what is done when all are gone; nil: nothing
}

const (
	// leastPace: a loop with few sessions takes so long for each at most, rather than the whole window.
	leastPace = 20 * time.Millisecond
	// departTick is how often a loop looks who is next.
	departTick = 10 * time.Millisecond
)

// depart begins to send a share of the loop's sessions away, chosen at random, and does last when they are gone. It takes the place of a departure
// that is under way.
func (l *loop) depart(share float64, over, spread time.Duration, last func()) {
	var idle, busy []netpoll.Tag
	l.each(func(s *Session) {
		switch {
		case s.state >= closing:
		case s.settled():
			idle = append(idle, s.tag())
		default:
			busy = append(busy, s.tag())
		}
	}, func(*greeting) {})
	for _, list := range [][]netpoll.Tag{idle, busy} {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	order := append(idle, busy...)
	order = order[:min(int(share*float64(len(order))+0.5), len(order))]
	l.departing = &departure{
		order: order, total: len(order), from: time.Now(), over: min(over, time.Duration(len(order))*leastPace), spread: spread, last: last,
	}
	l.goOn()
}

// settled tells that nothing is on its way to the session.
func (s *Session) settled() bool { return s.state == live && s.out == nil }

// goOn sends those away whose turn has come, and sees to it that the loop looks again soon.
func (l *loop) goOn() {
	d := l.departing
	if d == nil {
		return
	}
	passed := time.Since(d.from)
	due := d.total
	if passed < d.over {
		due = int(float64(d.total) * float64(passed) / float64(d.over))
	}
	for tries := len(d.order); d.gone < due && len(d.order) > 0; tries-- {
		t := d.order[0]
		d.order = d.order[1:]
		s, _ := l.owner(t)
		if s != nil && s.state < closing && !s.settled() && passed < d.over {
			if d.order = append(d.order, t); tries <= 1 {
				break // all that are left are busy: look again
			}
			continue
		}
		d.gone++
		if s != nil {
			s.drain(d.spread)
		}
	}
	if len(d.order) > 0 {
		l.poller.SetDeadline(time.Now().Add(departTick))
		return
	}
	l.departing = nil
	l.rest()
	if d.last != nil {
		d.last()
	}
}
