package wsclient

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// Tab is one open connection. One goroutine reads; any goroutine may send, or end it with Hangup or Drop.
type Tab struct {
	// Fixed at creation.
	conn     net.Conn
	protocol string
	mute     bool

	// Owned by the goroutine that reads.
	in   reader
	slow struct {
		bytes int
		pause time.Duration
	}
	ended error // every later read fails with it

	// Guarded by mu.
	mu   sync.Mutex
	out  []byte
	said bool // our close frame is sent
}

// Protocol is the subprotocol that the server chose, "" if none.
func (t *Tab) Protocol() string { return t.protocol }

// NetConn is the connection below. Reading from it is for those who no longer use the Tab.
func (t *Tab) NetConn() net.Conn { return t.conn }

// Slow makes the Tab read at most n bytes at a time and then pause, from now on. 0 bytes ends that.
func (t *Tab) Slow(n int, pause time.Duration) { t.slow.bytes, t.slow.pause = n, pause }

// Next returns the next frame of tidings.v1: a Welcome, Notification, Heartbeat, Reset or Draining. It waits for at most patience (0: for
// ever), and then fails with an error that Timeout recognises. A connection that ended is a *Closed.
func (t *Tab) Next(patience time.Duration) (any, error) {
	text, err := t.Text(patience)
	if err != nil {
		return nil, err
	}
	return Parse(text)
}

// Text returns the next text. It is valid until the next call.
func (t *Tab) Text(patience time.Duration) ([]byte, error) {
	deadline := after(patience)
	for {
		op, payload, err := t.until(deadline)
		switch {
		case err != nil:
			return nil, err
		case op == ws.OpText:
			return payload, nil
		case op == ws.OpBinary:
			return nil, errors.New("the server sent a binary frame")
		}
	}
}

// Frame returns the next frame of any kind, pings and pongs too, and fragments put together. It is valid until the next call.
func (t *Tab) Frame(patience time.Duration) (ws.OpCode, []byte, error) {
	return t.until(after(patience))
}

func (t *Tab) until(deadline time.Time) (ws.OpCode, []byte, error) {
	for t.ended == nil {
		op, payload, err := t.in.take()
		switch {
		case err != nil:
			t.ended = err
		case op == 0:
			if err := t.fill(deadline); err != nil {
				return 0, nil, err
			}
		case op == ws.OpClose:
			t.ended = closedBy(payload)
			// RFC 6455, 5.5.1: "the endpoint MUST send a Close frame in response". Whoever closes the socket first is the
			// server's affair; ServerHungUp can tell.
			_ = t.sayClose(payload[:min(2, len(payload))])
		case op == ws.OpPing && !t.mute:
			_ = t.SendFrame(ws.NewPongFrame(payload)) // a server that is gone shows when it is read
			return op, payload, nil
		default:
			return op, payload, nil
		}
	}
	return 0, nil, t.ended
}

// fill reads more from the socket.
func (t *Tab) fill(deadline time.Time) error {
	room := t.in.room()
	if t.slow.bytes > 0 {
		time.Sleep(t.slow.pause)
		room = room[:min(len(room), t.slow.bytes)]
	}
	err := t.conn.SetReadDeadline(deadline)
	if err == nil {
		var n int
		n, err = t.conn.Read(room)
		t.in.came(n)
	}
	if err != nil && !Timeout(err) {
		t.ended = lost(err)
		return t.ended
	}
	return err
}

// Close says goodbye with a code (0: none) and a reason, reads until the server has said it too, and closes the socket. What comes
// in between is thrown away. It returns nil if the server answered within the patience.
func (t *Tab) Close(code int, reason string, patience time.Duration) error {
	defer t.Hangup()
	var payload []byte
	if code != 0 {
		payload = ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	}
	if err := t.sayClose(payload); err != nil {
		return err
	}
	for deadline := after(patience); ; {
		if _, _, err := t.until(deadline); err != nil {
			var c *Closed
			if errors.As(err, &c) && c.Err == nil {
				return nil
			}
			return err
		}
	}
}

// ServerHungUp waits until the server has closed the socket and tells whether it did, cleanly, within the patience. RFC 6455, 7.1.1:
// "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server".
func (t *Tab) ServerHungUp(patience time.Duration) bool {
	if t.conn.SetReadDeadline(after(patience)) != nil {
		return false
	}
	_, err := io.Copy(io.Discard, t.conn)
	return err == nil
}

// Hangup closes the socket without a close frame, as a killed browser does. It may be called more than once.
func (t *Tab) Hangup() { t.conn.Close() }

// Drop resets the TCP connection, as some middleboxes do: the server sees ECONNRESET and nothing that it sent is delivered any more.
func (t *Tab) Drop() {
	if tcp, ok := t.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // fails only on a closed socket
	}
	t.conn.Close()
}

func after(patience time.Duration) time.Time {
	if patience == 0 {
		return time.Time{}
	}
	return time.Now().Add(patience)
}
