package inquiry

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"tidings/fanout/wire"
)

// Outcomes of a Trace, for machines. With a user they are about that user.
const (
	OutcomeGiven     = "given"        // a session's socket has taken it
	OutcomeProbably  = "probably"     // a session is past it, and how it began is forgotten
	OutcomeWaiting   = "waiting"      // it is on its way to a session
	OutcomeReset     = "reset"        // sessions were told to reload instead
	OutcomeLater     = "opened_later" // the page was opened behind it, without a cursor
	OutcomeOffline   = "offline"      // nobody is there
	OutcomeNotFor    = "not_for_user" // it is not for that user
	OutcomeNobody    = "nobody"       // no rule makes anything of it
	OutcomeDead      = "dead_letter"  // it is in the DLQ
	OutcomePending   = "pending"      // no fanout has handled it
	OutcomeStored    = "stored"       // it is in the log; nobody was asked about
	OutcomeNotFound  = "not_found"    // nothing bears this id
	OutcomeUncertain = "uncertain"    // what could be looked at does not tell
)

// Trace is what became of an event.
type Trace struct {
	ID   string    `json:"id"`
	User string    `json:"user,omitempty"`
	At   time.Time `json:"at"`

	Outcome    string `json:"outcome"`
	Conclusion string `json:"conclusion"`
	Steps      []Step `json:"steps"`

	Event    *Event    `json:"event,omitempty"`
	Others   int       `json:"others,omitempty"` // more events of that id, older
	Dead     *Dead     `json:"dead,omitempty"`
	Handling *Handling `json:"handling,omitempty"`
	Rulings  []Ruling  `json:"rulings,omitempty"`
	Log      Log       `json:"log"`
	Pods     *Pods     `json:"gateways,omitempty"`
	Walks    []Walk    `json:"walks,omitempty"` // over EVENTS and the DLQ
	Errors   []string  `json:"errors,omitempty"`

	differ bool // what became of its records
}

// maxID bounds what a person may ask for.
const maxID = 1024

// Trace finds out what became of an event, and what a user got of it; "" is no user. An error means that the question makes no sense.
func (s *Search) Trace(ctx context.Context, id, user string) (*Trace, error) {
	if id = strings.TrimSpace(id); id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return nil, fmt.Errorf("%w: an event's id is 1 to %d bytes of UTF-8", errQuestion, maxID)
	}
	if user != "" {
		if err := wire.CheckUser(user); err != nil {
			return nil, fmt.Errorf("%w: %w", errQuestion, err)
		}
	}
	t := &Trace{ID: id, User: user, At: time.Now().UTC()}
	ctx, cancel := context.WithTimeout(ctx, 3*s.Patience+2*askPatience)
	defer cancel()
	if err := s.collect(ctx, t); err != nil {
		return nil, err
	}
	t.tell()
	return t, nil
}

// collect gathers the facts.
func (s *Search) collect(ctx context.Context, t *Trace) error {
	b := s.budget()
	e, others, w, err := s.event(ctx, t.ID, b)
	if err != nil && isQuestion(err) {
		return err
	}
	t.fail(err)
	t.Event, t.Others, t.Walks = e, others, append(t.Walks, w)
	if e == nil {
		b = s.budget() // the other streams have their own
	}
	t.Dead, w, err = s.dead(ctx, t.ID, e, b)
	t.fail(err)
	t.Walks = append(t.Walks, w)
	if e != nil {
		h := s.handling(ctx, e)
		t.Handling = &h
		if e.Broken == "" {
			t.Rulings = s.rulings(ctx, e.raw, t.User)
		}
	}
	if e == nil || e.Broken == "" {
		t.Log = s.records(ctx, t.ID, e, t.Rulings, t.User, s.budget())
	}
	if t.User != "" && len(t.concerning()) > 0 {
		p := s.pods(ctx, t.User)
		t.Pods = &p
	}
	return nil
}

func (t *Trace) fail(err error) {
	if err != nil {
		t.Errors = append(t.Errors, err.Error())
	}
}

// concerning are the records that are, or may be, for the user.
func (t *Trace) concerning() (list []*Record) {
	for i := range t.Log.Records {
		switch r := &t.Log.Records[i]; r.Concerns {
		case listed, everybody, ifInGroup:
			list = append(list, r)
		}
	}
	return list
}
