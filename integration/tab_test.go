package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings/fanout/wire"
	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// gates are the gateways as a load balancer knows them: their addresses change when they are killed and come back.
type gates struct {
	mu   sync.Mutex
	list []*house.Tidings
}

func (g *gates) set(i int, d *house.Tidings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list[i] = d
}

func (g *gates) get(i int) *house.Tidings {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list[i]
}

// tab is one tab of a user, over its whole life: many connections, one cursor. One goroutine lives it.
type tab struct {
	x      *exactness
	user   int
	number int // of the user's tabs
	slow   bool
	late   bool // it comes when much has happened already
	random *rand.Rand

	// Owned by its goroutine until that ends.
	cursor  string
	first   wire.Cursor // where its first welcome began
	at      wire.Cursor // the last it was given
	got     []int       // events, in the order of arrival
	where   []wire.Cursor
	seen    map[int]bool
	last    [aggregates]int // the last event of each aggregate
	visits  []string        // its latest connections, for people
	faults  []string
	visited int
	ended   bool // it has seen the event that ends the world

	count atomic.Int64 // len(got), for others
}

func (b *tab) String() string {
	return fmt.Sprintf("tab %d of %q", b.number, b.x.world.users[b.user].id)
}

const (
	keptVisits = 25
	keptFaults = 8
	tabStay    = 16 * time.Second // a visit is this long at most, while things happen
)

// live goes from visit to visit until the end of the world, or of ctx.
func (b *tab) live(ctx context.Context) {
	gate := b.random.IntN(2)
	for !b.ended && ctx.Err() == nil {
		b.visit(ctx, gate)
		if b.random.IntN(4) > 0 {
			gate = 1 - gate
		}
		b.away(ctx)
	}
}

// visit is one connection, from its handshake to its end.
func (b *tab) visit(ctx context.Context, gate int) {
	d := b.x.gates.get(gate)
	query := url.Values{"user": {b.x.world.users[b.user].id}, "groups": {strings.Join(b.x.world.users[b.user].teams, ",")}}
	if b.cursor != "" {
		query.Set("cursor", b.cursor)
	}
	options := wsclient.Options{Protocols: []string{"tidings.v1"}}
	if b.slow {
		options.ReadBuffer = 4096
	}
	dial, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := wsclient.Dial(dial, "ws://"+d.Address("browsers")+"/ws?"+query.Encode(), options)
	if err != nil { // the gateway was killed, and is not back yet
		b.x.unreachable.Add(1)
		pauseFor(ctx, 100*time.Millisecond)
		return
	}
	defer conn.Hangup()
	before := len(b.got)
	from := b.cursor
	end := b.stay(ctx, conn)
	b.visited++
	b.visits = append(b.visits, fmt.Sprintf("%s %s: from %q, %d notifications, to %q, %s",
		time.Now().Format("05.000"), d.Name, from, len(b.got)-before, b.cursor, end))
	if len(b.visits) > 2*keptVisits {
		b.visits = append([]string(nil), b.visits[keptVisits:]...)
	}
}

// stay takes frames until the tab has enough, or the connection ends, and says how.
func (b *tab) stay(ctx context.Context, conn *wsclient.Tab) string {
	leaveAt := time.Now().Add(time.Duration(b.random.Int64N(int64(tabStay))))
	napAt := leaveAt
	if b.slow {
		napAt = time.Now().Add(time.Duration(b.random.Int64N(int64(tabStay))))
	}
	if b.slow && !b.x.over() {
		conn.Slow(2048, 5*time.Millisecond)
	}
	for welcomed := false; ; {
		text, err := conn.Text(max(time.Millisecond, min(time.Until(leaveAt), time.Until(napAt), time.Second)))
		switch {
		case wsclient.Timeout(err):
		case err != nil:
			return b.closed(err)
		default:
			b.take(text, &welcomed)
			if b.ended {
				return "the end"
			}
		}
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return "out of time"
		case b.x.over():
			conn.Slow(0, 0)
			leaveAt, napAt = now.Add(time.Hour), now.Add(time.Hour)
		case welcomed && now.After(leaveAt):
			return b.leave(conn)
		case b.slow && now.After(napAt):
			pauseFor(ctx, 2*time.Second+time.Duration(b.random.Int64N(int64(3*time.Second))))
			napAt = now.Add(tabStay)
		}
	}
}

// closed judges how the server ended the connection: only ways that a tab comes back from.
func (b *tab) closed(err error) string {
	switch code := wsclient.CloseCode(err); code {
	case 1006, 1013, 4008, 4408:
	default:
		b.fault("the connection ended with %v", err)
	}
	return err.Error()
}

func (b *tab) leave(conn *wsclient.Tab) string {
	switch b.random.IntN(3) {
	case 0:
		_ = conn.Close(1000, "", 5*time.Second) // a gateway that was killed meanwhile does not answer
		return "left"
	case 1:
		conn.Hangup()
		return "hung up"
	}
	conn.Drop()
	return "dropped"
}

// away is the time between two visits: none, short, or until the tails have forgotten what the tab has seen last.
func (b *tab) away(ctx context.Context) {
	if b.x.over() {
		return
	}
	switch dice := b.random.IntN(10); {
	case dice < 6:
	case dice < 9:
		pauseFor(ctx, time.Duration(b.random.Int64N(int64(time.Second))))
	default:
		for until := b.x.world.published.Load() + longAbsence; b.x.world.published.Load() < until && !b.x.over() && ctx.Err() == nil; {
			pauseFor(ctx, 50*time.Millisecond)
		}
	}
}

func (b *tab) fault(format string, args ...any) {
	if len(b.faults) < keptFaults {
		b.faults = append(b.faults, fmt.Sprintf("visit %d: ", b.visited+1)+fmt.Sprintf(format, args...))
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
