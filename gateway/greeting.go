package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"strings"

	"tidings/gateway/netpoll"
)

// greeting is a connection that has not said yet what it wants: a WebSocket, which becomes a Session, or anything else, which is
// handed to net/http. It holds the bytes of its first request, and has a deadline.
type greeting struct {
	loop  *loop
	fd    int
	tag   netpoll.Tag
	peer  net.Addr // whose it is, where the socket does not know
	buf   []byte
	due   uint32
	leave bool // it was refused; what still comes is thrown away
}

// maxRequest bounds a request's head: a token of 8 KiB in a cookie, and room for others.
const maxRequest = 16 << 10

func (l *loop) greet(fd int, peer net.Addr) {
	t, err := l.adopt(fd)
	if err != nil {
		l.gate.log.Error("cannot watch a connection", "error", err)
		netpoll.Close(fd)
		return
	}
	g := &greeting{loop: l, fd: fd, tag: t, peer: peer, due: l.sec + l.gate.handshakeSeconds}
	l.greets[t.Slot] = g
	g.readable() // where accepting waits for the request, it is there
	if l.greets[t.Slot] != g || g.leave {
		return
	}
	if len(g.buf) == 0 { // it was silent for so long already
		g.due = l.sec + max(1, l.gate.handshakeSeconds-netpoll.AcceptDelay)
	}
	l.wheel.add(g.due, t)
}

// check is the wheel's reminder.
func (g *greeting) check() {
	if g.loop.sec >= g.due {
		if !g.leave { // else it was counted before
			g.loop.gate.metrics.refusals.WithLabelValues("timeout").Inc()
		}
		g.close()
		return
	}
	g.loop.wheel.add(g.due, g.tag)
}

func (g *greeting) close() {
	g.loop.release(g.fd, g.tag.Slot)
	netpoll.Close(g.fd)
}

func (g *greeting) readable() {
	n, err := netpoll.Read(g.fd, g.loop.read)
	switch {
	case errors.Is(err, netpoll.ErrAgain):
		return
	case err != nil || n == 0:
		g.close()
		return
	case g.leave:
		return
	}
	b := g.loop.read[:n]
	if len(g.buf) > 0 {
		g.buf = append(g.buf, b...)
		b = g.buf
	}
	end := bytes.Index(b, endOfHead)
	switch {
	case end >= 0 && end <= maxRequest && startsUpgrade(b):
		g.upgrade(b, end+len(endOfHead))
	case end >= 0 || len(b) > maxRequest:
		g.handOn(b) // net/http refuses what is too large
	case len(g.buf) == 0:
		g.buf = bytes.Clone(b)
	}
}

var endOfHead = []byte("\r\n\r\n")

// upgrade answers the handshake whose head ends at end. What follows it are frames already.
func (g *greeting) upgrade(b []byte, end int) {
	gate := g.loop.gate
	r, ok := g.loop.head.read(b[:end])
	if !ok {
		var err error
		if r, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:end]))); err != nil {
			g.handOn(b) // net/http words the refusal
			return
		}
	}
	up, ref := gate.admit(r)
	if ref != nil {
		gate.metrics.refused(ref)
		netpoll.Write(g.fd, ref.append(nil, up.cors()...)) // it fits into an empty buffer
		netpoll.CloseWrite(g.fd)
		g.leave, g.buf, g.due = true, nil, g.loop.sec+closeSeconds
		g.loop.wheel.add(g.due, g.tag)
		return
	}
	g.loop.begin(g.fd, g.tag, up, b[end:])
}

// handOn gives the connection to net/http, with what was read of it.
func (g *greeting) handOn(b []byte) {
	g.loop.poller.Remove(g.fd)
	g.loop.release(g.fd, g.tag.Slot)
	conn, err := netpoll.Conn(g.fd)
	if err != nil {
		g.loop.gate.log.Warn("cannot serve a connection", "error", err)
		return
	}
	if !g.loop.gate.pages.give(&begunConn{conn.(socket), bytes.Clone(b), g.peer}) {
		conn.Close()
	}
}

// deafHeartbeats: an event stream has no pongs. Who does not acknowledge a heartbeat by the time of the second after it is gone.
const deafHeartbeats = 2

// begin makes a session of an upgraded connection, which is in its slot already. rest is what the browser sent behind its
// handshake: RFC 6455, 4.1, lets it only after ours, but one segment can hold both where a proxy answers for us.
func (l *loop) begin(fd int, t netpoll.Tag, up upgrade, rest []byte) {
	gate := l.gate
	s := &Session{loop: l, fd: int32(fd), slot: t.Slot, id: gate.nextSession(), dialect: up.dialect, form: up.form(), user: strings.Clone(up.user)} // not the whole request
	s.setRare(rare{cursor: strings.Clone(up.cursor)})
	l.slots[t.Slot].session, l.slots[t.Slot].word = s, l.sec
	delete(l.greets, t.Slot)
	gate.metrics.sessions[s.dialect].Inc()
	gate.open.Add(1)
	netpoll.LimitUnsent(fd, unsentBytes) // a failure costs memory only
	if s.dialect == eventStream {
		netpoll.LimitUnacknowledged(fd, deafHeartbeats*gate.cfg.Heartbeat) // a failure costs time: see LimitUnacknowledged
	}
	s.together(func() {
		s.sendControl(appendAnswer(nil, up))
		switch {
		case up.later > 0:
			s.comeLater(up.later)
		case gate.leaving.Load():
			s.drain(crowdSpread)
		case gate.auth.DevMode():
			s.verified(Identity{User: up.user, Groups: up.groups}, nil)
		case up.token != "":
			s.authenticate(up.token)
		case s.dialect != tidingsV1: // where no auth frame can follow
			s.close(closeUnauthorized, "no token")
		}
	})
	if s.state == closed {
		return
	}
	if s.state == anonymous {
		s.due = l.sec + gate.authSeconds
		s.remind(s.due)
	}
	if len(rest) > 0 {
		s.receive(rest)
	}
}
