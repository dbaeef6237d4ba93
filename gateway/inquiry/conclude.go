package inquiry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings/gateway/ask"
	"tidings/ingest"
)

// tellSessions tells what became of the user's records at their sessions, and gives the best.
func (t *Trace) tellSessions() fate {
	if t.Pods == nil {
		return fateNone
	}
	best := fateNone
	told := stories(t.Pods)
	for i, r := range t.concerning() {
		f, steps := fates(r, told)
		t.differ = t.differ || i > 0 && f != best
		best = min(best, f)
		t.Steps = append(t.Steps, steps...)
	}
	t.Steps = append(t.Steps, t.Pods.steps(t.User)...)
	return best
}

// steps says who answered, who did not, and what is not known therefore.
func (p *Pods) steps(user string) (list []Step) {
	open := 0
	for i := range p.Answers {
		open += len(p.Answers[i].Sessions) + p.Answers[i].More
	}
	switch n := len(p.Answers); {
	case n == 0:
		list = append(list, step(unknown, "No gateway has answered."))
	case open == 0:
		list = append(list, step(no, "No gateway has a session of %s now (%s answered).", user, many(n, "gateway", "gateways")))
	}
	for i := range p.Answers {
		if a := &p.Answers[i]; a.Error != "" {
			list = append(list, step(unknown, "%s: %s.", a.Pod, a.Error))
		}
	}
	for _, pod := range p.Silent {
		list = append(list, step(unknown, "Gateway %s follows the log, or did half a minute ago, and has not answered in %v: it may have sessions of %s.", pod, askPatience, user))
	}
	if p.Error != "" {
		list = append(list, step(unknown, "There may be more gateways: %s.", p.Error))
	}
	return list
}

// uncertain tells that a session may be where nobody has answered.
func (p *Pods) uncertain() bool {
	if len(p.Answers) == 0 || len(p.Silent) > 0 || p.Error != "" {
		return true
	}
	for i := range p.Answers {
		if p.Answers[i].Error != "" {
			return true
		}
	}
	return false
}

// conclude puts it into one sentence.
func (t *Trace) conclude(best fate) {
	mine := t.concerning()
	switch {
	case t.Event == nil && t.Dead == nil && len(t.Log.Records) == 0:
		t.notFound()
	case len(t.Log.Records) == 0:
		t.notStored()
	case t.User == "":
		t.end(OutcomeStored, "It is in the log, for %s. Name a user to see what became of it there.", t.everyAudience())
	case len(mine) == 0 && t.Log.More > 0:
		t.end(OutcomeUncertain, "%s is not in the records that are listed, and there are more.", t.User)
	case len(mine) == 0:
		t.end(OutcomeNotFor, "It is not for %s: the records of it are for %s.", t.User, t.everyAudience())
	default:
		t.concludeFor(best, mine[0])
		if t.differ {
			t.Conclusion += " That is not so for each of its records: see the steps."
		}
	}
}

func (t *Trace) everyAudience() string {
	var parts []string
	for i := range t.Log.Records {
		if i == 3 {
			parts = append(parts, "…")
			break
		}
		r := &t.Log.Records[i]
		who := r.audience()
		if r.Users > 0 && r.Users <= 3 {
			who = strings.Join(r.Names, ", ")
		}
		parts = append(parts, who)
	}
	return strings.Join(parts, "; ")
}

func (t *Trace) notFound() {
	if len(t.Errors)+len(t.Log.Errors) > 0 || t.Log.stopped() != "" || t.Walks[0].Stopped != "" {
		t.end(OutcomeUncertain, "Nothing with this id was found, but not everything could be looked at.")
		return
	}
	t.end(OutcomeNotFound, "Nothing bears this id: not in %s, not in the %s, not in the log.", ingest.StreamEvents, ingest.StreamDLQ)
}

// notStored: the event is known, and the log has nothing of it.
func (t *Trace) notStored() {
	switch h := t.Handling; {
	case t.Dead != nil:
		t.end(OutcomeDead, "Nobody got it: it could not be handled and lies in the %s. Mend the cause, and publish it again.", ingest.StreamDLQ)
	case h.State == waiting || h.State == inHand && t.makesSomething():
		t.end(OutcomePending, "Nobody got it yet: no fanout has finished with it.")
	case t.Log.stopped() != "" || len(t.Log.Errors) > 0:
		t.end(OutcomeUncertain, "Its records were not found, but not all of the log could be looked at.")
	case t.allSay(ask.Subject, ask.When):
		t.end(OutcomeNobody, "Nobody gets it: no rule matches.")
	case t.allSay(ask.Subject, ask.When, ask.Nobody):
		t.end(OutcomeNobody, "Nobody gets it: its audience is empty.")
	default:
		t.end(OutcomeUncertain, "The log has no record of it, although it was handled: the rules were others then, or the records have left the log.")
	}
}

func (t *Trace) makesSomething() bool { return !t.allSay(ask.Subject, ask.When, ask.Nobody) }

// allSay tells that every rule of every fanout has one of these outcomes.
func (t *Trace) allSay(outcomes ...string) bool {
	for i := range t.Rulings {
		r := &t.Rulings[i]
		if r.Error != "" || r.More > 0 {
			return false
		}
		for j := range r.Verdicts {
			if !slices.Contains(outcomes, r.Verdicts[j].Outcome) {
				return false
			}
		}
	}
	return len(t.Rulings) > 0
}

func (t *Trace) concludeFor(best fate, r *Record) {
	u := t.User
	switch best {
	case fateGiven:
		t.end(OutcomeGiven, "%s was given it: a socket of theirs took it. What the page did with it, only the page knows.", u)
	case fateCovered:
		t.end(OutcomeGiven, "%s had it before: the page came with a cursor that covers it.", u)
	case fatePassed:
		t.end(OutcomeProbably, "%s probably got it: a session is past it, but began so long ago that its beginning is forgotten.", u)
	case fateWaiting:
		t.end(OutcomeWaiting, "%s does not have it yet: it is on its way to a session.", u)
	case fateReset:
		t.end(OutcomeReset, "%s did not get it: their position was lost, and the page was told to reload its state, which should show it.", u)
	case fateLater:
		t.end(OutcomeLater, "%s did not get it: the page was opened after it, without a cursor.", u)
	case fateOutside:
		t.end(OutcomeNotFor, "It is not for the sessions that %s has: see their groups.", u)
	case fateOtherLog:
		t.end(OutcomeUncertain, "What %s got of it is not known: their sessions are of another log, which was made anew in between.", u)
	default:
		t.offline(r)
	}
}

// offline: nobody is there, as far as it is known.
func (t *Trace) offline(r *Record) {
	comes := fmt.Sprintf("%s gets it on coming back with a cursor below %d, as long as the log keeps it", t.User, r.Sequence)
	switch last := t.lastEnd(); {
	case t.Pods.uncertain():
		t.end(OutcomeUncertain, "No gateway that answered has given it to %s, but not all have answered. If none has: %s.", t.User, comes)
	case last != nil:
		t.end(OutcomeOffline, "%s was not there: the last session known ended %s, reason %s. %s.", t.User, clock(last.At), last.Word, comes)
	default:
		t.end(OutcomeOffline, "%s was not there: no gateway has a session of theirs, nor remembers one. %s.", t.User, comes)
	}
}

func (t *Trace) lastEnd() (last *ask.Moment) {
	at := time.Time{}
	for i := range t.Pods.Answers {
		for j := range t.Pods.Answers[i].Moments {
			if m := &t.Pods.Answers[i].Moments[j]; m.What == ask.Closed && m.At.After(at) {
				last, at = m, m.At
			}
		}
	}
	return last
}
