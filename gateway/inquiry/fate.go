package inquiry

import (
	"cmp"
	"fmt"
	"slices"

	"tidings/gateway/ask"
)

// fate is what became of a record at one session, best first: that of a user is the best of their sessions'.
type fate int

const (
	fateGiven    fate = iota // its socket has taken it
	fatePassed               // its position is behind the record, and how it began is forgotten
	fateCovered              // it came with a cursor behind the record: another session had it before
	fateWaiting              // it is on its way there
	fateReset                // the session was told that its position is lost, and to reload
	fateLater                // it began behind the record, without a cursor
	fateOutside              // it is not in the group, or is excepted
	fateBefore               // it ended before
	fateOtherLog             // its positions are of a log that is gone, or newer
	fateNone                 // there is no session
)

// sessionStory is what one gateway knows about one session, open or ended.
type sessionStory struct {
	pod   *ask.Gateway
	id    string
	open  *ask.Session
	began *ask.Moment
	ended *ask.Moment
	reset []*ask.Moment
}

// stories puts the sessions and moments of all answers together.
func stories(p *Pods) (list []*sessionStory) {
	for i := range p.Answers {
		pod := &p.Answers[i]
		byID := map[string]*sessionStory{}
		of := func(id string) *sessionStory {
			if byID[id] == nil {
				byID[id] = &sessionStory{pod: pod, id: id}
				list = append(list, byID[id])
			}
			return byID[id]
		}
		for j := range pod.Sessions {
			of(pod.Sessions[j].ID).open = &pod.Sessions[j]
		}
		for j := range pod.Moments {
			m := &pod.Moments[j]
			switch s := of(m.Session); m.What {
			case ask.Began:
				s.began = m
			case ask.Reset:
				s.reset = append(s.reset, m)
			case ask.Closed:
				s.ended = m
			}
		}
	}
	return list
}

// position is up to where the session was given everything, and the epoch of that.
func (s *sessionStory) position() (pos, epoch uint64) {
	switch {
	case s.open != nil:
		return s.open.Position, s.open.Epoch
	case s.ended != nil:
		return s.ended.To, s.ended.Epoch
	}
	return 0, 0
}

// of judges what became of a record at this session.
func (s *sessionStory) of(r *Record) (fate, Step) {
	pos, epoch := s.position()
	if s.open == nil && s.ended == nil {
		return fateNone, Step{}
	}
	if epoch != r.Epoch {
		return fateOtherLog, s.step(no, "reads another log than the one this record is in: the log was made anew in between")
	}
	if why := s.outside(r); why != "" {
		return fateOutside, s.step(no, why)
	}
	for _, m := range s.reset {
		if m.Epoch == r.Epoch && m.From < r.Sequence && r.Sequence <= m.To {
			return fateReset, s.step(no, fmt.Sprintf("was told at %s that its position is lost (cause: %s): this record was not sent to it, the page had to reload its state", clock(m.At), m.Word))
		}
	}
	if b := s.began; b != nil && b.Epoch == r.Epoch && b.To >= r.Sequence {
		return s.beganBehind(b)
	}
	if pos < r.Sequence {
		return s.behind(r, pos)
	}
	if s.began == nil && (s.pod.Remembers.IsZero() || !r.Stored.After(s.pod.Remembers)) {
		return fatePassed, s.step(unknown, fmt.Sprintf("is at position %d, past the record; whether it was there when the record came is forgotten: this gateway remembers back to %s", pos, clock(s.pod.Remembers)))
	}
	return fateGiven, s.step(yes, fmt.Sprintf("was given it: its socket has taken everything up to position %d%s", pos, s.maybe(r)))
}

func (s *sessionStory) beganBehind(b *ask.Moment) (fate, Step) {
	switch b.Word {
	case "complete":
		return fateCovered, s.step(yes, fmt.Sprintf("came at %s with a cursor at position %d, which covers the record: the page had it before, from an earlier session", clock(b.At), b.To))
	case "reset":
		return fateReset, s.step(no, fmt.Sprintf("came at %s with a cursor that could not be served, and was told to reload: this record was not sent to it", clock(b.At)))
	}
	return fateLater, s.step(no, fmt.Sprintf("began at %s without a cursor, at position %d, after the record: a new page is not sent what was before", clock(b.At), b.To))
}

func (s *sessionStory) behind(r *Record, pos uint64) (fate, Step) {
	if s.open == nil {
		return fateBefore, s.step(no, fmt.Sprintf("was at position %d, before the record", pos))
	}
	text := fmt.Sprintf("is at position %d and does not have it yet: it is %s", pos, s.open.State)
	if s.open.Queue > 0 {
		text += fmt.Sprintf(", %d frames wait for its socket, which has taken nothing for %d s", s.open.Queue, s.open.Stuck)
	}
	if s.pod.Head < r.Sequence {
		text += fmt.Sprintf("; this gateway has read the log up to %d only", s.pod.Head)
	}
	return fateWaiting, s.step(unknown, text)
}

// outside tells why the record is not for this session, "" if it is. Whether an ended one was in a group is not known.
func (s *sessionStory) outside(r *Record) string {
	if s.open == nil {
		return ""
	}
	if r.For == "group" && !slices.Contains(s.open.Groups, r.Group) {
		return fmt.Sprintf("is not in the group %q", r.Group)
	}
	for _, g := range s.open.Groups {
		if slices.Contains(r.ExceptGroups, g) {
			return fmt.Sprintf("is in the group %q, which is excepted, or has a record of its own", g)
		}
	}
	return ""
}

// maybe says what is not known about an ended session.
func (s *sessionStory) maybe(r *Record) string {
	if s.open == nil && r.For == "group" {
		return fmt.Sprintf(", if it was in the group %q, which is not remembered", r.Group)
	}
	return ""
}

// step is a sentence about this session.
func (s *sessionStory) step(mark, text string) Step {
	st := Step{Mark: mark, Text: fmt.Sprintf("Session %s on %s %s.", s.id, s.pod.Pod, text)}
	if s.ended != nil {
		st.Details = append(st.Details, fmt.Sprintf("ended %s, reason: %s", clock(s.ended.At), s.ended.Word))
	}
	return st
}

// fates judges a record at all sessions, the best first, and gives the best.
func fates(r *Record, list []*sessionStory) (best fate, steps []Step) {
	type one struct {
		fate fate
		Step
	}
	var all []one
	for _, s := range list {
		if f, step := s.of(r); f != fateNone {
			all = append(all, one{f, step})
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Compare(a.fate, b.fate) })
	best = fateNone
	for i, o := range all {
		best = min(best, o.fate)
		if i == maxStories {
			steps = append(steps, note("%d more sessions are left out.", len(all)-i))
			break
		}
		steps = append(steps, o.Step)
	}
	return best, steps
}

// maxStories is how many sessions are told about one by one.
const maxStories = 8
