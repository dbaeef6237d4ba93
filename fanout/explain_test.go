package fanout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/ingest"
)

func TestExplain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(`rules:
  - { name: other, subject: events.carts.>, all: true }
  - { name: dear, subject: "events.orders.*.shipped", when: event.data.total > 100, users: event.data.buyer }
  - { name: buyer, subject: "events.orders.*.shipped", users: event.data.buyer, exclude: { users: '["carol"]' } }
  - { name: nobody, subject: "events.orders.>", users: '[]' }
  - { name: broken, subject: "events.orders.>", users: event.data.missing }
  - { name: team, subject: "events.orders.>", groups: '["sales"]' }
`), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := LoadRules(path)
	if err != nil {
		t.Fatal(err)
	}
	e := &ingest.Event{Key: strings.Repeat("0", 32), ID: "e", Type: "t", NATSSubject: "events.orders.1.shipped", Data: []byte(`{"total":7,"buyer":["alice","bob"]}`),
		Stored: time.Unix(1_800_000_000, 0)}
	got := rules.Explain(e, 2, 1<<20)
	for i, want := range []struct {
		rule    string
		outcome Outcome
		why     string
		records int
	}{
		{"other", OutcomeSubject, "events.carts.>", 0},
		{"dear", OutcomeWhen, "event.data.total > 100", 0},
		{"buyer", OutcomeMatched, "", 2},
		{"nobody", OutcomeNobody, "", 0},
		{"broken", OutcomeFailed, "no such key: missing", 0},
		{"team", OutcomeMatched, "", 2},
	} {
		v := got[i]
		if v.Rule != want.rule || v.Outcome != want.outcome || !strings.Contains(v.Why, want.why) || len(v.Records) != want.records {
			t.Errorf("%s: got %+v, want %+v", want.rule, v, want)
		}
	}
	if listed, excepted := got[2].Audience.Lists("alice"); !listed || excepted {
		t.Errorf("alice: listed %v, excepted %v", listed, excepted)
	}
	if listed, excepted := got[2].Audience.Lists("carol"); listed || !excepted {
		t.Errorf("carol: listed %v, excepted %v", listed, excepted)
	}

	// Without a rules file, the event speaks for itself.
	e.Data = []byte(`{"userId":"alice"}`)
	v := (*Rules)(nil).Explain(e, 1, 1<<20)
	if len(v) != 1 || v[0].Rule != DefaultRule || v[0].Outcome != OutcomeMatched || len(v[0].Records) != 1 ||
		v[0].Records[0].MsgID != e.Key+".default.0.0" {
		t.Errorf("got %+v", v)
	}
	e.Data = []byte(`{}`)
	if v := (*Rules)(nil).Explain(e, 1, 1<<20); v[0].Outcome != OutcomeNobody {
		t.Errorf("got %+v, want nobody", v)
	}
}
