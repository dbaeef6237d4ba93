package gateway

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// admission decides whether a connection may become a session now. A storm of those who lost another gateway must leave time for those
// who are here: a handshake with its token costs some ten deliveries.
//
// It is a token bucket, as the generic cell rate algorithm (ITU-T I.371, annex A): one number, shared by all loops without a lock.
type admission struct {
	// Fixed at creation.
	interval time.Duration // between two handshakes at the rate; 0: there is no bound
	burst    time.Duration // what may be used in advance
	full     func() bool   // the memory is used up

	next     atomic.Int64 // nanoseconds since the gateway began: when the handshakes admitted so far would have been at the rate
	returned atomic.Int64 // the same for those who were turned away and have been told when to come
}

// burstOf: a second's handshakes may come at once.
const burstOf = time.Second

// Turned away for want of memory, browsers come back after fullLeast, within fullSpread: it is not soon that memory is free again.
const (
	fullLeast  = 5 * time.Second
	fullSpread = 10 * time.Second
	// longestTurn bounds the time that browsers are told to wait for their turn.
	longestTurn = time.Minute
)

// handshakesPerLoop take some six tenths of a core.
const handshakesPerLoop = 5000

func newAdmission(cfg *Config, full func() bool) *admission {
	a := &admission{burst: burstOf, full: full}
	switch n := cfg.HandshakesPerSecond; {
	case n > 0:
		a.interval = time.Second / time.Duration(n)
	case n == 0:
		a.interval = time.Second / time.Duration(handshakesPerLoop*cfg.loops())
	}
	return a
}

// refusedBy is why a connection is turned away, in metrics; "" where it is not.
type refusedBy string

const (
	admitted refusedBy = ""
	byRate   refusedBy = "rate"
	byMemory refusedBy = "memory"
)

// ask is for one connection at a time since the gateway began. Who is turned away is told when to come again: one after the other at the
// rate, so that it is not the same crowd that comes back.
func (a *admission) ask(now time.Duration) (after time.Duration, by refusedBy) {
	if a.full != nil && a.full() {
		return fullLeast + rand.N(fullSpread), byMemory
	}
	if a.interval == 0 {
		return 0, admitted
	}
	for {
		next := a.next.Load()
		at := max(next, int64(now))
		if at-int64(now) > int64(a.burst) {
			return a.turn(now), byRate
		}
		if a.next.CompareAndSwap(next, at+int64(a.interval)) {
			return 0, admitted
		}
	}
}

// turn is how long it takes until it is the turn of one more.
func (a *admission) turn(now time.Duration) time.Duration {
	for {
		last := a.returned.Load()
		at := max(last, int64(now+burstOf)) + int64(a.interval)
		if at-int64(now) > int64(longestTurn) {
			return longestTurn/2 + rand.N(longestTurn/2)
		}
		if a.returned.CompareAndSwap(last, at) {
			return time.Duration(at - int64(now))
		}
	}
}

// refuseBusy is for programs, which read a status. Pages see of it no more than of a connection that broke.
func refuseBusy(after time.Duration, by refusedBy) *refusal {
	return &refusal{string(by), http.StatusServiceUnavailable, []string{"Retry-After", strconv.Itoa(int((after + time.Second - 1) / time.Second))},
		"This server cannot take more connections now. Come back after the time in Retry-After."}
}

// admit is checkUpgrade, and then the question whether there is room, before the token is looked at. A page cannot read a status, so there
// the connection is opened to tell when to come back.
func (g *Gateway) admit(r *http.Request) (up upgrade, ref *refusal) {
	if up, ref = checkUpgrade(r, &g.rules); ref != nil {
		return up, ref
	}
	after, by := g.admission.ask(time.Since(g.began))
	switch {
	case by == admitted:
	case up.dialect == eventStream || len(r.Header["Origin"]) > 0:
		g.metrics.refusals.WithLabelValues(string(by)).Inc()
		up.later = after
	default:
		ref = refuseBusy(after, by)
	}
	return up, ref
}
