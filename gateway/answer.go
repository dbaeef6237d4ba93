package gateway

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
)

// answerWithin bounds how long the loops may take for an answer: a loop that is busy for longer is said to be.
const answerWithin = time.Second

// answerWho answers what people ask about users, until the context ends.
func (g *Gateway) answerWho(ctx context.Context, nc *nats.Conn) {
	ask.Listen(ctx, nc, ask.SubjectWho, g.log, func(question []byte) any {
		q, err := ask.ParseWho(question)
		if err != nil {
			return nil // whoever can write there is inside the house, and has made a mistake
		}
		return g.who(ctx, q.User)
	})
}

// who is all that this gateway knows about a user.
func (g *Gateway) who(ctx context.Context, user string) ask.Gateway {
	a := ask.Gateway{Pod: g.pod, Started: g.began.UTC(), Leaving: g.retired.Load()}
	shards := g.shards.Load()
	if shards == nil || len(*shards) == 0 {
		a.Error = "it does not follow the log yet"
		return a
	}
	sh := (*shards)[wire.Shard(user, len(*shards))]
	a.Shard = sh.id
	p := sh.promised()
	a.Epoch, a.Head = p.epoch, p.seq

	sessions := sh.sessionsOf(user)
	parts := make(chan report, len(g.loops))
	asked := 0
	for _, l := range g.loops {
		if l.call(func() { parts <- l.tell(user, sessions) }) {
			asked++
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	for range asked {
		select {
		case p := <-parts:
			a.Sessions = append(a.Sessions, p.sessions...)
			a.Moments = append(a.Moments, p.moments...)
			if p.since.After(a.Remembers) {
				a.Remembers = p.since
			}
		case <-ctx.Done():
			a.Error = "a part of it is too busy to answer: sessions may be missing here"
		}
	}
	slices.SortFunc(a.Sessions, func(x, y ask.Session) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(a.Moments, func(x, y ask.Moment) int { return x.At.Compare(y.At) })
	if n := len(a.Sessions); n > ask.MaxSessions {
		a.Sessions, a.More = a.Sessions[:ask.MaxSessions], n-ask.MaxSessions
	}
	if n := len(a.Moments); n > ask.MaxMoments {
		a.Moments = a.Moments[n-ask.MaxMoments:]
		a.Remembers = a.Moments[0].At
	}
	return a
}

// report is what one loop knows about a user.
type report struct {
	sessions []ask.Session
	moments  []ask.Moment
	since    time.Time // of the diary
}

// tell describes those of the sessions that are this loop's.
func (l *loop) tell(user string, sessions []*Session) report {
	t := report{moments: l.diary.of(user), since: l.diary.since()}
	for _, s := range sessions {
		if s.loop == l && s.state < closing {
			t.sessions = append(t.sessions, s.describe())
		}
	}
	return t
}

func (s *Session) describe() ask.Session {
	groups := s.groups()
	d := ask.Session{
		ID: sessionName(s.id), Dialect: s.dialect.String(), State: s.state.String(),
		Position: s.given(), Epoch: s.shard.epochOf(s.life), Groups: slices.Clone(groups[:min(len(groups), ask.MaxNames)]),
	}
	if s.out != nil {
		d.Queue, d.Stuck = len(s.out.queue), int(s.loop.sec-s.out.since)
	}
	return d
}

// String is the state in the words of those who ask.
func (s state) String() string {
	switch s {
	case anonymous:
		return "not authenticated yet"
	case joining:
		return "catching up"
	case scanning:
		return "waiting for what is older than this gateway's memory"
	case live:
		return "live"
	}
	return "closing"
}

// sessionsOf are the sessions of a user of this shard.
func (sh *shard) sessionsOf(user string) []*Session {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.hub.of(user)
}

// epochOf is the epoch of positions of that life; 0: of one that is gone.
func (sh *shard) epochOf(life uint32) uint64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if life != sh.life {
		return 0
	}
	return sh.epoch
}

// of are the sessions of a user.
func (h *hub) of(user string) (list []*Session) {
	for s := h.users[maphash.String(h.seed, user)]; s != nil; s = s.next {
		if s.user == user {
			list = append(list, s)
		}
	}
	return list
}
