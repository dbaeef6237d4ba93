package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/gateway/control"
)

// revocations are the users whose tokens are refused when they were issued before a certain time: what the stream CONTROL holds.
type revocations struct {
	// Fixed at creation.
	gate *Gateway
	log  *slog.Logger

	mu     sync.RWMutex
	users  map[string]time.Time
	synced bool // all that was in the stream has been read once
}

// revokedLook is how often the stream is looked at: whether it is there, and the one that it was.
const revokedLook = 10 * time.Second

// refuses tells whether who came by a token from before its user was revoked. Tokens say a second, so one of the same second is refused too, and so is
// one that does not say when it was issued.
func (r *revocations) refuses(who Identity) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	at, ok := r.users[who.User]
	return ok && !r.gate.auth.DevMode() && !who.Issued.After(at)
}

// ready tells why tokens cannot be judged yet.
func (r *revocations) ready() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.synced {
		return errors.New("waiting for the users that were revoked")
	}
	return nil
}

func (r *revocations) sync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = true
}

// revoke takes one revocation. Read a second time, it changes nothing.
func (r *revocations) revoke(user string, at time.Time) {
	r.mu.Lock()
	known := !at.After(r.users[user])
	if !known {
		r.users[user] = at
	}
	r.mu.Unlock()
	if known {
		return
	}
	n := 0
	for _, s := range r.gate.sessionsOf(user) {
		n++
		s.loop.call(func() { s.close(closeForbidden, "this user's access was revoked") })
	}
	r.log.Info("a user was revoked", "user", user, "sessions", n)
}

// forget drops what the stream does not hold any more.
func (r *revocations) forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for user, at := range r.users {
		if at.Before(before) {
			delete(r.users, user)
		}
	}
}

// Run follows the stream until the context ends. A stream that is not there holds nothing: the fanout role makes it.
func (r *revocations) Run(ctx context.Context, js jetstream.JetStream) {
	for told := false; ctx.Err() == nil; {
		err := r.follow(ctx, js)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, jetstream.ErrStreamNotFound):
			r.sync()
		case err != nil && !told:
			r.log.Warn("cannot read who was revoked; those known stay refused", "error", err)
		}
		told = err != nil
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// follow reads the stream from its beginning, and what comes, until it is not the same any more.
func (r *revocations) follow(ctx context.Context, js jetstream.JetStream) error {
	stream, err := r.stream(ctx, js)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	last := info.State.LastSeq
	for read := uint64(0); ; {
		if read >= last || info.State.Msgs == 0 {
			r.sync()
		}
		m, err := messages.Next(jetstream.NextMaxWait(revokedLook))
		switch {
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return nil
		case err != nil:
			now, lost := r.stream(ctx, js)
			if lost != nil {
				return lost
			}
			if !errors.Is(err, nats.ErrTimeout) {
				return err
			}
			if !now.CachedInfo().Created.Equal(info.Created) {
				return nil
			}
			if age := now.CachedInfo().Config.MaxAge; age > 0 {
				r.forget(time.Now().Add(-age))
			}
		default:
			read = r.take(m)
		}
	}
}

func (r *revocations) stream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	return js.Stream(ctx, wire.ControlStream)
}

func (r *revocations) take(m jetstream.Msg) (seq uint64) {
	meta, err := m.Metadata()
	if err != nil { // cannot be: it came from a consumer
		return 0
	}
	revocation, err := control.ParseRevocation(m.Data())
	if err != nil {
		r.log.Error("a revocation cannot be read, and is skipped: publish it again", "seq", meta.Sequence.Stream, "error", err)
	} else {
		r.revoke(revocation.User, meta.Timestamp)
	}
	return meta.Sequence.Stream
}

// sessionsOf are the user's sessions here.
func (g *Gateway) sessionsOf(user string) []*Session {
	shards := g.shards.Load()
	if shards == nil || len(*shards) == 0 {
		return nil
	}
	return (*shards)[wire.Shard(user, len(*shards))].sessionsOf(user)
}
