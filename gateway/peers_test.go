package gateway

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"tidings/fanout/wire"
)

// A peer that is stalled, silent, slow or out to do harm costs what its own session may have, and nobody else anything: 500 of
// them, of seven kinds, stay beside 20 tabs, which have everything in order.
func TestBadPeers(t *testing.T) {
	const (
		each    = 72 // of every kind; 7 kinds
		good    = 20
		events  = 300
		perPeer = 16 << 10 // bytes of live memory that a bad peer may cost
	)
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Queue, c.ConnectionsPerUser = 16, 1000 })
	before := liveHeap()
	var peers badPeers
	defer peers.leave()
	for range each {
		peers.add(g.small(4096), g.request())                                              // never reads
		peers.add(g.small(4096), g.request(), masked(text, "{}")[:3])                      // half a message
		peers.add(g.raw(), g.request()[:60])                                               // half a handshake
		peers.add(g.raw())                                                                 // says nothing
		peers.add(g.raw(), g.request(), masked(ping, "again"))                             // reads nothing, asks for answers
		peers.add(g.raw(), g.request(), maskedHeader(text, 1<<30))                         // announces what is too much
		peers.add(g.raw(), bytes.Repeat([]byte("GET /ws HTTP/1.1\r\nCookie: x\r\n"), 500)) // a head without an end
	}
	peers.flood(g)
	var tabs []*tab
	for i := range good {
		b, _ := g.tab(fmt.Sprintf("good%d", i), "")
		tabs = append(tabs, b)
	}
	fill := bytes.Repeat([]byte("x"), 2000)
	var readers sync.WaitGroup
	for _, b := range tabs {
		readers.Go(func() { b.expect(0, events-1) })
	}
	for n := range events {
		h.tell(wire.Record{Kind: wire.All, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, fill)})
	}
	readers.Wait()
	peers.leaveFlood()

	eventually(t, "what the peers hold is bounded", func() error {
		for _, l := range g.loops {
			errs := make(chan error, 1)
			l.call(func() { errs <- l.bounded(g.cfg.Queue + maxAnswers + 2) })
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	})
	entries := int64(events * (len(fill) + 400)) // of the tail, which is everybody's
	if got := liveHeap() - before - entries; got > 7*each*perPeer {
		t.Errorf("%d bad peers hold %d B, %d B each, want at most %d B each", 7*each, got, got/(7*each), perPeer)
	}
	if err := g.consistent(); err != nil {
		t.Error(err)
	}
}

// bounded tells of a session that holds more frames than it may.
func (l *loop) bounded(most int) error {
	for i := range l.slots {
		if s := l.slots[i].session; s != nil && s.out != nil && len(s.out.queue) > most {
			return fmt.Errorf("slot %d: %d frames in the outbox, want at most %d", i, len(s.out.queue), most)
		}
	}
	return nil
}

type badPeers struct {
	conns []net.Conn
	stop  chan struct{}
	wg    sync.WaitGroup
}

func (p *badPeers) add(b *tab, parts ...[]byte) {
	b.send(parts...)
	p.conns = append(p.conns, b.conn)
}

// flood comes and sends frames as fast as it can, and is thrown out, again and again.
func (p *badPeers) flood(g *gate) {
	p.stop = make(chan struct{})
	request, frames := g.request(), bytes.Repeat(masked(text, health), 500)
	for range 4 {
		p.wg.Go(func() {
			for {
				select {
				case <-p.stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", g.Addr().String())
				if err != nil {
					continue
				}
				conn.SetDeadline(time.Now().Add(time.Second))
				conn.Write(request)
				for err == nil {
					_, err = conn.Write(frames) // until it is closed
				}
				conn.Close()
				runtime.Gosched()
			}
		})
	}
}

func (p *badPeers) leaveFlood() {
	close(p.stop)
	p.wg.Wait()
}

func (p *badPeers) leave() {
	for _, c := range p.conns {
		c.Close()
	}
}
