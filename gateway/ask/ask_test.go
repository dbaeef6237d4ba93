package ask

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	who := func(b []byte) error { _, err := ParseWho(b); return err }
	rules := func(b []byte) error { _, err := ParseRules(b); return err }
	gateway := func(b []byte) error { _, err := ParseGateway(b); return err }
	fanout := func(b []byte) error { _, err := ParseFanout(b); return err }
	long := `{"user":"` + strings.Repeat("x", 129) + `"}`
	for _, c := range []struct {
		name  string
		parse func([]byte) error
		text  string
		ok    bool
	}{
		{"who", who, `{"user":"alice"}`, true},
		{"who, with what a later version may add", who, `{"user":"爱丽丝","more":1}`, true},
		{"who: nobody", who, `{}`, false},
		{"who: too long a name", who, long, false},
		{"who: not JSON", who, `alice`, false},
		{"who: too large", who, `{"user":"a","pad":"` + strings.Repeat("x", MaxQuestion) + `"}`, false},
		{"rules", rules, `{"sequence":1}`, true},
		{"rules and a user", rules, `{"sequence":1,"user":"alice"}`, true},
		{"rules: no sequence", rules, `{"user":"alice"}`, false},
		{"rules: too long a name", rules, `{"sequence":1,` + long[1:], false},
		{"gateway", gateway, `{"pod":"a/1"}`, true},
		{"gateway: anonymous", gateway, `{}`, false},
		{"fanout", fanout, `{"pod":"a/1"}`, true},
		{"fanout: anonymous", fanout, `{"verdicts":[]}`, false},
	} {
		err := c.parse([]byte(c.text))
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v, want an error: %v", c.name, err, !c.ok)
		}
		if err != nil && !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v does not wrap ErrMessage", c.name, err)
		}
	}
}

func FuzzQuestions(f *testing.F) {
	for _, s := range []string{`{"user":"alice"}`, `{"sequence":7,"user":"bob"}`, `{"user":"\ud800"}`, `null`, `[]`, `{"sequence":-1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := ParseWho(b); err == nil && (q.User == "" || len(q.User) > 128) {
			t.Errorf("%q gives the user %q", b, q.User)
		}
		if q, err := ParseRules(b); err == nil && q.Sequence == 0 {
			t.Errorf("%q has no sequence", b)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	at := time.Unix(1_800_000_000, 0).UTC()
	full := Gateway{Pod: "a/1", Started: at, Head: 9, Epoch: 2, Remembers: at,
		Sessions: []Session{{ID: "x", State: "live", Position: 9, Epoch: 2, Groups: []string{"g"}}},
		Moments:  []Moment{{At: at, What: Closed, Session: "y", Word: "slow", Epoch: 2, To: 8}}}
	b, err := json.Marshal(full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	if b, err = json.Marshal(Fanout{Pod: "f/1", File: true, Verdicts: []Verdict{{Rule: "r", Outcome: Matched, Users: 1, Names: []string{"a"}}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"pod":"a","started":"yesterday"}`))
	f.Add([]byte(`{"pod":"a","sessions":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseGateway(b); err == nil {
			again(t, a, ParseGateway)
		}
		if a, err := ParseFanout(b); err == nil {
			again(t, a, ParseFanout)
		}
	})
}

// again: what was understood can be told on, and is understood as the same.
func again[T any](t *testing.T, a T, parse func([]byte) (T, error)) {
	t.Helper()
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatalf("%+v cannot be told on: %v", a, err)
	}
	c, err := parse(b)
	if err != nil && len(b) <= MaxAnswer {
		t.Fatalf("%s is not understood: %v", b, err)
	}
	d, _ := json.Marshal(c)
	if len(b) <= MaxAnswer && !reflect.DeepEqual(b, d) {
		t.Errorf("got %s, want %s", d, b)
	}
}
