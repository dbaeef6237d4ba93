package inquiry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings/fanout/wire"
)

// User is what is known about a user: the sessions, what became of those before, and the newest records of the log for them.
type User struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`

	Conclusion string `json:"conclusion"`
	Steps      []Step `json:"steps"`

	Pods   Pods     `json:"gateways"`
	Groups []string `json:"groups,omitempty"` // of the sessions
	Log    Log      `json:"log"`              // newest first
	Errors []string `json:"errors,omitempty"`
}

// Bounds of how many records Who lists.
const (
	DefaultLatest = 10
	MaxLatest     = 50
)

// Who finds out which sessions a user has, and what the log has for them: so many of the newest records.
func (s *Search) Who(ctx context.Context, user string, latest int) (*User, error) {
	if err := wire.CheckUser(user); err != nil {
		return nil, fmt.Errorf("%w: %w", errQuestion, err)
	}
	u := &User{ID: user, At: time.Now().UTC()}
	ctx, cancel := context.WithTimeout(ctx, 3*s.Patience+2*askPatience)
	defer cancel()
	u.Pods = s.pods(ctx, user)
	for i := range u.Pods.Answers {
		for j := range u.Pods.Answers[i].Sessions {
			u.Groups = append(u.Groups, u.Pods.Answers[i].Sessions[j].Groups...)
		}
	}
	slices.Sort(u.Groups)
	u.Groups = slices.Compact(u.Groups)
	var err error
	if u.Log, err = s.latest(ctx, user, u.Groups, min(max(latest, 1), MaxLatest), s.budget()); err != nil {
		u.Errors = append(u.Errors, err.Error())
	}
	u.tell()
	return u, nil
}

func (u *User) tell() {
	told := stories(&u.Pods)
	open := 0
	for _, s := range told {
		if s.open != nil {
			open++
			u.Steps = append(u.Steps, s.here())
		}
	}
	for i := range u.Pods.Answers {
		if n := u.Pods.Answers[i].More; n > 0 {
			open += n
			u.Steps = append(u.Steps, note("%s on %s are not listed.", many(n, "more session", "more sessions"), u.Pods.Answers[i].Pod))
		}
	}
	u.Steps = append(u.Steps, u.Pods.steps(u.ID)...)
	u.Steps = append(u.Steps, past(told)...)
	u.tellLog(told)
	for _, e := range u.Errors {
		u.Steps = append(u.Steps, step(unknown, "Something could not be looked at: %s.", e))
	}
	switch {
	case open > 0:
		u.Conclusion = fmt.Sprintf("%s has %s.", u.ID, many(open, "session", "sessions"))
	case u.Pods.uncertain():
		u.Conclusion = fmt.Sprintf("No gateway that answered has a session of %s, but not all have answered.", u.ID)
	default:
		u.Conclusion = fmt.Sprintf("%s has no session now.", u.ID)
	}
}

// here describes an open session.
func (s *sessionStory) here() Step {
	o := s.open
	mark := yes
	text := fmt.Sprintf("Session %s on %s is %s, at position %d", s.id, s.pod.Pod, o.State, o.Position)
	switch {
	case o.Epoch != s.pod.Epoch:
		mark = unknown
		text += " of a log that is gone"
	case o.Queue > 0:
		mark = unknown
		text += fmt.Sprintf(": %d frames wait for its socket, which has taken nothing for %d s", o.Queue, o.Stuck)
	case o.Position < s.pod.Head:
		text += fmt.Sprintf(", the gateway at %d: nothing for it in between, or not yet given", s.pod.Head)
	}
	st := step(mark, "%s.", text).with(prefixed("speaks ", o.Dialect), prefixed("groups ", strings.Join(o.Groups, ", ")))
	if s.began != nil {
		st = st.with(s.beginning())
	} else {
		st = st.with("began before " + clock(s.pod.Remembers) + ", where the memory of this gateway begins")
	}
	for _, m := range s.reset {
		st = st.with(fmt.Sprintf("told to reload at %s (cause: %s), going on after position %d", clock(m.At), m.Word, m.To))
	}
	return st
}

var resumes = map[string]string{
	"none":     "without a cursor",
	"complete": "with a cursor, from which it goes on",
	"reset":    "with a cursor that could not be served, so it was told to reload",
}

func (s *sessionStory) beginning() string {
	how := resumes[s.began.Word]
	if how == "" {
		how = s.began.Word
	}
	return fmt.Sprintf("began %s %s, at position %d", clock(s.began.At), how, s.began.To)
}

// maxPast is how many ended sessions are told about.
const maxPast = 5

// past describes the sessions that have ended, the latest first.
func past(told []*sessionStory) (steps []Step) {
	var ended []*sessionStory
	for _, s := range told {
		if s.ended != nil {
			ended = append(ended, s)
		}
	}
	slices.SortFunc(ended, func(a, b *sessionStory) int { return b.ended.At.Compare(a.ended.At) })
	for i, s := range ended {
		if i == maxPast {
			steps = append(steps, note("%s are not listed.", many(len(ended)-i, "earlier session", "earlier sessions")))
			break
		}
		st := note("Session %s on %s ended %s, reason: %s. It had been given everything up to position %d.", s.id, s.pod.Pod, clock(s.ended.At), s.ended.Word, s.ended.To)
		if s.began != nil {
			st = st.with(s.beginning())
		}
		for _, m := range s.reset {
			st = st.with(fmt.Sprintf("told to reload at %s (cause: %s)", clock(m.At), m.Word))
		}
		steps = append(steps, st)
	}
	return steps
}

var fateWords = map[fate][2]string{
	fateGiven: {yes, "given"}, fatePassed: {unknown, "a session is past it, whose beginning is forgotten"}, fateCovered: {yes, "had before the session came"},
	fateWaiting: {unknown, "on its way"}, fateReset: {no, "told to reload instead"}, fateLater: {no, "before the page was opened, without a cursor"},
	fateOutside: {no, "not for the groups of these sessions"}, fateBefore: {no, "after the session ended"},
	fateOtherLog: {unknown, "of another log than the sessions'"}, fateNone: {no, "nobody was there, as far as is remembered"},
}

func (u *User) tellLog(told []*sessionStory) {
	for i := range u.Log.Records {
		r := &u.Log.Records[i]
		f, _ := fates(r, told)
		words := fateWords[f]
		s := step(words[0], "Record %d, stored %s, event %q: %s.", r.Sequence, clock(r.Stored), r.Event, words[1])
		u.Steps = append(u.Steps, s.with(prefixed("kind ", r.Kind), prefixed("rule ", r.Rule), "for "+r.audience()))
	}
	what := "record of the log for " + u.ID
	switch stopped := u.Log.stopped(); {
	case len(u.Errors) > 0:
	case stopped != "":
		u.Steps = append(u.Steps, step(unknown, "Only a part of the log was read (%s): then %s.", readOf(u.Log.Walks), stopped))
	case len(u.Log.Records) == 0:
		u.Steps = append(u.Steps, step(no, "There is no %s, and of no group that these sessions are in (%s).", what, readOf(u.Log.Walks)))
	}
}
