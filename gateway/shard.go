package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"tidings/fanout/wire"
	"tidings/gateway/frame"
)

// shard is one shard of the log as this gateway sees it: its newest part, and the sessions of its users. One lock covers both,
// so that between looking up what a session missed and counting it as live no Record can arrive: nothing falls
// between catch-up and live, and nothing comes twice.
type shard struct {
	id       int
	maxBytes int          // of the tail
	extra    atomic.Int64 // bytes of what loops have made of its entries
	spans    *spans

	mu    sync.Mutex
	ready bool   // the feed has been at the end of the log
	epoch uint64 // of the stream
	life  uint32 // raised whenever positions in the log lose their meaning here, or Records were missed
	first uint64 // the log's first sequence, when the leader was last asked
	last  uint64 // its last
	asked time.Time
	tail  *tail
	hub   hub

	handed position // the position up to which every delivery is in the loops' queues

	// Owned by the feed.
	loops []*loop
	out   [][]delivery // by loop
}

func newShard(id, maxBytes int, loops []*loop) *shard {
	sh := &shard{id: id, maxBytes: maxBytes, hub: newHub(), loops: loops, out: make([][]delivery, len(loops))}
	sh.tail = sh.newTail(0, mark{})
	return sh
}

func (sh *shard) newTail(base uint64, m mark) *tail {
	t := newTail(base, m, sh.maxBytes)
	t.extra = &sh.extra
	return t
}

// restart begins at base with an empty tail; m is the Record there, none when the log begins behind base. Sessions that were
// there are told that their position is lost.
func (sh *shard) restart(epoch, base uint64, m mark) {
	sh.mu.Lock()
	if sh.epoch != epoch { // what the leader said was of another log
		sh.first, sh.last, sh.asked = 0, 0, time.Time{}
	}
	if m.seq == 0 {
		sh.first = max(sh.first, base+1)
	}
	sh.epoch = epoch
	sh.life++
	old := sh.tail
	sh.tail = sh.newTail(base, m)
	lost := &entry{shard: sh, life: sh.life}
	sh.mu.Unlock()
	old.leave()
	for _, lp := range sh.loops {
		lp.push([]delivery{{entry: lost}})
	}
	sh.hand()
}

// hand makes the head known to the loops. It comes after what leads there was pushed to them: a loop that reads it finds all
// of that in its queue.
func (sh *shard) hand() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.handed = position{sh.life, sh.epoch, sh.tail.head}
}

// position is a place in the log; seq means something only in its epoch, and was reached without a hole only in its life.
type position struct {
	life  uint32
	epoch uint64
	seq   uint64
}

// append takes Records in the order of the log, adds them to the tail, and hands them to the loops of the live sessions in
// their audience. Only the feed calls it.
func (sh *shard) append(batch []incoming) {
	sh.mu.Lock()
	for i := range batch {
		in := &batch[i]
		if in.view.Kind == 0 {
			sh.tail.skip(in.seq)
			continue
		}
		e := newEntry(wire.Cursor{Shard: sh.id, Epoch: sh.epoch, Seq: in.seq}, sh.life, in.part, &in.view)
		e.shard, e.label = sh, in.label
		sh.tail.add(e, &in.view.Audience)
		if in.traced != nil {
			sh.spans.begin(e, in.traced, len(sh.out))
		}
		if e.kind != wire.All {
			sh.hub.each(&in.view.Audience, func(s *Session) {
				sh.out[s.loop.index] = append(sh.out[s.loop.index], delivery{session: s, entry: e})
			})
		}
		if e.kind == wire.All || e.traced {
			for i := range sh.out {
				sh.out[i] = append(sh.out[i], delivery{entry: e})
			}
		}
	}
	sh.mu.Unlock()
	for i, list := range sh.out {
		if len(list) > 0 {
			sh.loops[i].push(list)
			clear(list)
			sh.out[i] = list[:0]
		}
	}
	sh.hand()
}

// incoming is a Record as the feed received it. One that could not be decoded has no kind.
type incoming struct {
	seq    uint64
	part   int8
	label  uint8
	view   wire.View
	traced *delivered // nil: it is not
}

// newEntry copies what is kept of a Record: one allocation for its audience and its frame.
func newEntry(c wire.Cursor, life uint32, part int8, v *wire.View) *entry {
	a, f := notificationFrame(v.AudienceBytes, c, v.Notification)
	return &entry{seq: c.Seq, life: life, kind: v.Kind, part: part, stored: v.Stored, audience: a, frame: f}
}

const notificationHead = `{"type":"notification","cursor":"`

// notificationFrame builds {"type":"notification","cursor":"…",…} as a text frame, behind a copy of audience.
func notificationFrame(audience []byte, c wire.Cursor, notification []byte) (a, f []byte) {
	const head = notificationHead
	var text [64]byte
	cursor := c.Append(text[:0])
	rest := notification[1:]
	n := len(head) + len(cursor) + len(`",`) + len(rest)
	if len(rest) == 1 { // {} has no field to separate from
		n--
	}
	buf := make([]byte, 0, len(audience)+10+n)
	buf = append(buf, audience...)
	buf = frame.AppendHeader(buf, ws.OpText, true, n)
	buf = append(buf, head...)
	buf = append(buf, cursor...)
	buf = append(buf, '"')
	if len(rest) > 1 {
		buf = append(buf, ',')
	}
	buf = append(buf, rest...)
	return buf[:len(audience):len(audience)], buf[len(audience):]
}

// attach registers a session of this shard's user, not live yet. It is false when the user has too many.
func (sh *shard) attach(s *Session, most int) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.hub.add(s, most)
}

func (sh *shard) detach(s *Session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.live = false
	sh.hub.remove(s)
}

// leave makes a live session one that is catching up.
func (sh *shard) leave(s *Session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.live = false
}

// regroup changes the groups of a session, from the next Record on.
func (sh *shard) regroup(s *Session, groups []string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.hub.removeGroups(s)
	s.setGroups(groups)
	sh.hub.addGroups(s)
}

// place is where a session stands after a step of catching up.
type place struct {
	then next
	life uint32
	pos  uint64   // the session has everything up to here once the entries are sent
	list []*entry // to be sent now, oldest first

	ahead bool // pos is beyond what this gateway has
}

type next byte

const (
	nextLive  next = iota // it is live
	nextMore              // more is missing: ask again when these are sent
	nextScan              // what is missing is older than the tail
	nextReset             // what is missing is not in the log any more
)

// start finds out where a session begins. Without a cursor, or with one that means nothing here, that is the end of
// the log.
func (sh *shard) start(text string) (p place, r resume, cursor wire.Cursor) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p = place{life: sh.life, pos: sh.tail.head}
	at := wire.Cursor{Shard: sh.id, Epoch: sh.epoch, Seq: p.pos}
	if text == "" {
		return p, resumeNone, at
	}
	c, err := wire.ParseCursor(text)
	if err != nil || c.Shard != sh.id || c.Epoch != sh.epoch || sh.tooOld(c.Seq) {
		return p, resumeReset, at
	}
	p.pos = c.Seq
	return p, resumeComplete, c
}

// tooOld tells whether the Record behind seq has left the log.
func (sh *shard) tooOld(seq uint64) bool { return seq < sh.tail.base && seq+1 < sh.first }

// join takes one step of catching up from pos: at most limit entries from the tail, and if those are all that is missing,
// the session is live from here on. life is what the session's position refers to.
func (sh *shard) join(s *Session, limit int) place {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case s.life != sh.life || sh.tooOld(s.pos):
		s.live = true
		return place{then: nextReset, life: sh.life, pos: sh.tail.head}
	case s.pos < sh.tail.base:
		return place{then: nextScan, life: sh.life, pos: s.pos}
	}
	list, upTo := sh.tail.missed(s.user, s.groups(), s.pos, limit)
	if upTo < sh.tail.head {
		return place{then: nextMore, life: sh.life, pos: upTo, list: list}
	}
	s.live = true
	// A cursor above head comes from a gateway that is further along: what it covers is not sent again.
	return place{
		then: nextLive, life: sh.life, pos: max(s.pos, sh.tail.head), list: list, ahead: s.pos > sh.tail.head,
	}
}

// cursor is the text of a position in this shard's present epoch.
func (sh *shard) cursor(seq uint64) wire.Cursor {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return wire.Cursor{Shard: sh.id, Epoch: sh.epoch, Seq: seq}
}

// ends remembers what the leader said of the log's first and last sequence, asked at the given time.
func (sh *shard) ends(first, last uint64, asked time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if asked.After(sh.asked) { // an answer can overtake the one before
		sh.first, sh.last, sh.asked = first, last, asked
	}
}

// open says that the feed has reached the end of the log for the first time.
func (sh *shard) open() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.ready = true
}

// lag is the number of Records that the log has and the feed has not, and whether the shard can serve sessions.
func (sh *shard) lag() (lag uint64, ready bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.last - min(sh.last, sh.tail.head), sh.ready
}

// current makes a session live at the head, whatever it missed.
func (sh *shard) current(s *Session) (life uint32, pos uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.live = true
	return sh.life, sh.tail.head
}

// promised is the position that every session of a loop has once the loop's queue is empty.
func (sh *shard) promised() position {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.handed
}

// verdict is about a cursor ahead of this gateway.
type verdict byte

const (
	unknown   verdict = iota
	caughtUp          // the feed has reached it
	beyondEnd         // the log's leader does not have it
)

// judge looks for pos in the log, as the leader described it after the given time.
func (sh *shard) judge(pos uint64, after time.Time) verdict {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case pos <= sh.tail.head:
		return caughtUp
	case sh.asked.After(after) && sh.last < pos:
		return beyondEnd
	}
	return unknown
}

func (sh *shard) epochNow() uint64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.epoch
}

// trimmedPast tells whether the log begins behind the Record that follows seq, and where.
func (sh *shard) trimmedPast(seq uint64) (first uint64, trimmed bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.first, sh.first > seq+1
}

// tailStart is where the tail begins, for a scan of what is older.
func (sh *shard) tailStart() (base uint64, m mark, life uint32, epoch uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.tail.base, sh.tail.mark, sh.life, sh.epoch
}
