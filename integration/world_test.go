package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The size of the world that TestExactness plays in.
const (
	users      = 500
	teams      = 12
	aggregates = 64
	fewest     = 5000  // events that happen at least
	most       = 20000 // and at most: it goes on until all that was killed is back
	rate       = 100   // in a second
	writers    = 8     // goroutines that publish, each all events of its own aggregates
)

// worldRules say the same as audienceOf, in the language of the product.
const worldRules = `rules:
  - name: people
    subject: events.thing.*.people
    users: event.data.users
    exclude: { users: event.data.except }
    data: '{"a": event.data.a, "n": event.data.n, "pad": event.data.pad}'
  - name: team
    subject: events.thing.*.team
    users: event.data.users
    groups: event.data.teams
    exclude: { users: event.data.except }
    kind: '"team"'
    data: '{"a": event.data.a, "n": event.data.n, "pad": event.data.pad}'
  - name: everyone
    subject: events.thing.*.everyone
    all: true
    exclude: { users: event.data.except }
    data: '{"a": event.data.a, "n": event.data.n, "pad": event.data.pad}'
`

func rulesFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// world is what happens, and to whom: the truth that every tab is compared with.
type world struct {
	users  []user
	number map[string]int // of a user, by ID
	events []*event       // all that may happen

	published atomic.Int64
	retries   atomic.Int64

	mu      sync.Mutex // guards the following
	due     time.Time  // of the next event
	hasty   int        // events that are not paced
	reached int        // the furthest event that a writer has taken
	end     int        // the first that will not happen
}

type user struct {
	id    string
	teams []string
}

type event struct {
	index     int
	aggregate int
	n         int // of its aggregate: 1, 2, 3 …
	form      string
	data      eventData
	audience  map[int]bool // users' numbers
}

type eventData struct {
	A      int      `json:"a"`
	N      int      `json:"n"`
	Users  []string `json:"users"`
	Teams  []string `json:"teams"`
	Except []string `json:"except"`
	Pad    string   `json:"pad"`
}

func newWorld(r *rand.Rand) *world {
	w := &world{number: map[string]int{}, end: most}
	for i := range users {
		u := user{id: fmt.Sprintf("user-%03d", i), teams: []string{team(i)}}
		if i%10 == 0 {
			u.id = fmt.Sprintf("Ünï 7/%d.*>&?", i) // any UTF-8 can be a user's ID
		}
		if i%3 == 0 {
			u.teams = append(u.teams, team(i+1+i%5))
		}
		w.number[u.id] = i
		w.users = append(w.users, u)
	}
	var n [aggregates]int
	for i := range most {
		e := &event{index: i, aggregate: r.IntN(aggregates)}
		n[e.aggregate]++
		e.n = n[e.aggregate]
		w.invent(e, r)
		e.data.A, e.data.N = e.aggregate, e.n
		e.audience = w.audienceOf(e)
		w.events = append(w.events, e)
	}
	return w
}

func team(i int) string { return fmt.Sprintf("team-%d", i%teams) }

// invent decides what kind of event it is. Some come in bursts that reach everyone, and are long, 24 times 9 kB: the kernel keeps 64 KiB for
// a tab that does not read, and then its queue is too short.
func (w *world) invent(e *event, r *rand.Rand) {
	d := &e.data
	d.Users, d.Teams, d.Except = []string{}, []string{}, []string{}
	e.form, d.Pad = "people", strings.Repeat("-", r.IntN(300))
	some := func(n int) (list []string) {
		for range n {
			list = append(list, w.users[r.IntN(users)].id)
		}
		return list
	}
	switch dice := r.IntN(1000); {
	case e.index%2000 < 24:
		e.form, d.Pad = "everyone", strings.Repeat("=", 8192+r.IntN(2048))
	case dice < 4:
		e.form, d.Pad = "everyone", strings.Repeat("=", r.IntN(4096))
	case dice < 44:
		e.form, d.Pad = "team", strings.Repeat("+", r.IntN(2000))
		d.Teams = []string{team(r.IntN(teams)), team(r.IntN(teams))}[:1+r.IntN(2)]
		d.Users = append(d.Users, some(r.IntN(3))...)
	case dice < 200:
		d.Users = some(2 + r.IntN(11))
	default:
		d.Users = some(1)
	}
	if len(d.Users) != 1 && r.IntN(4) == 0 {
		d.Except = some(1)
	}
}

func (w *world) audienceOf(e *event) map[int]bool {
	in := map[int]bool{}
	for _, id := range e.data.Users {
		in[w.number[id]] = true
	}
	for i, u := range w.users {
		member := func(t string) bool { return slices.Contains(u.teams, t) }
		if e.form == "everyone" || slices.ContainsFunc(e.data.Teams, member) {
			in[i] = true
		}
	}
	for _, id := range e.data.Except {
		delete(in, w.number[id])
	}
	return in
}

func (e *event) id() string      { return fmt.Sprintf("e-%d", e.index) }
func (e *event) subject() string { return fmt.Sprintf("events.thing.%d.%s", e.aggregate, e.form) }

// message is the event as a service would publish it: raw JSON, or a CloudEvent.
func (e *event) message() *nats.Msg {
	m := nats.NewMsg(e.subject())
	m.Header.Set(nats.MsgIdHdr, e.id())
	if e.index%2 == 0 {
		m.Header.Set("ce-specversion", "1.0")
		m.Header.Set("ce-id", e.id())
		m.Header.Set("ce-source", "/integration")
		m.Header.Set("ce-type", "thing."+e.form)
	}
	m.Data, _ = json.Marshal(e.data) // strings and numbers
	return m
}

// happened are the events that were published, once publish has returned.
func (w *world) happened() []*event { return w.events[:w.end] }

// deliveries is the number of pairs of an event and a user whom it concerns.
func (w *world) deliveries() (n int) {
	for _, e := range w.happened() {
		n += len(e.audience)
	}
	return n
}
