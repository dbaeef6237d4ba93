package fanout

import (
	"runtime"

	"fmt"

	"cel.dev/cel-go/common/types"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// Rules say whom events concern and what they may see, in the order of their file. A nil *Rules is no file: every event names
// its audience itself.
type Rules struct {
	list []*Rule
	turn chan struct{} // one for each evaluation that is under way
}

// evaluations bounds how many go on at once, for each processor. They do nothing but compute: hundreds of costly ones at once would let everything else of
// the process wait for its turn for seconds, heartbeats from and progress to NATS included, and events would be taken from it that it works on.
const evaluations = 4

func newRules() *Rules { return &Rules{turn: make(chan struct{}, evaluations*runtime.GOMAXPROCS(0))} }

// Rule maps the events of one subject pattern to an Audience and a Notification.
type Rule struct {
	Name string

	subject       pattern
	when          *expression // nil: always
	users         *expression
	groups        *expression
	all           bool
	excludeUsers  *expression
	excludeGroups *expression
	kind          *expression // nil: the event's type
	data          *expression // nil: the event's data
}

// Notification is what browsers are shown of one event, and whose.
type Notification struct {
	Rule     string
	Kind     string
	Data     []byte // JSON
	Audience Audience
}

// Evaluate applies all rules to e, in order; every rule that matches yields a Notification of its own, even one that reaches
// nobody. Errors are *EvalError.
func (r *Rules) Evaluate(e *ingest.Event) ([]Notification, error) {
	s := newScope(e)
	if r == nil {
		n, err := defaultNotification(s)
		if err != nil {
			return nil, err
		}
		return []Notification{n}, nil
	}
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	var out []Notification
	for _, rule := range r.list {
		if !rule.subject.matches(s.tokens) {
			continue
		}
		n, ok, err := rule.apply(s)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, n)
		}
	}
	return out, nil
}

// Len is the number of rules, 0 without a file.
func (r *Rules) Len() int {
	if r == nil {
		return 0
	}
	return len(r.list)
}

func (r *Rule) apply(s *scope) (n Notification, ok bool, err error) {
	if ok, err = r.when.evalBool(s); err != nil || !ok {
		return n, false, err
	}
	n.Rule = r.Name
	if n.Audience, err = r.audience(s); err != nil {
		return n, false, err
	}
	if n.Audience.Empty() {
		return n, true, nil // the rest is for nobody's eyes
	}
	if n.Kind, err = r.evalKind(s); err != nil {
		return n, false, err
	}
	n.Data, err = r.evalData(s)
	return n, err == nil, err
}

func (r *Rule) audience(s *scope) (a Audience, err error) {
	if a.ExceptUsers, err = r.excludeUsers.evalNames(s, wire.CheckUser); err != nil {
		return a, err
	}
	if a.ExceptGroups, err = r.excludeGroups.evalNames(s, wire.CheckGroup); err != nil {
		return a, err
	}
	a.All = r.all
	if !a.All {
		if a.Users, err = r.users.evalNames(s, wire.CheckUser); err != nil {
			return a, err
		}
		if a.Groups, err = r.groups.evalNames(s, wire.CheckGroup); err != nil {
			return a, err
		}
	}
	a.subtract()
	return a, r.checkExceptions(a)
}

// checkExceptions: a Record can list no more than wire.MaxExcept exceptions. Those of the Record for the last group are all
// other groups and the excluded ones.
func (r *Rule) checkExceptions(a Audience) error {
	if n := len(a.Groups) + len(a.ExceptGroups); n > wire.MaxExcept {
		x := r.groups
		if len(a.ExceptGroups) > len(a.Groups) {
			x = r.excludeGroups
		}
		return x.fail(fmt.Errorf("%d groups together with the excluded ones, at most %d are possible", n, wire.MaxExcept))
	}
	if n := len(a.ExceptUsers); n > wire.MaxExcept && (a.All || len(a.Groups) > 0) {
		return r.excludeUsers.fail(fmt.Errorf("%d excluded users, at most %d can be excluded from groups or from all", n, wire.MaxExcept))
	}
	return nil
}

func (r *Rule) evalKind(s *scope) (string, error) {
	if r.kind == nil {
		return s.event.Type, nil
	}
	v, err := r.kind.eval(s)
	if err != nil {
		return "", err
	}
	kind, ok := v.(types.String)
	if !ok || kind == "" {
		return "", r.kind.fail(fmt.Errorf("got %s, want a string that is not empty", describe(v)))
	}
	return string(kind), nil
}

func (r *Rule) evalData(s *scope) ([]byte, error) {
	if r.data == nil {
		return eventData(r.Name, s.event)
	}
	v, err := r.data.eval(s)
	if err != nil {
		return nil, err
	}
	b, err := appendValue(nil, v)
	if err != nil {
		return nil, r.data.fail(err)
	}
	return b, nil
}
