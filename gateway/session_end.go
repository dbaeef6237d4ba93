package gateway

import (
	"github.com/gobwas/ws"

	"tidings/gateway/ask"
	"tidings/gateway/frame"
	"tidings/gateway/netpoll"
)

// close begins the closing handshake (RFC 6455, 7.1.2): a close frame, then a while for the browser's own. An event stream ends with an
// event that says the same.
func (s *Session) close(code CloseCode, reason string) {
	if s.state >= closing {
		return
	}
	s.leaveShard()
	s.loop.gate.metrics.closes.WithLabelValues(code.Name()).Inc()
	s.remember(ask.Closed, code.Name(), 0, s.given())
	s.state = closing
	s.verifying = false
	s.due = s.loop.sec + closeSeconds
	s.remind(s.due)
	if s.out != nil {
		s.out.drop(0)
	}
	if s.dialect == eventStream {
		s.ended = true // there is no answer to wait for
		s.sendControl(appendCloseEvent(nil, code, reason))
	} else {
		s.sendControl(frame.AppendClose(nil, ws.StatusCode(code), reason))
	}
	s.hangUp()
}

// hangUp ends our direction when our close frame is written and the browser has said its last, in whatever order. RFC 6455,
// 7.1.1: "the underlying TCP connection, in most normal cases, SHOULD be closed first by the server", by shutdown, reading to the
// end, and close. What still comes is thrown away: closing on unread bytes would reset the connection, and could take the
// close frame with it.
func (s *Session) hangUp() {
	if s.state == closing && s.ended && s.out == nil && s.loop.cork.session != s {
		netpoll.CloseWrite(int(s.fd)) // an error is the browser's leaving
	}
}

func (s *Session) leaveShard() {
	if s.shard != nil {
		s.shard.detach(s)
	}
}

// destroy closes the socket. Every session ends here, once. cause is for the metrics when no close frame was sent.
func (s *Session) destroy(cause string) {
	if s.state == closed {
		return
	}
	if s.state != closing {
		s.leaveShard()
		s.loop.gate.metrics.closes.WithLabelValues(cause).Inc()
		s.remember(ask.Closed, cause, 0, s.given())
	}
	s.state = closed
	s.loop.gate.metrics.sessions[s.dialect].Dec()
	s.loop.gate.open.Add(-1)
	if s.in != nil {
		s.loop.gate.readers.Put(s.in)
		s.in = nil
	}
	s.out = nil
	s.loop.release(int(s.fd), s.slot)
	netpoll.Close(int(s.fd))
}
