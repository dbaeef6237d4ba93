package gateway

import (
	"math"
	"time"
)

// remind sets the wheel, unless it comes by earlier anyway.
func (s *Session) remind(at uint32) {
	if s.reminder == 0 || at < s.reminder {
		s.reminder = s.loop.wheel.add(at, s.tag())
	}
}

// rhythm is the session's interval between heartbeats, in seconds: the setting ± 10 %, always the same for one session.
func (s *Session) rhythm() uint32 {
	h := s.loop.gate.heartSeconds
	return h - h/10 + uint32(s.id)%(h/5+1)
}

// check is the wheel's reminder: everything that depends on time.
func (s *Session) check() {
	now := s.loop.sec
	if now < s.reminder {
		return // a reminder from before one that came earlier
	}
	s.reminder = 0
	rarely := s.rarely()
	switch {
	case s.due != 0 && now >= s.due:
		switch {
		case s.state == closing:
			s.destroy("")
		case s.verifying:
			s.close(closeOverloaded, "the token cannot be checked now")
		default:
			s.close(closeUnauthorized, "no token came in time")
		}
	case s.state == closing:
	case s.expires != 0 && now >= s.expires:
		s.close(closeUnauthorized, "the token has expired")
	case rarely.stuck != 0 && now >= rarely.stuck+s.loop.gate.handshakeSeconds:
		s.close(closeFlood, "a message was begun and not finished")
	case s.out != nil && now >= s.out.since+s.loop.gate.slowSeconds:
		s.close(closeSlow, "the connection takes no data")
	case rarely.ahead != 0 && now >= rarely.ahead+aheadSeconds:
		s.checkAhead()
	case now >= s.retires():
		s.drain(returnSpread)
	}
	if s.state == live && now >= s.beat && s.out == nil {
		s.heartbeat()
	}
	if s.state != closed {
		s.remind(s.nextCheck())
	}
}

func (s *Session) nextCheck() uint32 {
	at := s.loop.sec + wheelSize
	for _, t := range [...]uint32{s.due, s.expires, s.beat, s.retires()} {
		if t != 0 {
			at = min(at, t)
		}
	}
	rarely := s.rarely()
	if rarely.stuck != 0 {
		at = min(at, rarely.stuck+s.loop.gate.handshakeSeconds)
	}
	if rarely.ahead != 0 {
		at = min(at, rarely.ahead+aheadSeconds)
	}
	if s.out != nil {
		at = min(at, s.out.since+s.loop.gate.slowSeconds)
	}
	return at
}

// retires is the second in which the session is sent away because of its age: between half of TIDINGS_MAX_LIFETIME and all of it, so that those who
// came together do not leave together.
func (s *Session) retires() uint32 {
	most := s.loop.gate.lifeSeconds
	if most == 0 {
		return math.MaxUint32
	}
	return s.loop.slots[s.slot].word + most - uint32(s.id*0x9e3779b97f4a7c15>>32)%(most/2+1)
}

// heartbeat tells a quiet session how far it is, and asks for a sign of life.
func (s *Session) heartbeat() {
	if s.pinged {
		s.close(closeNoHeartbeat, "no pong came back")
		return
	}
	ping := pingFrame
	if s.dialect == eventStream {
		ping = silentEvent // whether somebody is there, TCP must know
	}
	s.pinged = s.dialect != eventStream
	if s.dialect == plain {
		s.sendControl(ping)
		return
	}
	f := s.loop.followed(s.shard)
	if f == nil || s.life != f.life { // there is nothing to promise yet, or a loss is on its way
		s.sendControl(ping)
		return
	}
	before := s.pos
	s.pos = max(s.pos, f.seq)
	s.send(queued{b: s.loop.heartbeat(f, s), before: before, moves: true})
	s.loop.tally.heartbeats++
}

// checkAhead ends the patience with a cursor that is beyond the end of the log: the log's leader itself, asked after the
// session came, does not have it.
func (s *Session) checkAhead() {
	since := time.Duration(s.loop.sec-s.rarely().ahead-aheadSeconds) * time.Second
	switch s.shard.judge(s.pos, time.Now().Add(-since)) {
	case caughtUp:
		s.setAhead(0)
	case beyondEnd:
		s.giveUp(resetAhead)
	case unknown: // look again in a second
	}
}

const (
	aheadSeconds = 5
	closeSeconds = 3
)
