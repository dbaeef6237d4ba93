//go:build linux

package loadgen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// tab is one connection. It holds bytes only while a frame came in parts.
type tab struct {
	gen        uint32
	state      tabState
	user       int32
	deliveries uint32 // since the last reset
	cursor     cursor
	part       []byte
}

type tabState byte

const (
	absent     tabState = iota
	connecting          // until the socket is writable
	greeting            // until the answer to the handshake is read
	welcoming           // until the first text frame, where the subprotocol has one
	opened
)

// event is what the poller says of a tab's socket.
func (g *generator) event(ev *unix.EpollEvent) {
	fd := int(ev.Fd)
	if fd == wakeSlot {
		g.poller.drainWake()
		return
	}
	if fd >= len(g.tabs) || g.tabs[fd].gen != uint32(ev.Pad) {
		return // closed in this turn
	}
	t := &g.tabs[fd]
	if t.state != connecting {
		g.readable(fd, t)
		return
	}
	err := connected(fd)
	if err == nil {
		err = g.greet(fd, t)
	}
	if err == nil {
		err = g.poller.input(fd, t.gen)
	}
	if err != nil {
		g.fail(fd, err)
	}
}

// greet sends the request. It fits into the empty buffer of a new socket. unix.EAGAIN means that there is no connection yet.
func (g *generator) greet(fd int, t *tab) error {
	request, err := g.handshake.request(t.user, t.cursor.bytes())
	if err == nil {
		_, err = write(fd, request)
	}
	if err == nil {
		t.state = greeting
	}
	return err
}

func (g *generator) readable(fd int, t *tab) {
	n, err := read(fd, g.buf)
	now := time.Now().UnixNano()
	switch {
	case errors.Is(err, unix.EAGAIN):
		return
	case err == nil && n == 0:
		err = errors.New("the server ended the connection")
		fallthrough
	case err != nil:
		g.fail(fd, err)
		return
	}
	b := g.buf[:n]
	if len(t.part) > 0 {
		b = append(t.part, b...)
	}
	rest, err := g.receive(fd, t, b, now)
	if later, ok := errors.AsType[busy](err); ok {
		g.turn(fd, later.after)
		return
	}
	if err != nil {
		g.fail(fd, err)
		return
	}
	t.part = nil
	if len(rest) > 0 {
		t.part = bytes.Clone(rest)
	}
}

// receive takes what is complete off b and gives what is not.
func (g *generator) receive(fd int, t *tab, b []byte, now int64) (rest []byte, err error) {
	if t.state == greeting {
		size, err := checkAnswer(b)
		if size == 0 || err != nil {
			return b, err
		}
		b = b[size:]
		t.state = welcoming
		if g.cfg.Subprotocol == "" {
			g.welcomed(t)
		}
	}
	for {
		op, payload, size, err := cutFrame(b)
		if size == 0 || err != nil {
			return b, err
		}
		if err := g.frame(fd, t, op, payload, now); err != nil {
			return nil, err
		}
		b = b[size:]
	}
}

// What says that a position was lost: in the welcome, or later.
var resetTexts = [2][]byte{[]byte(`"type":"reset"`), []byte(`"resume":"reset"`)}

func isReset(payload []byte) bool {
	return bytes.Contains(payload, resetTexts[0]) || bytes.Contains(payload, resetTexts[1])
}

func (g *generator) frame(fd int, t *tab, op byte, payload []byte, now int64) error {
	switch op {
	case opText:
		t.cursor.from(payload)
		if at, ok := stamp(payload); ok {
			t.deliveries++
			g.delivered(at, now)
			return nil
		}
		if isReset(payload) {
			g.report.Resets++
		}
		if t.state == welcoming {
			g.welcomed(t)
		}
	case opPing:
		g.pong = appendPong(g.pong[:0], payload[:min(len(payload), 125)])
		write(fd, g.pong) // a pong that does not fit says that the server does not read
	case opClose:
		code := 1005 // RFC 6455, 7.1.5: "no status code was actually present"
		if len(payload) >= 2 {
			code, payload = int(binary.BigEndian.Uint16(payload)), payload[2:]
		}
		return fmt.Errorf("the server closed with %d %q", code, payload)
	}
	return nil
}

func (g *generator) welcomed(t *tab) {
	t.state = opened
	g.opening--
	g.report.Open++
}

// turn ends a connection that is to be made again later.
func (g *generator) turn(fd int, after time.Duration) {
	t := &g.tabs[fd]
	g.turned = append(g.turned, turned{away{t.user, t.cursor}, time.Now().Add(after)})
	g.opening--
	g.tabs[fd] = tab{}
	reset(fd)
}

// fail is the only other place where a tab ends, but for those that are dropped.
func (g *generator) fail(fd int, err error) {
	if g.tabs[fd].state == opened {
		g.report.Open--
	} else {
		g.opening--
	}
	g.tabs[fd] = tab{}
	reset(fd)
	g.failed(err)
}
