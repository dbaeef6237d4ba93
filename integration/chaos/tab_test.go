//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tidings/integration/wsclient"
)

// tab is one tab of a user, over its whole life: many connections, one cursor. It behaves as gateway/protocol.md says, behind a load
// balancer. One goroutine lives it.
type tab struct {
	// Fixed at creation.
	s      *suite
	deaf   bool // it reads nothing but its welcome, until it is woken
	header http.Header
	random *rand.Rand

	// Owned by its goroutine until that ends.
	ledger
	attempts int
	avoid    *gate // that did not take it
	counted  bool  // among the sessions of its gate

	// Guarded by mu.
	mu    sync.Mutex
	conn  *wsclient.Tab // nil while there is none
	gate  *gate         // written by its goroutine alone, which may read it without mu
	story []string      // its latest connections, for people
	why   reason        // it was dropped by us
}

// reason is why a connection was dropped from this side.
type reason int

const (
	itself reason = iota
	network
	moving
)

// As the client in gateway/client has it.
const (
	firstDelay   = 500 * time.Millisecond
	longestDelay = 30 * time.Second
	keptVisits   = 10
	stable       = 10 * time.Second // a connection that lived so long has proved itself
	dialPatience = 10 * time.Second
	silence      = 2*heartbeat + 5*time.Second
)

// live goes from connection to connection until ctx ends.
func (b *tab) live(ctx context.Context) {
	for ctx.Err() == nil {
		pauseFor(ctx, b.visit(ctx))
	}
}

// visit is one connection, from its handshake to its end; it tells how long to wait before the next.
func (b *tab) visit(ctx context.Context) time.Duration {
	g := b.s.balancer.pick(b.avoid)
	if g == nil {
		b.s.notes.add("no gateway was ready")
		return b.backoff()
	}
	defer b.s.balancer.left(g)
	conn, err := b.dial(ctx, g)
	if err != nil {
		b.avoid = g
		b.tell("%s did not take it: %v", g.name, err)
		b.s.refused(ctx, err)
		return b.backoff()
	}
	b.avoid = nil
	g.handshakes.add(time.Now())
	b.hold(conn, g)
	began, from := time.Now(), b.cursor
	after, told := b.stay(ctx, conn)
	b.tell("%s from %q to %q, %.1f s, come back: %v after %v", g.name, from, b.cursor, time.Since(began).Seconds(), told, after)
	if b.counted {
		b.counted = false
		g.sessions.Add(-1)
	}
	if time.Since(began) >= stable {
		b.attempts = 0
	}
	switch b.release(conn) {
	case network: // "When the browser says `online`, try at once": within the first delay, since everyone does
		return time.Duration(b.random.Int64N(int64(firstDelay)))
	case moving:
		return 0
	}
	if told {
		return after
	}
	return b.backoff()
}

func (b *tab) dial(ctx context.Context, g *gate) (*wsclient.Tab, error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	to := "ws://" + g.address + "/ws"
	if b.cursor != "" {
		to += "?cursor=" + url.QueryEscape(b.cursor)
	}
	options := wsclient.Options{Protocols: []string{"tidings.v1"}, Header: b.header}
	if b.sulks() {
		options.ReadBuffer = 2048
	}
	return wsclient.Dial(ctx, to, options)
}

// backoff is the wait before the next attempt, and counts it.
func (b *tab) backoff() time.Duration {
	most := min(longestDelay, firstDelay<<min(b.attempts, 10))
	b.attempts++
	return time.Duration(b.random.Int64N(int64(most)))
}

// stay takes frames until the connection ends. told tells that the server said when to come back.
func (b *tab) stay(ctx context.Context, conn *wsclient.Tab) (after time.Duration, told bool) {
	stop := context.AfterFunc(ctx, conn.Drop)
	defer stop()
	for welcomed := false; ; {
		text, err := conn.Text(silence)
		if err != nil {
			b.ended(ctx, err)
			return after, told
		}
		f := b.s.frames.parse(text)
		switch v := f.said.(type) {
		case wsclient.Draining:
			after, told = v.RetryAfter, true
			continue
		case wsclient.Overloaded:
			after, told = v.RetryAfter, true
			b.s.notes.add("overloaded")
			continue
		}
		b.take(f, &welcomed)
		if welcomed && b.sulks() {
			return b.sulk(ctx, conn), true
		}
	}
}

// take takes a frame: what it may be now, and what it means for the tab's position.
func (b *tab) take(f *frame, welcomed *bool) {
	if f.wrong != "" {
		b.report(strange, f.wrong)
		return
	}
	switch v := f.said.(type) {
	case wsclient.Welcome:
		*welcomed = true
		b.welcome(f, v)
	case wsclient.Notification:
		if b.arrive(b.s.world, f) {
			b.s.arrived(b, f.event)
		}
	case wsclient.Heartbeat:
		b.move(f, false)
	case wsclient.Reset:
		b.report(resets, "in the middle of a connection, at "+b.cursor)
		b.cursor, b.at = f.cursor, f.at
	}
}

func (b *tab) welcome(f *frame, v wsclient.Welcome) {
	switch {
	case v.Resume == "reset":
		b.report(resets, "welcomed at "+f.cursor+" instead of "+b.cursor)
		b.cursor, b.at = f.cursor, f.at
	case b.cursor == "" && v.Resume == "none":
		b.move(f, false)
		b.s.begun.Add(1)
	case v.Resume != "complete" || v.Cursor != b.cursor:
		b.report(strange, "welcomed with "+v.Resume+" at "+v.Cursor+", came with "+b.cursor)
	}
	if !b.deaf {
		b.counted = true
		b.gate.sessions.Add(1)
	}
}

// ended judges how the server ended the connection: only ways that a tab comes back from.
func (b *tab) ended(ctx context.Context, err error) {
	if wsclient.Timeout(err) {
		b.avoid = b.gate
		b.s.notes.add("silent for " + silence.String())
		return
	}
	switch code := wsclient.CloseCode(err); code {
	case 1006:
		if b.gaveUp() == itself && ctx.Err() == nil {
			b.s.notes.add("broken off")
		}
	case 1012, 1013, 4008, 4408:
		b.s.notes.add(fmt.Sprintf("closed with %d", code))
	default:
		b.report(strange, "the connection ended with "+err.Error())
	}
}

// hold makes the connection known to those who may drop it.
func (b *tab) hold(conn *wsclient.Tab, g *gate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.gate, b.why = conn, g, itself
}

// tell keeps what people may want to know of the tab.
func (b *tab) tell(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.story = append(b.story, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...)); len(b.story) > keptVisits {
		b.story = b.story[1:]
	}
}

// told is that.
func (b *tab) told() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.story, "\n  ")
}

// gaveUp is who has ended the connection from this side.
func (b *tab) gaveUp() reason {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// release ends the connection and tells who did so before.
func (b *tab) release(conn *wsclient.Tab) reason {
	conn.Hangup()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = nil
	return b.why
}

// drop resets the connection if there is one, at a gate unless that is nil.
func (b *tab) drop(at *gate, why reason) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil || b.why != itself || at != nil && b.gate != at {
		return false
	}
	b.why = why
	b.conn.Drop()
	return true
}

func pauseFor(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
