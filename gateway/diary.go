package gateway

import (
	"strconv"
	"time"

	"tidings/gateway/ask"
)

// diary is what a loop remembers of the latest beginnings, resets and ends of its sessions, for those who ask why a user did not
// get something. It is written at these moments only, never at a delivery: what a session was given follows from its position.
//
// It has its size from the start, 80 B for each moment and 330 kB for all, and keeps as many users' names alive.
type diary struct {
	moments []moment // a ring, once it is full
	next    int
	lost    bool // moments before the oldest
}

// diaryMoments: a moment costs 20 ns to write, and a question looks at all of them in 20 µs.
const diaryMoments = 4096

type moment struct {
	at       int64 // Unix nanoseconds
	session  uint64
	user     string
	what     string
	word     string
	epoch    uint64
	from, to uint64
}

func newDiary() diary { return diary{moments: make([]moment, 0, diaryMoments)} }

func (d *diary) add(m moment) {
	if len(d.moments) < cap(d.moments) {
		d.moments = append(d.moments, m)
		return
	}
	d.moments[d.next], d.lost = m, true
	d.next = (d.next + 1) % len(d.moments)
}

// since is the time up to which the diary goes back; zero while it has everything.
func (d *diary) since() time.Time {
	if !d.lost {
		return time.Time{}
	}
	return time.Unix(0, d.moments[d.next].at).UTC()
}

// of is what the diary has about a user, oldest first.
func (d *diary) of(user string) (list []ask.Moment) {
	for i := range d.moments {
		m := &d.moments[(d.next+i)%len(d.moments)]
		if m.user == user {
			list = append(list, ask.Moment{
				At: time.Unix(0, m.at).UTC(), What: m.what, Session: sessionName(m.session), Word: m.word, Epoch: m.epoch, From: m.from, To: m.to,
			})
		}
	}
	return list
}

// remember writes a moment down. A session whose user is not known yet has nothing to remember.
func (s *Session) remember(what, word string, from, to uint64) {
	if s.shard == nil {
		return
	}
	s.loop.diary.add(moment{
		at: time.Now().UnixNano(), session: s.id, user: s.user, what: what, word: word, epoch: s.shard.epochOf(s.life), from: from, to: to,
	})
}

// given is the position up to which the socket has taken everything.
func (s *Session) given() uint64 {
	if s.out == nil {
		return s.pos
	}
	return before(s.out.queue, s.pos)
}

// before is the position of a session that is at pos without these frames.
func before(frames []queued, pos uint64) uint64 {
	for i := range frames {
		if frames[i].moves {
			return frames[i].before
		}
	}
	return pos
}

// sessionName is a session's id as its welcome has it.
func sessionName(id uint64) string { return strconv.FormatUint(id, 36) }
