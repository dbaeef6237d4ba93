package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/gobwas/ws"

	"tidings/gateway/frame"
	"tidings/gateway/netpoll"
)

// readable reads what the browser sent, one buffer at a time: what is left is reported again, after others had their turn.
func (s *Session) readable(hangup bool) {
	n, err := netpoll.Read(int(s.fd), s.loop.read)
	switch {
	case errors.Is(err, netpoll.ErrAgain):
		if hangup {
			s.destroy(causeGone)
		}
	case err != nil:
		s.destroy(causeGone)
	case n == 0:
		// The browser has no more to say, and did not say goodbye (or did, and its close frame is answered).
		if s.dialect == eventStream { // there is no other way to leave
			s.destroy(causeBrowser)
			return
		}
		s.destroy(causeGone)
	default:
		s.receive(s.loop.read[:n])
	}
}

// receive takes bytes from the browser.
func (s *Session) receive(b []byte) {
	g := s.loop.gate
	s.loop.tally.received += len(b)
	if s.ended {
		return
	}
	if s.dialect == eventStream {
		s.ignore(len(b))
		return
	}
	r := s.in
	if r == nil {
		r = g.readers.Get()
		if s.form.deflated() {
			r.Deflate()
		}
	}
	s.in = nil
	for f, err := range r.Frames(b) {
		if err != nil {
			s.ended = true
			s.close(CloseCode(err.Code), err.Reason)
			s.hangUp() // where ours was written before
			break
		}
		if r.Idle() {
			s.setStuck(0) // a message that is begun behind this one has its own time
		}
		if s.frame(f); s.state == closed || s.ended {
			break
		}
	}
	if s.state == closed || r.Idle() {
		g.readers.Put(r)
		s.setStuck(0)
		return
	}
	s.in = r // a message is incomplete, or what comes is not read any more
	if s.rarely().stuck == 0 && s.state < closing {
		s.setStuck(s.loop.sec)
		s.remind(s.loop.sec + g.handshakeSeconds)
	}
}

// ignore is for what comes behind the request for an event stream. A few bytes are a client's or a proxy's clumsiness.
func (s *Session) ignore(n int) {
	s.received = uint16(min(int(s.received)+n, math.MaxUint16))
	if s.received > maxStray {
		s.close(closeFlood, "nothing is to be sent on an event stream")
	}
}

// maxStray bounds them over a stream's life.
const maxStray = 4096

// frame is one frame or message from the browser.
func (s *Session) frame(f frame.Frame) {
	if s.state == closing && f.Op != ws.OpClose {
		return // RFC 6455, 1.4: after our close frame the rest is discarded
	}
	if s.flooding() {
		s.ended = true // to look for its close frame among what may go on coming is what others would wait for
		s.close(closeFlood, fmt.Sprintf("more than %d frames per second", s.loop.gate.cfg.MessagesPerSecond))
		return
	}
	switch f.Op {
	case ws.OpText:
		s.text(f.Payload)
	case ws.OpPing:
		// RFC 6455, 5.5.3: "A Pong frame sent in response to a Ping frame must have identical "Application data"".
		s.answer(frame.AppendPong(make([]byte, 0, frame.HeaderLen(len(f.Payload))+len(f.Payload)), f.Payload))
	case ws.OpPong:
		s.pinged = false
	case ws.OpClose:
		s.closeAnswer(f.Payload)
	}
}

// answer sends what the browser can ask for again and again. One that does not read its answers is closed.
func (s *Session) answer(b []byte) {
	if s.out != nil && s.out.answers() >= maxAnswers {
		s.close(closeSlow, "answers are not read")
		return
	}
	s.sendControl(b)
}

// maxAnswers bounds the answers that wait for a socket: more are not owed. RFC 6455, 5.5.3: "the endpoint MAY elect to send a Pong
// frame for only the most recently processed Ping frame."
const maxAnswers = 64

// closeAnswer is the browser's close frame: the answer to ours, or one to be answered with its own code.
// RFC 6455, 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send
// a Close frame in response. (When sending a Close frame in response, the endpoint typically echos the status code it received.)"
func (s *Session) closeAnswer(payload []byte) {
	s.ended = true
	if s.state == closing {
		s.hangUp()
		return
	}
	s.leaveShard()
	s.state = closing
	s.loop.gate.metrics.closes.WithLabelValues(causeBrowser).Inc()
	s.due = s.loop.sec + closeSeconds
	s.remind(s.due)
	if s.out != nil {
		s.out.drop(0)
	}
	s.sendControl(frame.AppendClose(nil, frame.CloseCode(payload), ""))
	s.hangUp()
}

// flooding counts a frame, and tells whether it is one too many in its second. Twice the rate is let through at a second's edge.
func (s *Session) flooding() bool {
	if now := uint16(s.loop.sec); s.window != now {
		s.window, s.received = now, 0
	}
	if s.received < math.MaxUint16 {
		s.received++
	}
	return int(s.received) > s.loop.gate.cfg.MessagesPerSecond
}

// request is what a browser may say in tidings.v1 and in the plain dialect. Other fields, and other types, are ignored: a newer
// client may know more than this server.
type request struct {
	Type     string `json:"type"`
	Token    string `json:"token"`
	SendType string `json:"sendType"`
}

func (s *Session) text(payload []byte) {
	s.loop.tally.frames++
	if s.dialect == plain && string(payload) == plainAsks {
		s.answer(plainHealth)
		return
	}
	r, ok := readRequest(payload)
	if !ok {
		if s.dialect == tidingsV1 {
			s.close(closeProtocol, `not a JSON object such as {"type":"auth","token":"..."}`)
		}
		return // the wrappers that speak the plain dialect send what they like
	}
	switch {
	case s.dialect == plain && r.SendType == "HEALTH":
		s.answer(plainHealth)
	case s.dialect == tidingsV1 && r.Type == "auth" && !s.loop.gate.auth.DevMode():
		s.authenticate(r.Token)
	}
}

// readRequest is false for what is not a JSON object. A field of another type than ours is as good as absent.
func readRequest(payload []byte) (r request, ok bool) {
	err := json.Unmarshal(payload, &r)
	var field *json.UnmarshalTypeError
	if err != nil && !(errors.As(err, &field) && field.Field != "") {
		return r, false
	}
	return r, bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) // null is no error
}

// authenticate checks a token: the first one, or one that takes the place of the one before.
func (s *Session) authenticate(token string) {
	if s.verifying {
		return
	}
	a := s.loop.gate.auth
	who, err := a.Verify(token)
	if errors.Is(err, ErrKeyPending) {
		s.verifying = true
		s.loop.gate.verifyLater(s, token)
		return
	}
	s.verified(who, err)
}

// verified is the outcome.
func (s *Session) verified(who Identity, err error) {
	s.verifying = false
	switch {
	case s.state >= closing:
	case err != nil:
		code, reason := refusalOf(err)
		s.close(code, reason)
	case s.state != anonymous && s.loop.gate.revoked.refuses(who):
		s.close(closeForbidden, "this user's access was revoked")
	case s.state != anonymous && who.User != s.user:
		s.close(closeForbidden, "the new token is another user's")
	case s.state != anonymous:
		if s.setExpiry(who.Expires) {
			s.shard.regroup(s, who.Groups)
		}
	case s.dialect == plain && who.User != s.user:
		s.close(closeForbidden, "the token is not the user's in the path")
	default:
		s.begin(who)
	}
}

// plainAsks is what the wrappers send every few seconds, letter for letter. It is answered without the decoder, which takes 7
// allocations for it.
const plainAsks = `{"sendType":"HEALTH"}`

var (
	plainGreeting = frame.AppendText(nil, []byte("来自后台的反馈:连接成功"))
	plainHealth   = frame.AppendText(nil, []byte("SUCCESS"))
	pingFrame     = frame.AppendPing(nil, nil)
)
