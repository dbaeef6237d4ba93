package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
	"tidings/gateway/frame"
	"tidings/gateway/netpoll"
)

// Session is one browser connection. It belongs to one loop, which alone reads and writes its socket.
//
// While nothing happens it holds this struct and nothing else: no buffer, no timer, no goroutine.
type Session struct {
	// Fixed at creation.
	loop    *loop
	id      uint64
	fd      int32
	slot    int32 // the loop's
	dialect dialect
	form    form

	// Guarded by the shard's lock.
	live bool

	// Owned by the loop, and here for the sake of the struct's size.
	state     state
	pinged    bool   // a ping is not answered yet
	verifying bool   // a token is with the identity provider
	ended     bool   // the browser's close frame, or its mistake, was the last that counts
	batched   bool   // a frame of it is in the loop's batch
	window    uint16 // second in which received counts, its last 16 bits
	received  uint16 // frames in that second, as far as 16 bits go
	life      uint32 // of the shard, when pos was true

	// Fixed when its user is known.
	shard *shard
	user  string

	// Guarded by the shard's lock; changed by the loop only.
	member *[]string // the groups; nil: none
	next   *Session  // in the hub's list

	// Owned by the loop.
	pos      uint64 // it has everything up to here, once the outbox is written
	in       *frame.Reader
	out      *outbox
	rare     *rare
	expires  uint32 // second at which the token ends; 0: never
	beat     uint32 // second of the next heartbeat, if nothing is sent before
	due      uint32 // second by which it must have authenticated, or closed; 0: none
	reminder uint32 // second of the wheel's next reminder; 0: none
}

// rare is what few sessions have, and those not for long.
type rare struct {
	cursor string // asked for in the handshake, until the user is known
	stuck  uint32 // second since when a message is incomplete; 0: none
	ahead  uint32 // second since when its cursor is ahead of this gateway; 0: it is not
}

func (s *Session) rarely() (r rare) {
	if s.rare != nil {
		r = *s.rare
	}
	return r
}

func (s *Session) setRare(r rare) {
	switch {
	case r == rare{}:
		s.rare = nil
	case s.rare == nil:
		s.rare = &r
	default:
		*s.rare = r
	}
}

func (s *Session) setStuck(sec uint32) {
	if r := s.rarely(); r.stuck != sec {
		r.stuck = sec
		s.setRare(r)
	}
}

func (s *Session) setAhead(sec uint32) {
	if r := s.rarely(); r.ahead != sec {
		r.ahead = sec
		s.setRare(r)
	}
}

func (s *Session) groups() []string {
	if s.member == nil {
		return nil
	}
	return *s.member
}

func (s *Session) setGroups(groups []string) {
	s.member = nil
	if len(groups) > 0 {
		s.member = &groups
	}
}

// tag is what the poller and the wheel know the session by.
func (s *Session) tag() netpoll.Tag { return netpoll.Tag{Slot: s.slot, Gen: s.loop.slots[s.slot].gen} }

type state byte

const (
	anonymous state = iota // its user is not known yet
	joining                // catching up: the next step is due when the outbox is empty
	scanning               // catching up: waiting for a scan of the log
	live                   // fed by the log
	closing                // our close frame is sent, or on its way
	closed
)

type resume string

const (
	resumeNone     resume = "none"
	resumeComplete resume = "complete"
	resumeReset    resume = "reset"
)

// begin makes the session its user's, and welcomes it. It is called once.
func (s *Session) begin(who Identity) {
	g := s.loop.gate
	s.user = who.User
	s.setGroups(who.Groups)
	s.due = 0
	if !s.setExpiry(who.Expires) {
		return
	}
	sh := g.shardOf(s.user)
	if sh == nil {
		s.close(closeOverloaded, "this server does not follow the log yet")
		return
	}
	if !sh.attach(s, g.cfg.ConnectionsPerUser) {
		s.close(closeTooMany, "too many connections of this user")
		return
	}
	s.shard = sh
	if g.revoked.refuses(who) { // behind attach, or one that is told between the two would miss the session
		s.close(closeForbidden, "this user's access was revoked")
		return
	}
	rarely := s.rarely()
	p, r, c := sh.start(rarely.cursor)
	rarely.cursor = ""
	s.setRare(rarely)
	s.life, s.pos, s.state = p.life, p.pos, joining
	s.remember(ask.Began, string(r), 0, p.pos)
	g.metrics.resume(r)
	s.together(func() {
		if s.dialect == plain {
			s.sendControl(plainGreeting)
		} else {
			s.tell(welcomeText(s.id, c, r, g.cfg.Heartbeat), c)
		}
		s.step()
	})
	s.flushCork() // the answer to the handshake too, or its write would move the first heartbeat
	if s.state == closed {
		return
	}
	// The first heartbeat is spread over the whole interval, so that those who come together do not beat together.
	s.beat = s.loop.sec + 1 + uint32(s.id*0x9e3779b97f4a7c15>>32)%g.heartSeconds
	s.remind(s.beat)
}

// setExpiry takes the end of the token. It is false if that is past, and the session closed.
func (s *Session) setExpiry(at time.Time) bool {
	s.expires = 0
	if at.IsZero() {
		return true
	}
	left := time.Until(at)
	if left <= 0 {
		s.close(closeUnauthorized, "the token has expired")
		return false
	}
	s.expires = s.loop.gate.secondAfter(min(left, 100*365*24*time.Hour))
	s.remind(s.expires)
	return true
}

// step goes on with catching up: from the tail if it reaches back far enough, else from the log.
func (s *Session) step() {
	p := s.shard.join(s, s.loop.gate.cfg.Queue)
	switch p.then {
	case nextReset:
		why := resetTrimmed
		if p.life != s.life {
			why = resetLog
		}
		s.moveTo(p.life, p.pos, why)
		return
	case nextScan:
		s.state = scanning
		if !s.loop.gate.replay.wait(s) {
			s.giveUp(resetScanFull)
		}
		return
	}
	s.together(func() {
		for _, e := range p.list {
			s.notify(e)
		}
	})
	if s.state == closed {
		return
	}
	s.pos = p.pos
	switch {
	case p.then == nextLive:
		s.state = live
		s.setAhead(0)
		if p.ahead {
			s.setAhead(s.loop.sec)
			s.remind(s.loop.sec + aheadSeconds)
		}
	case s.out == nil:
		s.loop.busy = append(s.loop.busy, s) // others have their turn first
	}
}

// deliver is one Record from the feed.
func (s *Session) deliver(e *entry) {
	if !s.wants(e) {
		return
	}
	s.notify(e)
	s.observe(e)
	if e.traced && s.out != nil {
		s.loop.sighting.queued++
	}
	if s.out != nil && len(s.out.queue) > s.loop.gate.cfg.Queue {
		s.shard.leave(s)
		s.pos = s.drop()
		s.state = joining // from there, when the socket has room again
		s.loop.gate.metrics.slow.Inc()
	}
}

// wants tells that the session does not have the entry, and will not have it by catching up.
func (s *Session) wants(e *entry) bool { return s.state == live && s.life == e.life && e.seq > s.pos }

// observe measures the way of a live notification.
func (s *Session) observe(e *entry) {
	l := s.loop
	now := l.clock.read()
	took := now - e.stored
	if took < 0 {
		took = 0
		l.tally.skewed++
	}
	kind := l.gate.metrics.latency.of[e.label]
	if e.traced && l.saw(e, now) { // one exemplar of a Record and loop is enough, and it allocates
		kind.(prometheus.ExemplarObserver).ObserveWithExemplar(float64(took)/1e9, l.sighting.labels)
		return
	}
	kind.Observe(float64(took) / 1e9)
}

// bytesOf is what the session is sent of an entry.
func (s *Session) bytesOf(e *entry) []byte {
	if s.form == framed {
		return e.frame
	}
	return s.loop.gate.forms.of(e, s.form)
}

func (s *Session) notify(e *entry) {
	before := s.pos
	s.pos = e.seq
	s.loop.tally.notifications[s.dialect]++
	s.send(queued{b: s.bytesOf(e), before: before, moves: true})
}

// replayed is what a scan of the log found: entries up to a position, from which the next step goes on.
func (s *Session) replayed(life uint32, list []*entry, pos uint64) {
	if s.state != scanning || s.life != life {
		return
	}
	s.state = joining
	s.together(func() {
		for _, e := range list {
			s.notify(e)
		}
	})
	if s.state == closed {
		return
	}
	s.pos = max(s.pos, pos)
	if s.out == nil {
		s.loop.busy = append(s.loop.busy, s)
		s.loop.poller.Wake()
	}
}

// giveUp gives the session's position up: what it missed cannot be had.
func (s *Session) giveUp(why string) {
	if s.state == closed || s.state == closing {
		return
	}
	life, pos := s.shard.current(s)
	s.moveTo(life, pos, why)
}

// lose is for a session whose shard has lost its positions, unless it came after that.
func (s *Session) lose(life uint32) {
	if s.life >= life || s.state < joining || s.state > live {
		return
	}
	life, pos := s.shard.current(s)
	s.moveTo(life, pos, resetLog)
}

// moveTo tells the browser that its position is lost, and goes on live from pos.
func (s *Session) moveTo(life uint32, pos uint64, why string) {
	s.loop.gate.metrics.resets.WithLabelValues(why).Inc()
	var from uint64 // means nothing in another life
	if life == s.life {
		from = s.given()
	}
	if s.out != nil {
		s.drop()
	}
	s.life, s.pos, s.state = life, pos, live
	s.remember(ask.Reset, why, from, pos)
	s.setAhead(0)
	if s.dialect != plain {
		c := s.shard.cursor(pos)
		s.tell(resetText(c), c)
	}
}

// drop takes the notifications and heartbeats out of the outbox that are not begun, and gives the session's position without them.
func (s *Session) drop() (pos uint64) {
	s.pinged = false // the ping may be among them
	return s.out.drop(s.pos)
}

func (s *Session) sendControl(b []byte) { s.send(queued{b: b, before: s.pos}) }

// watch asks the poller for what the session can use.
func (s *Session) watch() {
	if err := s.loop.poller.Watch(int(s.fd), s.tag(), true, s.out != nil); err != nil {
		s.destroy(causeGone)
	}
}

// welcomeText is what tidings.v1 begins with.
func welcomeText(id uint64, c wire.Cursor, r resume, heartbeat time.Duration) []byte {
	b := append(make([]byte, 0, 160), `{"type":"welcome","session":"`...)
	b = strconv.AppendUint(b, id, 36)
	b = append(b, `","cursor":"`...)
	b = c.Append(b)
	b = append(b, `","resume":"`...)
	b = append(b, r...)
	b = append(b, `","heartbeat":`...)
	b = strconv.AppendInt(b, heartbeat.Milliseconds(), 10)
	return append(b, '}')
}

// resetText tells the browser that its position is lost and where it goes on.
func resetText(c wire.Cursor) []byte {
	b := append(make([]byte, 0, 96), `{"type":"reset","cursor":"`...)
	return append(c.Append(b), `"}`...)
}

// positionText is the text of a heartbeat.
func positionText(c wire.Cursor) []byte {
	b := append(make([]byte, 0, 64), `{"cursor":"`...)
	return append(c.Append(b), `"}`...)
}
