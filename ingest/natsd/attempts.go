package natsd

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// attempts says why a connection is not made, but not at each of several attempts a second. The library tells of a server that is not there by
// one handler, of one that does not know us by another, and of a failed TLS handshake by none: that it leaves in LastError.
type attempts struct {
	log *slog.Logger
	nc  atomic.Pointer[nats.Conn] // once the library has given it out

	mu   sync.Mutex
	last string // guarded by mu
}

// say tells of an error that is another one than before.
func (a *attempts) say(err error) {
	if err == nil {
		return
	}
	a.mu.Lock()
	known := a.last == err.Error()
	a.last = err.Error()
	a.mu.Unlock()
	if !known {
		a.log.Warn("cannot connect to NATS, trying again", "error", InWords(err))
	}
}

// succeeded: what comes next is another matter.
func (a *attempts) succeeded() {
	a.mu.Lock()
	a.last = ""
	a.mu.Unlock()
}

// pause is how long to wait before the servers are tried for the n-th time. Before the first the error is that of the connection that was lost.
func (a *attempts) pause(n int) time.Duration {
	if nc := a.nc.Load(); nc != nil && n > 1 {
		a.say(nc.LastError())
	}
	return reconnectWait + rand.N(reconnectJitter)
}

// aboutUs tells of errors that say who we are is not good enough. They come at each attempt.
func aboutUs(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}
