package fanout

import (
	"slices"
	"strings"

	"tidings/ingest"
)

// Outcome is what a rule makes of an event.
type Outcome byte

// The outcomes.
const (
	OutcomeMatched Outcome = iota // it makes a notification
	OutcomeSubject                // its pattern does not fit
	OutcomeWhen                   // its condition is false
	OutcomeNobody                 // it matches, and its audience is empty
	OutcomeFailed                 // an expression failed: the event goes to the DLQ, and no rule's notification is made
)

// Verdict is what one rule says about an event.
type Verdict struct {
	Rule     string
	Outcome  Outcome
	Why      string // the pattern or the condition that does not hold, or the error
	Audience Audience
	Records  []Entry // that it makes; only with OutcomeMatched
}

// Explain evaluates every rule on its own and says what came of it, for a person who asks. It is what Handle does, but that it stores
// nothing and goes on behind an error. shards and most are the publisher's Shards and MaxMessage.
func (r *Rules) Explain(e *ingest.Event, shards, most int) []Verdict {
	s := newScope(e)
	if r == nil {
		n, err := defaultNotification(s)
		v := verdict(e, n, err, shards, most)
		v.Rule = DefaultRule
		return []Verdict{v}
	}
	list := make([]Verdict, 0, len(r.list))
	for _, rule := range r.list {
		list = append(list, rule.explain(s, shards, most))
	}
	return list
}

func (r *Rule) explain(s *scope, shards, most int) Verdict {
	if !r.subject.matches(s.tokens) {
		return Verdict{Rule: r.Name, Outcome: OutcomeSubject, Why: strings.Join(r.subject, ".")}
	}
	n, ok, err := r.apply(s)
	if err == nil && !ok {
		return Verdict{Rule: r.Name, Outcome: OutcomeWhen, Why: r.when.text}
	}
	v := verdict(s.event, n, err, shards, most)
	v.Rule = r.Name
	return v
}

func verdict(e *ingest.Event, n Notification, err error, shards, most int) (v Verdict) {
	if err == nil && n.Audience.Empty() {
		return Verdict{Outcome: OutcomeNobody, Audience: n.Audience}
	}
	if err == nil {
		v.Audience = n.Audience
		v.Records, err = records(e, &n, shards, most)
	}
	if err != nil {
		return Verdict{Outcome: OutcomeFailed, Why: err.Error()}
	}
	return v
}

// Lists tells whether the audience names the user, and whether it takes the user out.
func (a *Audience) Lists(user string) (listed, excepted bool) {
	_, listed = slices.BinarySearch(a.Users, user)
	_, excepted = slices.BinarySearch(a.ExceptUsers, user)
	return listed, excepted
}
