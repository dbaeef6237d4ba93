//go:build linux

package badpeers

import (
	"bytes"
	"io"
	"time"

	"github.com/gobwas/ws"
)

// kind is one way to be a nuisance.
type kind struct {
	name  string
	small bool          // its receive buffer is: a few events fill the server's side too
	pause time.Duration // before it comes again
	live  func(*peer)   // one connection, until the server ends it or everybody leaves
}

// kinds are dealt out in blocks, in this order. Events for the first two are what makes them bad.
var kinds = [...]kind{
	{"never reads", true, time.Second, (*peer).stall},
	{"reads slowly", true, time.Second, (*peer).sip},
	{"half a frame", false, time.Second, (*peer).halfFrame},
	{"half a handshake", false, time.Second, (*peer).halfHandshake},
	{"byte by byte", false, time.Second, (*peer).trickle},
	{"floods", false, time.Second, (*peer).flood},
	{"garbage", false, time.Second, (*peer).garbage},
	{"comes and resets", false, 500 * time.Millisecond, (*peer).touch},
}

// Kinds is how many there are, and the least number of peers.
const Kinds = len(kinds)

// Fed is how many of a number of peers should be sent events: the first ones.
func Fed(peers int) int { return first(2, peers) }

// Stalled is how many of these never read.
func Stalled(peers int) int { return first(1, peers) }

// first is the first peer of a kind.
func first(kind, peers int) int { return (kind*peers + Kinds - 1) / Kinds }

func kindOf(number, peers int) *kind { return &kinds[number*Kinds/peers] }

const (
	lookEvery  = 250 * time.Millisecond
	sipEvery   = 100 * time.Millisecond
	sipBytes   = 1024
	byteEvery  = 50 * time.Millisecond
	burstEvery = 100 * time.Millisecond
	burstBytes = 32 << 10
)

func (p *peer) stall() {
	p.send(p.request)
	for p.look() && p.rest(lookEvery) {
	}
}

func (p *peer) sip() {
	p.send(p.request)
	b := make([]byte, sipBytes)
	for p.rest(sipEvery) {
		if _, err := p.conn.Read(b); err != nil {
			return
		}
	}
}

func (p *peer) halfFrame() {
	p.send(p.request, masked(ws.OpText, "a message of which the rest never comes")[:12])
	io.Copy(io.Discard, p.conn)
}

func (p *peer) halfHandshake() {
	p.send(p.request[:len(p.request)/2])
	io.Copy(io.Discard, p.conn)
}

// trickle gives every byte a segment and a wake-up: every second one those of the handshake, the others those of pings.
func (p *peer) trickle() {
	slow := p.request
	if p.number%2 == 0 {
		p.send(p.request)
		slow = nil
	}
	for {
		for i := range slow {
			if !p.rest(byteEvery) || !p.send(slow[i:i+1]) {
				return
			}
		}
		slow = masked(ws.OpPing, "slow")
	}
}

// flood sends frames that a server has to answer, or to look into, and takes no answer.
func (p *peer) flood() {
	p.send(p.request)
	one := masked(ws.OpPing, string(bytes.Repeat([]byte("x"), 125)))
	if p.number%2 == 0 {
		one = masked(ws.OpText, "{}")
	}
	frames := bytes.Repeat(one, burstBytes/len(one))
	for p.send(frames) && p.rest(burstEvery) {
	}
}

func (p *peer) garbage() {
	b := bytes.Repeat([]byte{0xff, byte(p.number)}, 128) // RFC 6455, 5.2: reserved bits, and an opcode that is none
	p.send(p.request, b)
	io.Copy(io.Discard, p.conn)
}

// touch resets the connection at once, every second one with its request on the way.
func (p *peer) touch() {
	if p.number%2 == 0 {
		p.send(p.request)
	}
	p.began()
}

// masked is a frame as a browser sends it. A mask of zeros is one.
func masked(op ws.OpCode, payload string) []byte {
	f := ws.NewFrame(op, true, []byte(payload))
	f.Header.Masked = true
	return ws.MustCompileFrame(f)
}
