package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// gripLasts bounds how long the server's word is relied on that a partition is ours. What others have handled since is still in the
// duplicate window, which is at least four times as long.
const gripLasts = 30 * time.Second

// grip knows whether a partition is still ours: an event in hand may wait behind others for minutes, and meanwhile this process may
// have been frozen or cut off, and others may have handled it.
type grip struct {
	// Fixed at creation.
	info  func(context.Context) (*jetstream.ConsumerInfo, error)
	lasts time.Duration

	// Guarded by mu.
	mu  sync.Mutex
	pin string
	at  time.Time // when the partition was ours under pin
}

func newGrip(cfg Config, info func(context.Context) (*jetstream.ConsumerInfo, error)) *grip {
	return &grip{info: info, lasts: min(gripLasts, cfg.Duplicates/4)}
}

// holds tells that nobody else can have been given long ago what we were given at that time under that pin: the partition was ours a
// short while ago, and so all the time, because a pin that is lost never comes back. If necessary it asks the server.
func (g *grip) holds(ctx context.Context, pin string, since time.Time) bool {
	if time.Since(since) < g.lasts {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pin == pin && time.Since(g.at) < g.lasts {
		return true
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	info, err := g.info(ctx)
	if err != nil {
		return false
	}
	for _, group := range info.PriorityGroups {
		if group.PinnedClientID == pin {
			g.pin, g.at = pin, asked
			return true
		}
	}
	return false
}
