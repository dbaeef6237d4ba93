package gateway

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"time"

	"tidings/gateway/netpoll"
	"tidings/gateway/tlsfront"
)

// lastWords is how long TLS has, when the loops have closed everything, to bring its peers what they have not taken yet.
const lastWords = 2 * time.Second

// listen binds the address, with TLS in front of the loops where the settings say so.
func (g *Gateway) listen(n Needs) (err error) {
	g.listener = -1
	if !g.cfg.TLSConfig.Wanted() {
		if g.listener, g.address, err = netpoll.Listen(g.cfg.Listen); err != nil {
			return fmt.Errorf("cannot listen on %s (TIDINGS_LISTEN): %w", g.cfg.Listen, err)
		}
		return nil
	}
	g.front, err = tlsfront.New(g.cfg.TLSConfig, g.cfg.Listen, tlsfront.Needs{
		Log: n.Log, Registry: n.Registry, Handshake: g.cfg.HandshakeTimeout, Unsent: unsentBytes,
		Deaf:   deafHeartbeats * g.cfg.Heartbeat, // on a WebSocket a pong that does not come says so earlier
		Relays: runtime.GOMAXPROCS(0), Full: n.Full,
	})
	if err == nil {
		g.address = g.front.Addr()
	}
	return err
}

// runTLS runs the front, if there is one. What it returns is called when the loops have ended, and waits for it.
func (g *Gateway) runTLS(fail context.CancelCauseFunc) (end func()) {
	if g.front == nil {
		return func() {}
	}
	ctx, cut := context.WithCancel(context.Background()) // sessions are told that we leave through it
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.front.Run(ctx, g.deliver); err != nil {
			fail(err)
		}
	}()
	return func() {
		g.front.Refuse()
		select {
		case <-done:
		case <-time.After(lastWords):
		}
		cut()
		<-done
	}
}

func (g *Gateway) refuseTLS() {
	if g.front != nil {
		g.front.Refuse()
	}
}

// deliver gives a loop a connection that speaks in the clear behind TLS.
func (g *Gateway) deliver(turn, fd int, peer net.Addr) bool {
	l := g.loops[turn%len(g.loops)]
	return l.call(func() { l.greet(fd, peer) })
}
