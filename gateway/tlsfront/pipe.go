package tlsfront

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"time"

	"tidings/gateway/netpoll"
)

// pipe is one connection behind its handshake: TLS on one side, our end of a pair of sockets on the other. It belongs to a relay.
type pipe struct {
	conn  *tls.Conn
	wire  *wire
	inner int // our end
	slot  int32
	gen   uint32

	toLoop    []byte // in the clear; the loop's socket is full
	peerEnded bool   // the peer sends nothing more
	told      bool   // and the loop knows
	loopEnded bool   // the loop sends nothing more
	said      bool   // and the peer is told by TLS
	finished  bool   // and by TCP
	loopGone  bool   // its end is closed: what is in the pair is all there will be
	until     time.Time

	outerWatch, innerWatch watched
}

// watched is what a descriptor is watched for.
type watched struct{ input, output bool }

// lingering is how long the peer of a connection that its loop has closed may take to read the rest.
const lingering = 10 * time.Second

// errBroken ends a pipe at once. Its cause is in the peer's hands: a reset, or bytes that are not TLS.
var errBroken = errors.New("the connection is broken")

// inward takes what the peer sent to the loop, until one of them has to be waited for. crypto/tls may hold bytes that the socket no longer
// tells of, so that it is read until it says that there is nothing.
func (p *pipe) inward(buf []byte) error {
	for !p.loopGone {
		if len(p.toLoop) > 0 {
			p.toLoop = p.feed(p.toLoop)
			if len(p.toLoop) > 0 {
				return nil
			}
			p.toLoop = nil
		}
		if p.peerEnded {
			if !p.told {
				p.told = true
				netpoll.CloseWrite(p.inner) // an error is the loop's leaving
			}
			return nil
		}
		n, err := p.conn.Read(buf)
		if n > 0 {
			p.toLoop = bytes.Clone(p.feed(buf[:n]))
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF): // with or without a close_notify
			p.peerEnded = true
		case err == errWait:
			return nil
		default:
			return errBroken
		}
	}
	return p.discard(buf)
}

// feed gives the loop what its socket takes, and returns the rest.
func (p *pipe) feed(b []byte) []byte {
	n, err := netpoll.Write(p.inner, b)
	if err != nil && !errors.Is(err, netpoll.ErrAgain) {
		p.loopGone = true
		return nil
	}
	return b[n:]
}

// discard reads on when nobody is there to have it: closing on unread bytes would reset the connection, and what is on its way with it.
func (p *pipe) discard(buf []byte) error {
	p.toLoop = nil
	for !p.peerEnded {
		switch _, err := p.conn.Read(buf); {
		case err == nil:
		case err == errWait:
			return nil
		default:
			p.peerEnded = true
		}
	}
	return nil
}

// outward takes what the loop sent to the peer. Nothing is read from the loop while the peer's socket is full.
func (p *pipe) outward(buf []byte) error {
	for {
		if p.wire.flush() != nil {
			return errBroken
		}
		switch {
		case len(p.wire.pending) > 0, p.finished:
			return nil
		case p.said:
			p.finished = true
			netpoll.CloseWrite(p.wire.fd) // an error is the peer's leaving
			return nil
		case p.loopEnded:
			p.said = true
			if p.conn.CloseWrite() != nil {
				return errBroken
			}
			continue
		}
		n, err := netpoll.Read(p.inner, buf)
		switch {
		case errors.Is(err, netpoll.ErrAgain):
			return nil
		case err != nil || n == 0:
			p.loopEnded = true
			continue
		}
		if _, err := p.conn.Write(buf[:n]); err != nil {
			return errBroken
		}
	}
}

// over tells that there is nothing more to do: both have said their last, or the loop is gone and the peer has everything.
func (p *pipe) over() bool { return p.finished && (p.peerEnded && p.told || p.loopGone) }
