//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// The world that everything happens in. A user has three tabs; some users have one that never reads.
const (
	tabsEach   = 3
	deafUsers  = 3 // of each twenty: 5 % of all tabs
	teams      = 30
	loud       = teams // the team of all who have a tab that does not read: its events are long
	aggregates = 64
	writers    = 8 // goroutines that publish, each all events of its own aggregates
)

// rules say the same as concerns, in the language of the product.
const rules = `rules:
  - name: people
    subject: events.thing.*.people
    users: event.data.users
    exclude: { users: event.data.except }
  - name: team
    subject: events.thing.*.team
    groups: event.data.teams
    exclude: { users: event.data.except }
    kind: '"team"'
  - name: everyone
    subject: events.thing.*.everyone
    all: true
    exclude: { users: event.data.except }
`

// world is what happens, and to whom: the truth that every tab is compared with.
type world struct {
	// Fixed at creation.
	users   []user
	members [teams + 1][]int32

	// Owned by the one who lets things happen.
	random *rand.Rand
	n      [aggregates]int32

	mu     sync.RWMutex // guards the following
	events []*event
}

type user struct {
	id    string
	teams []int32
	awake int32 // tabs that read
}

// event is one event, and what is known of its arrivals.
type event struct {
	// Fixed at creation.
	index     int32
	aggregate int32
	n         int32 // of its aggregate: 1, 2, 3 …
	form      string
	users     []int32
	teams     []int32
	except    int32 // a user, or nobody
	pad       string
	want      int32 // tabs that read and should have it

	tried atomic.Int64  // when it was first published, Unix nanoseconds
	acked atomic.Int64  // when it was stored, Unix nanoseconds; 0: not yet
	got   atomic.Int32  // tabs that read and have it
	last  atomic.Int64  // when the latest of them got it, Unix nanoseconds
	place atomic.Uint64 // where in the log the first tab found it, and so must all others
}

const nobody = -1

func newWorld(people int, r *rand.Rand) *world {
	w := &world{random: r}
	for i := range people {
		u := user{id: fmt.Sprintf("user-%05d", i), teams: []int32{int32(i % teams)}, awake: tabsEach}
		if deafTab(i) {
			u.teams = append(u.teams, loud)
			u.awake--
		}
		for _, t := range u.teams {
			w.members[t] = append(w.members[t], int32(i))
		}
		w.users = append(w.users, u)
	}
	return w
}

// deafTab tells that the user has a tab that never reads.
func deafTab(user int) bool { return user%20 < deafUsers }

func teamName(t int32) string { return fmt.Sprintf("team-%02d", t) }

// next is the next event. Most concern one user, some a few or a team, and few everyone. Those of the loud team come together and are
// long, sixteen times 8 kB: they fill what the kernel and the gateway keep for a tab that does not read.
func (w *world) next() *event {
	r := w.random
	e := &event{aggregate: int32(r.IntN(aggregates)), except: nobody, form: "people", pad: strings.Repeat("-", r.IntN(200))}
	w.n[e.aggregate]++
	e.n = w.n[e.aggregate]
	w.mu.Lock()
	defer w.mu.Unlock()
	e.index = int32(len(w.events))
	switch dice := r.IntN(1000); {
	case e.index%2000 >= 1984:
		e.form, e.teams, e.pad = "team", []int32{loud}, strings.Repeat("=", 8192)
	case dice < 4:
		e.form, e.except = "everyone", int32(r.IntN(len(w.users)))
	case dice < 80:
		e.form, e.teams, e.except = "team", []int32{int32(r.IntN(teams))}, int32(r.IntN(len(w.users)))
	case dice < 280:
		e.users = w.some(2 + r.IntN(11))
	default:
		e.users = w.some(1)
	}
	for u := range w.audience(e) {
		e.want += w.users[u].awake
	}
	w.events = append(w.events, e)
	return e
}

func (w *world) some(n int) (list []int32) {
	for range n {
		list = append(list, int32(w.random.IntN(len(w.users))))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// audience yields the users whom an event concerns, each once and in order.
func (w *world) audience(e *event) func(yield func(int32) bool) {
	list := e.users
	if len(e.teams) > 0 {
		list = w.members[e.teams[0]]
	}
	return func(yield func(int32) bool) {
		n := len(list)
		if e.form == "everyone" {
			n = len(w.users)
		}
		for i := range n {
			u := int32(i)
			if e.form != "everyone" {
				u = list[i]
			}
			if u != e.except && !yield(u) {
				return
			}
		}
	}
}

// concerns tells whether an event is for a user.
func (w *world) concerns(e *event, u int32) bool {
	switch {
	case u == e.except:
		return false
	case e.form == "everyone":
		return true
	case len(e.teams) > 0:
		return slices.Contains(w.users[u].teams, e.teams[0])
	}
	_, found := slices.BinarySearch(e.users, u)
	return found
}

// count is the number of events so far.
func (w *world) count() int32 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return int32(len(w.events))
}

// between are the events from an index on, up to another.
func (w *world) between(from, to int32) []*event {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.events[from:to:to]
}

// named is the event that a tab was told of; nil if there is none.
func (w *world) named(id string) *event {
	var i int32
	if n, err := fmt.Sscanf(id, "e-%d", &i); n != 1 || err != nil || i < 0 || i >= w.count() {
		return nil
	}
	return w.between(i, i+1)[0]
}

func (e *event) id() string { return fmt.Sprintf("e-%d", e.index) }

// eventData is what the event carries, for the rules and for the tabs.
type eventData struct {
	N      int32    `json:"n"`
	Users  []string `json:"users"`
	Teams  []string `json:"teams"`
	Except []string `json:"except"`
	Pad    string   `json:"pad"`
}

// message is the event as a service would publish it.
func (w *world) message(e *event) *nats.Msg {
	d := eventData{N: e.n, Users: []string{}, Teams: []string{}, Except: []string{}, Pad: e.pad}
	for _, u := range e.users {
		d.Users = append(d.Users, w.users[u].id)
	}
	for _, t := range e.teams {
		d.Teams = append(d.Teams, teamName(t))
	}
	if e.except != nobody {
		d.Except = append(d.Except, w.users[e.except].id)
	}
	m := nats.NewMsg(fmt.Sprintf("events.thing.%d.%s", e.aggregate, e.form))
	m.Header.Set(nats.MsgIdHdr, e.id())
	m.Data, _ = json.Marshal(d) // strings and numbers
	return m
}
