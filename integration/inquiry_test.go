package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
	"tidings/gateway/inquiry"
	"tidings/integration/house"
)

// askedRules are the rules of the house that is asked.
const askedRules = `rules:
  - { name: told, subject: "events.test.*.told", users: event.data.userIds }
  - { name: dear, subject: "events.orders.*.paid", when: event.data.total > 100, users: event.data.userIds }
  - { name: broken, subject: "events.broken.>", users: event.data.missing }
  - { name: team, subject: "events.team.>", groups: '["sales"]' }
`

// askedHouse is a fanout and two gateways, and what a person asks it.
type askedHouse struct {
	t        *testing.T
	settings house.Settings
	js       jetstream.JetStream
	fanout   *house.Tidings
	gates    [2]*house.Tidings
}

func newAskedHouse(t *testing.T) *askedHouse {
	t.Helper()
	node := programs.Servers(t, 1)[0]
	h := &askedHouse{t: t, settings: house.Settings{"NATS_URL": node.URL, "SHARDS": "2"}}
	h.fanout = programs.Start(t, "fanout", h.settings.With(house.Settings{"ROLES": "fanout", "RULES": rulesFile(t, askedRules)})).Ready()
	for i := range h.gates {
		h.gates[i] = programs.Start(t, fmt.Sprintf("gateway-%d", i), h.settings.With(house.Settings{"ROLES": "gateway"})).Ready()
	}
	h.js = house.Connect(t, node.URL)
	return h
}

// publish stores an event under an id.
func (h *askedHouse) publish(subject, id, body string) {
	h.t.Helper()
	m := nats.NewMsg(subject)
	m.Header.Set(nats.MsgIdHdr, id)
	m.Data = []byte(body)
	if _, err := h.js.PublishMsg(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
}

// trace is `tidings trace`, by somebody who does not have the rules.
func (h *askedHouse) trace(args ...string) (t inquiry.Trace) {
	h.t.Helper()
	h.command(&t, append([]string{"trace", "--json"}, args...)...)
	return t
}

func (h *askedHouse) who(user string) (u inquiry.User) {
	h.t.Helper()
	h.command(&u, "who", user, "--json")
	return u
}

func (h *askedHouse) command(into any, args ...string) {
	h.t.Helper()
	c := programs.Command(h.t, h.settings, "", args...)
	if c.Code() != 0 {
		h.t.Fatalf("%s ended with %d: %s", strings.Join(args, " "), c.Code(), c.Stderr())
	}
	if err := json.Unmarshal([]byte(c.Stdout()), into); err != nil {
		h.t.Fatalf("%s printed %q: %v", strings.Join(args, " "), c.Stdout(), err)
	}
}

// traced asks until the outcome is as wanted: what fanouts and gateways do takes its time.
func (h *askedHouse) traced(want string, args ...string) (t inquiry.Trace) {
	h.t.Helper()
	house.Eventually(h.t, house.Patience, fmt.Sprintf("trace %q gives %s", args, want), func() error {
		if t = h.trace(args...); t.Outcome != want {
			return fmt.Errorf("it gives %s: %s\n%s", t.Outcome, t.Conclusion, stepsOf(t.Steps))
		}
		return nil
	})
	return t
}

func stepsOf(steps []inquiry.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s: %s %q\n", s.Mark, s.Text, s.Details)
	}
	return b.String()
}

// says tells whether some step with this mark holds the text, or one of its details.
func says(steps []inquiry.Step, mark, text string) bool {
	for _, s := range steps {
		if s.Mark == mark && strings.Contains(s.Text+"\n"+strings.Join(s.Details, "\n"), text) {
			return true
		}
	}
	return false
}

func wantSteps(t *testing.T, steps []inquiry.Step, mark string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !says(steps, mark, text) {
			t.Errorf("no step marked %q says %q:\n%s", mark, text, stepsOf(steps))
		}
	}
}

// TestWhyNot asks a house of three processes why users got something, or did not.
func TestWhyNot(t *testing.T) {
	h := newAskedHouse(t)
	alice := open(t, h.gates[0], "alice", "")
	second := open(t, h.gates[1], "alice", "")
	tell(t, h.js, "e-1", "alice", "bob")
	alice.expect("e-1")
	second.expect("e-1")

	t.Run("delivered", func(t *testing.T) {
		got := h.traced(inquiry.OutcomeGiven, "e-1", "--user", "alice")
		wantSteps(t, got.Steps, "yes", `"e-1" is stored`, "A fanout has handled it", `Rule "told": it is for 2 users`, "alice is among them",
			"Session "+alice.welcome.Session+" on ", "Session "+second.welcome.Session+" on ")
		if len(got.Pods.Answers) != 2 || len(got.Pods.Silent) != 0 || len(got.Rulings) != 1 || len(got.Rulings[0].Pods) != 1 {
			t.Errorf("got the gateways %+v and the rules %+v, want two that answered, and those of one fanout", got.Pods, got.Rulings)
		}
		if r := got.Log.Records; len(r) == 0 || r[0].Rule != "told" || r[0].Event != "e-1" {
			t.Errorf("got the records %+v", r)
		}
	})
	t.Run("by its key, and by its sequence", func(t *testing.T) {
		first := h.trace("e-1")
		for _, id := range []string{first.Event.Key, fmt.Sprintf("seq:%d", first.Event.Sequence)} {
			if got := h.trace(id); got.Event == nil || got.Event.ID != "e-1" || got.Outcome != inquiry.OutcomeStored {
				t.Errorf("%s: got %s, %+v", id, got.Outcome, got.Event)
			}
		}
	})
	t.Run("not in the audience", func(t *testing.T) {
		got := h.traced(inquiry.OutcomeNotFor, "e-1", "--user=carol")
		wantSteps(t, got.Steps, "no", "carol is not among them")
	})
	t.Run("offline", func(t *testing.T) {
		got := h.traced(inquiry.OutcomeOffline, "e-1", "--user", "bob")
		wantSteps(t, got.Steps, "no", "No gateway has a session of bob now (2 gateways answered).")
	})
	t.Run("opened later", func(t *testing.T) {
		late := open(t, h.gates[1], "bob", "")
		got := h.traced(inquiry.OutcomeLater, "e-1", "--user", "bob")
		wantSteps(t, got.Steps, "no", "without a cursor")
		late.Drop()
	})
	t.Run("the rule's condition is false", func(t *testing.T) {
		h.publish("events.orders.1.paid", "e-cheap", `{"total":7,"userIds":["alice"]}`)
		got := h.traced(inquiry.OutcomeNobody, "e-cheap", "--user", "alice")
		wantSteps(t, got.Steps, "no", `Rule "dear" does not apply`, "when: event.data.total > 100", "3 rules are for other subjects", "The log has no record of it")
	})
	t.Run("dead letter", func(t *testing.T) {
		h.publish("events.broken.1.x", "e-dead", `{}`)
		got := h.traced(inquiry.OutcomeDead, "e-dead", "--user", "alice")
		wantSteps(t, got.Steps, "no", "It is in the DLQ since ", "no such key: missing", "rule broken", `Rule "broken" fails on it`)
		if got.Dead.Event != got.Event.Sequence {
			t.Errorf("the dead letter is of event %d, want %d", got.Dead.Event, got.Event.Sequence)
		}
	})
	t.Run("group", func(t *testing.T) {
		h.publish("events.team.1.x", "e-team", `{}`)
		got := h.traced(inquiry.OutcomeNotFor, "e-team", "--user", "alice")
		wantSteps(t, got.Steps, "no", `is not in the group "sales"`)
	})
	t.Run("unknown id", func(t *testing.T) {
		got := h.trace("nope", "--user", "alice")
		if got.Outcome != inquiry.OutcomeNotFound {
			t.Errorf("got %s: %s", got.Outcome, got.Conclusion)
		}
		wantSteps(t, got.Steps, "no", "EVENTS has no event with this id", "The log has no record of it")
	})
	t.Run("the limit ends it", func(t *testing.T) {
		got := h.trace("nope", "--limit", "1")
		if got.Outcome != inquiry.OutcomeUncertain {
			t.Errorf("got %s: %s", got.Outcome, got.Conclusion)
		}
		wantSteps(t, got.Steps, "unknown", "as many messages were read as the limit allows", "look further")
	})
	t.Run("who", func(t *testing.T) {
		u := h.who("alice")
		wantSteps(t, u.Steps, "yes", "Session "+alice.welcome.Session+" on ", `event "e-1": given`)
		if len(u.Log.Records) != 1 || u.Log.Records[0].Event != "e-1" || u.Conclusion != "alice has 2 sessions." {
			t.Errorf("got %q and the records %+v", u.Conclusion, u.Log.Records)
		}
		second.Drop()
		house.Eventually(t, house.Patience, "the end is known", func() error {
			if u = h.who("alice"); !says(u.Steps, "note", "Session "+second.welcome.Session+" on ") {
				return fmt.Errorf("it says\n%s", stepsOf(u.Steps))
			}
			return nil
		})
		wantSteps(t, u.Steps, "note", "reason: gone")
		wantSteps(t, h.who("nobody").Steps, "no", "No gateway has a session of nobody now", "There is no record of the log for nobody")
	})
	t.Run("text for people", func(t *testing.T) {
		c := programs.Command(t, h.settings, "", "trace", "e-1", "--user", "alice")
		if out := c.Stdout(); !strings.Contains(out, "✓ The event \"e-1\" is stored") || !strings.Contains(out, "\n→ alice was given it") {
			t.Errorf("got %q", out)
		}
		if c := programs.Command(t, h.settings, "", "trace"); c.Code() == 0 || !strings.Contains(c.Stderr(), "trace needs an event") {
			t.Errorf("without an id: %d, %q", c.Code(), c.Stderr())
		}
	})
	t.Run("nothing is left behind", func(t *testing.T) {
		for _, stream := range []string{"EVENTS", "DLQ", wire.Stream(0), wire.Stream(1)} {
			s, err := h.js.Stream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			for c := range s.ListConsumers(t.Context()).Info() {
				if c.Config.Metadata[ask.MetaPod] == "" && !strings.HasPrefix(c.Name, "fanout-") {
					t.Errorf("%s has the consumer %s of a search", stream, c.Name)
				}
			}
		}
	})
	t.Run("a gateway that does not answer", func(t *testing.T) {
		h.gates[1].Signal(syscall.SIGSTOP)
		got := h.trace("e-1", "--user", "bob")
		h.gates[1].Signal(syscall.SIGCONT)
		if got.Outcome != inquiry.OutcomeUncertain || len(got.Pods.Silent) != 1 || len(got.Pods.Answers) != 1 {
			t.Errorf("got %s with %d answers, silent %q: %s", got.Outcome, len(got.Pods.Answers), got.Pods.Silent, got.Conclusion)
		}
		wantSteps(t, got.Steps, "unknown", "has not answered")
	})
	t.Run("reset", func(t *testing.T) {
		cursor := alice.cursor
		alice.Drop()
		tell(t, h.js, "e-missed", "alice")
		c, err := wire.ParseCursor(cursor)
		if err != nil {
			t.Fatal(err)
		}
		h.traced(inquiry.OutcomeOffline, "e-missed", "--user", "alice")
		house.Eventually(t, house.Patience, "both gateways have it", func() error {
			for _, a := range h.trace("e-missed", "--user", "alice").Pods.Answers {
				if a.Head <= c.Seq {
					return fmt.Errorf("%s is at %d", a.Pod, a.Head)
				}
			}
			return nil
		})
		c.Epoch++ // of a log that is not there: as behind a loss of the log
		open(t, h.gates[0], "alice", c.String()).expectResume("reset")
		got := h.traced(inquiry.OutcomeReset, "e-missed", "--user", "alice")
		wantSteps(t, got.Steps, "no", "was told to reload")
	})
	t.Run("no fanout", func(t *testing.T) {
		if code := h.fanout.Terminate(house.Patience); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		tell(t, h.js, "e-late", "alice")
		got := h.traced(inquiry.OutcomePending, "e-late", "--user", "alice")
		wantSteps(t, got.Steps, "no", "has 1 event waiting")
		wantSteps(t, got.Steps, "unknown", "Which rules match is not known")
		h.settings["RULES"] = rulesFile(t, askedRules)
		got = h.trace("e-late", "--user", "alice")
		wantSteps(t, got.Steps, "yes", `Rule "told": it is for 1 user.`)
	})
}

// TestAskedWithoutNATS: who cannot be reached is named.
func TestAskedWithoutNATS(t *testing.T) {
	c := programs.Command(t, house.Settings{"NATS_URL": "nats://127.0.0.1:1"}, "", "who", "alice")
	if c.Code() == 0 || !strings.Contains(c.Stderr(), "cannot connect to NATS at nats://127.0.0.1:1") {
		t.Errorf("got %d, %q", c.Code(), c.Stderr())
	}
}
