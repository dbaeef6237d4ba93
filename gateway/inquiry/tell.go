package inquiry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
	"tidings/ingest"
)

func isQuestion(err error) bool { return errors.Is(err, errQuestion) }

// tell makes the steps and the conclusion of the facts.
func (t *Trace) tell() {
	t.tellEvent()
	if t.Event != nil || t.Dead != nil {
		t.tellHandling()
	}
	t.tellRules()
	t.tellLog()
	best := t.tellSessions()
	for _, e := range t.Errors {
		t.add(step(unknown, "Something could not be looked at: %s.", e))
	}
	t.conclude(best)
}

func (t *Trace) add(s Step) { t.Steps = append(t.Steps, s) }

func (t *Trace) end(outcome, format string, args ...any) {
	t.Outcome, t.Conclusion = outcome, fmt.Sprintf(format, args...)
}

func (t *Trace) tellEvent() {
	e := t.Event
	if e == nil {
		t.add(t.missing())
		return
	}
	s := step(yes, "The event %q is stored: number %d of %s, at %s, %s.", e.ID, e.Sequence, ingest.StreamEvents, clock(e.Stored), many(e.Bytes, "byte", "bytes"))
	s = s.with("subject "+e.Subject, prefixed("type ", e.Type), prefixed("source ", e.Source), prefixed("key ", e.Key), prefixed("traceparent ", e.TraceParent))
	if !e.Time.IsZero() && !e.Time.Equal(e.Stored) {
		s = s.with("happened " + clock(e.Time))
	}
	if t.Others > 0 {
		s = s.with(fmt.Sprintf("%s of this id, older, in the part that was read: this is the newest", many(t.Others, "more event", "more events")))
	}
	t.add(s)
	if e.Broken != "" {
		t.add(step(no, "It cannot be decoded: %s.", e.Broken))
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// missing says that EVENTS does not have the event, as far as it was read.
func (t *Trace) missing() Step {
	w := t.Walks[0]
	switch {
	case strings.HasPrefix(t.ID, sequencePrefix) && len(t.Errors) == 0:
		return step(no, "%s has no event under this sequence, not any more or not yet.", ingest.StreamEvents)
	case len(t.Errors) > 0:
		return step(unknown, "%s could not be read.", ingest.StreamEvents)
	case w.Stopped != "":
		return step(unknown, "The event is not among the %s newest that were read of %s, back to %s: then %s.", thousands(w.Read), ingest.StreamEvents, clock(w.From), w.Stopped).
			with("look further with a higher --limit and --timeout, or name it by its sequence: seq:1042")
	case w.Read == 0:
		return step(no, "%s is empty.", ingest.StreamEvents)
	}
	return step(no, "%s has no event with this id: all of it was read, %s back to %s.", ingest.StreamEvents, many(w.Read, "event", "events"), clock(w.From)).
		with("it was never stored (did its publisher wait for the acknowledgement?), or so long ago that it has left the stream",
			"an event is known by its Nats-Msg-Id, its id as a CloudEvent, or its key; upper and lower case differ")
}

func (t *Trace) tellHandling() {
	if d := t.Dead; d != nil {
		s := step(no, "It is in the %s since %s: %s.", ingest.StreamDLQ, clock(d.At), strings.TrimSuffix(d.Reason, "."))
		s = s.with(fmt.Sprintf("message %d of %s, subject %s", d.Sequence, ingest.StreamDLQ, d.Subject), prefixed("rule ", d.Rule), prefixed("expression ", d.Expression))
		if d.Attempts > 0 {
			s = s.with(many(d.Attempts, "attempt", "attempts"))
		}
		t.add(s)
		return
	}
	h := t.Handling
	switch {
	case h.State == handled || t.Log.whole:
		t.add(step(yes, "A fanout has handled it: consumer %s is past it, and it is not in the %s.", h.Consumer, ingest.StreamDLQ))
	case h.State == inHand:
		t.add(step(unknown, "It was given to a fanout, and consumer %s does not know yet that it is finished with everything up to it.", h.Consumer).with(h.details()...))
	case h.State == waiting:
		t.add(step(no, "No fanout has it yet: consumer %s has %s waiting.", h.Consumer, many(int(h.Ahead), "event", "events")).with(h.details()...))
	default:
		t.add(step(unknown, "Whether a fanout has handled it is not known: %s.", h.Error))
	}
}

func (h *Handling) details() (list []string) {
	if !h.Paused.IsZero() {
		list = append(list, "the consumer is paused until "+clock(h.Paused))
	}
	if !h.Worker {
		list = append(list, "no fanout works on this partition: is the fanout role running?")
	}
	return list
}

func (t *Trace) tellRules() {
	if t.Event == nil || t.Event.Broken != "" {
		return
	}
	if len(t.Rulings) == 0 {
		t.add(step(unknown, "Which rules match is not known: no fanout has answered, and there are none here (TIDINGS_RULES)."))
		return
	}
	if len(t.Rulings) > 1 {
		t.add(step(unknown, "The fanouts do not have the same rules: a rollout is under way, or has stopped half-way."))
	}
	for i := range t.Rulings {
		t.tellRuling(&t.Rulings[i])
	}
}

func (t *Trace) tellRuling(r *Ruling) {
	of := ""
	if len(t.Rulings) > 1 {
		of = " (" + strings.Join(r.Pods, ", ") + ")"
	}
	if r.Error != "" {
		t.add(step(unknown, "The rules%s could not be asked: %s.", of, r.Error))
		return
	}
	var others []string
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Outcome == ask.Subject {
			others = append(others, fmt.Sprintf("%s is for %s", v.Rule, v.Why))
			continue
		}
		t.add(t.tellVerdict(v, of))
	}
	if n := len(others) + r.More; n > 0 {
		if len(others) > maxShown {
			others = append(others[:maxShown], "…")
		}
		t.add(step(no, "%s%s for other subjects.", many(n, "rule is", "rules are"), of).with(others...))
	}
}

func (t *Trace) tellVerdict(v *ask.Verdict, of string) Step {
	name := fmt.Sprintf("Rule %q%s", v.Rule, of)
	if v.Rule == "default" {
		name = "Without a rules file the event names its users itself" + of
	}
	switch v.Outcome {
	case ask.When:
		return step(no, "%s does not apply: its condition is false.", name).with("when: " + v.Why)
	case ask.Nobody:
		return step(no, "%s: that is nobody.", name).with("the list of users is empty, or all of them are excluded")
	case ask.Failed:
		return step(no, "%s fails on it: %s.", name, strings.TrimSuffix(v.Why, "."))
	}
	s := step(yes, "%s: it is for %s.", name, audienceOf(v))
	if v.Users > 0 {
		s = s.with("users: " + list(v.Names, v.Users))
	}
	if v.ExceptUsers > 0 || len(v.ExceptGroups) > 0 {
		s = s.with(fmt.Sprintf("excepted: %s %s", many(v.ExceptUsers, "user", "users"), strings.Join(v.ExceptGroups, ", ")))
	}
	if t.User == "" {
		return s
	}
	switch {
	case v.Excepted:
		s.Mark = no
		return s.with(fmt.Sprintf("%s is excluded", t.User))
	case v.Listed:
		return s.with(fmt.Sprintf("%s is among them", t.User))
	case v.All:
		return s.with(fmt.Sprintf("and so for %s", t.User))
	case len(v.Groups) > 0:
		return s.with(fmt.Sprintf("%s gets it in sessions that are in one of these groups", t.User))
	}
	s.Mark = no
	return s.with(fmt.Sprintf("%s is not among them", t.User))
}

// audienceOf is the audience of a verdict in words.
func audienceOf(v *ask.Verdict) string {
	if v.All {
		return "everybody"
	}
	var parts []string
	if v.Users > 0 {
		parts = append(parts, many(v.Users, "user", "users"))
	}
	if n := len(v.Groups); n > 0 {
		parts = append(parts, many(n, "group", "groups")+" ("+strings.Join(v.Groups, ", ")+")")
	}
	return strings.Join(parts, " and ")
}

func list(names []string, all int) string {
	s := strings.Join(names, ", ")
	if all > len(names) {
		s += fmt.Sprintf(" and %s more", thousands(all-len(names)))
	}
	return s
}

func (t *Trace) tellLog() {
	for i := range t.Log.Records {
		t.add(t.tellRecord(&t.Log.Records[i]))
	}
	if t.Log.More > 0 {
		t.add(note("%s of it are not listed.", many(t.Log.More, "more record", "more records")))
	}
	for _, e := range t.Log.Errors {
		t.add(step(unknown, "The log could not be read, in part or at all: %s.", e))
	}
	if len(t.Log.Records) > 0 || t.Event != nil && t.Event.Broken != "" {
		return
	}
	switch why := t.Log.stopped(); {
	case len(t.Log.Errors) > 0:
	case why != "":
		t.add(step(unknown, "No record of it is in the part of the log that was read (%s): then %s.", readOf(t.Log.Walks), why).with("look further with a higher --limit and --timeout"))
	default:
		t.add(step(no, "The log has no record of it (%s).", readOf(t.Log.Walks)))
	}
}

func readOf(walks []Walk) string {
	n, from, to := 0, time.Time{}, time.Time{}
	for _, w := range walks {
		n += w.Read
		if from.IsZero() || !w.From.IsZero() && w.From.Before(from) {
			from = w.From
		}
		if w.To.After(to) {
			to = w.To
		}
	}
	if n == 0 {
		return "there was nothing to read"
	}
	return fmt.Sprintf("%s read, stored between %s and %s", many(n, "record", "records"), clock(from), clock(to))
}

func (t *Trace) tellRecord(r *Record) Step {
	s := step(yes, "The log has record %d of %s, stored %s, for %s.", r.Sequence, wire.Stream(r.Shard), clock(r.Stored), r.audience())
	if t.Event != nil {
		s = s.with(fmt.Sprintf("%v after the event", r.Stored.Sub(t.Event.Stored).Round(100*time.Microsecond)))
	}
	s = s.with(prefixed("rule ", r.Rule), prefixed("kind ", r.Kind))
	if r.Users > 0 {
		s = s.with("users: " + list(r.Names, r.Users))
	}
	switch r.Concerns {
	case listed:
		s = s.with(t.User + " is among them")
	case isExcepted:
		s.Mark = no
		s = s.with(t.User + " is excepted")
	case notAtAll:
		s.Mark = no
		s = s.with(t.User + " is not among them")
	case ifInGroup:
		s = s.with(t.User + " gets it in sessions that are in this group")
	case elsewhere:
		s.Mark = noted
		s = s.with("this copy is for users of another shard than " + t.User + "'s")
	}
	return s
}

func (r *Record) audience() string {
	switch r.For {
	case "group":
		return fmt.Sprintf("the group %q", r.Group)
	case "all":
		return "everybody"
	}
	return many(r.Users, "user", "users")
}
