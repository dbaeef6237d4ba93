package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
)

const poisonRules = `rules:
  - name: counted
    subject: events.tally.*.counted
    users: event.data.userIds
  - name: poisoned
    subject: events.tally.*.poison
    users: event.data.nobody.there
`

// TestPoisonBetweenCrashes: fanout is killed in the middle of its work, and some events are such that a rule fails on them. Each of those
// is in the DLQ once, with the reason; the tab gets all the others, once and in order, as if nothing were.
func TestPoisonBetweenCrashes(t *testing.T) {
	node := programs.Servers(t, 1)[0]
	js := house.Connect(t, node.URL)
	s := house.Settings{"NATS_URL": node.URL}
	fanout := s.With(house.Settings{"ROLES": "fanout", "RULES": rulesFile(t, poisonRules)})
	running := programs.Start(t, "fanout", fanout).Ready()
	alice := open(t, programs.Start(t, "gateway", s.With(house.Settings{"ROLES": "gateway"})).Ready(), "alice", "")

	y, poisons := &tally{}, map[string]string{} // body by id
	ctx, enough := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- y.flow(ctx, js, func(n int) {
			if n%100 == 0 {
				m := poison(n)
				poisons[m.Header.Get(nats.MsgIdHdr)] = string(m.Data)
				if _, err := js.PublishMsg(context.Background(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}()
	for range 6 {
		y.all(alice, y.received+20+rand.IntN(200))
		running.Kill()
		running = programs.Start(t, "fanout", fanout)
	}
	y.all(alice, y.received+1)
	enough()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	y.all(alice, y.published)
	handled(t, js)
	t.Logf("%d events, and %d that a rule fails on", y.published, len(poisons))
	buried(t, js, poisons)
}

// poison is an event that no rule can be applied to.
func poison(n int) *nats.Msg {
	m := nats.NewMsg(fmt.Sprintf("events.tally.%d.poison", n%tallied))
	m.Header.Set(nats.MsgIdHdr, fmt.Sprint("poison-", n))
	m.Data = fmt.Appendf(nil, `{"n":%d}`, n)
	return m
}

// buried checks that the DLQ holds each of these once, with the reason, and nothing else.
func buried(t *testing.T, js jetstream.JetStream, poisons map[string]string) {
	t.Helper()
	for _, m := range house.ReadStream(t, js, "DLQ") {
		id := m.Header.Get("Tidings-Original-Nats-Msg-Id")
		if body, there := poisons[id]; !there || body != string(m.Data) {
			t.Errorf("the DLQ has %q once more, or without cause, or changed: %q", id, m.Data)
		}
		delete(poisons, id)
		for name, want := range map[string]string{
			"Tidings-Reason": `rule "poisoned", users: no such key: nobody`, "Tidings-Rule": "poisoned", "Tidings-Expression": "users: event.data.nobody.there",
		} {
			if got := m.Header.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", id, name, got, want)
			}
		}
	}
	if len(poisons) > 0 {
		t.Errorf("not in the DLQ: %v", poisons)
	}
}

// TestKilledWhilePublishing: the whole house is killed while a service publishes, which tries each event again until it is acknowledged.
func TestKilledWhilePublishing(t *testing.T) {
	s := house.Settings{"NATS_STORE": t.TempDir()}
	d := programs.Start(t, "all", s).Ready()
	s["NATS_LISTEN"] = d.Address("nats") // where the service finds it again
	js := house.Connect(t, d.NATS())
	alice := open(t, d, "alice", "")
	y := &tally{}
	ctx, enough := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- y.flow(ctx, js, func(int) {}) }()
	for range 5 {
		y.all(alice, y.received+20+rand.IntN(200))
		d.Kill()
		d = programs.Start(t, "all", s).Ready()
		alice = open(t, d, "alice", alice.cursor)
		alice.expectResume("complete")
	}
	enough()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	y.all(alice, y.published)
	t.Logf("%d events", y.published)
}
