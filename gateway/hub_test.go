package gateway

import (
	"bytes"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"tidings/fanout/wire"
)

var (
	hubUsers  = []string{"alice", "bob", "carol", "用户", "red"}
	hubGroups = []string{"red", "green", "blue", "alice"}
)

// hubModel is a hub beside the plain list of its sessions.
type hubModel struct {
	t    *testing.T
	rnd  *rand.Rand
	hub  hub
	in   map[*Session]bool
	most int
}

// list is every session of the hub.
func (h *hub) list() (all []*Session) {
	for _, s := range h.users {
		for ; s != nil; s = s.next {
			all = append(all, s)
		}
	}
	return all
}

// some of a list, perhaps one of them twice.
func (m *hubModel) some(of []string, most int) (list []string) {
	for range m.rnd.IntN(most + 1) {
		list = append(list, of[m.rnd.IntN(len(of))])
	}
	return list
}

func (m *hubModel) record() wire.Record {
	r := wire.Record{Kind: []wire.Kind{wire.Users, wire.Group}[m.rnd.IntN(2)], Notification: note(1)}
	switch r.Kind {
	case wire.Users:
		r.Users = append(m.some(hubUsers, 3), hubUsers[m.rnd.IntN(len(hubUsers))])
		slices.Sort(r.Users)
		r.Users = slices.Compact(r.Users)
	case wire.Group:
		r.Group = hubGroups[m.rnd.IntN(len(hubGroups))]
	}
	if m.rnd.IntN(2) == 0 {
		r.ExceptUsers, r.ExceptGroups = m.some(hubUsers, 2), m.some(hubGroups, 1)
	}
	return r
}

func (m *hubModel) add() {
	m.t.Helper()
	s := &Session{user: hubUsers[m.rnd.IntN(len(hubUsers))], live: m.rnd.IntN(4) > 0}
	s.setGroups(m.some(hubGroups, 3))
	n := 0
	for other := range m.in {
		if other.user == s.user {
			n++
		}
	}
	if got, want := m.hub.add(s, m.most), n < m.most; got != want {
		m.t.Fatalf("add with %d of %d: got %v, want %v", n, m.most, got, want)
	} else if got {
		m.in[s] = true
	}
}

// any is one of the sessions.
func (m *hubModel) any() *Session {
	all := m.hub.list()
	if len(all) == 0 {
		return nil
	}
	return all[m.rnd.IntN(len(all))]
}

func (m *hubModel) operation() {
	m.t.Helper()
	s := m.any()
	switch n := m.rnd.IntN(10); {
	case s == nil || n < 5:
		m.add()
	case n < 8:
		m.hub.remove(s)
		delete(m.in, s)
		if s.next != nil {
			m.t.Fatal("a session that was removed still knows others")
		}
	case n < 9:
		m.hub.removeGroups(s)
		s.setGroups(m.some(hubGroups, 3))
		m.hub.addGroups(s)
	default:
		s.live = !s.live
	}
}

// check holds every list of the hub against the sessions themselves.
func (m *hubModel) check() {
	m.t.Helper()
	n := 0
	for key, first := range m.hub.users {
		for s := first; s != nil; s = s.next {
			if n++; maphash.String(m.hub.seed, s.user) != key || !m.in[s] || n > len(m.in) {
				m.t.Fatalf("a list is broken at a session of %q", s.user)
			}
		}
	}
	if n != len(m.in) {
		m.t.Fatalf("%d sessions in the users' lists, want %d", n, len(m.in))
	}
	want := map[string]map[*Session]struct{}{}
	for s := range m.in {
		for _, g := range s.groups() {
			if want[g] == nil {
				want[g] = map[*Session]struct{}{}
			}
			want[g][s] = struct{}{}
		}
	}
	if !maps.EqualFunc(m.hub.groups, want, maps.Equal) {
		m.t.Fatalf("groups are %v, want %v", m.hub.groups, want)
	}
}

// concerns says it in words: listed, or in the group; and not excepted.
func concerns(r *wire.Record, s *Session) bool {
	in := r.Kind == wire.Users && slices.Contains(r.Users, s.user) ||
		r.Kind == wire.Group && slices.Contains(s.groups(), r.Group)
	return in && !slices.Contains(r.ExceptUsers, s.user) &&
		!slices.ContainsFunc(s.groups(), func(g string) bool { return slices.Contains(r.ExceptGroups, g) })
}

// each compares whom a Record reaches.
func (m *hubModel) each(r wire.Record) {
	m.t.Helper()
	raw, err := r.Append(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	v, err := wire.Parse(raw)
	if err != nil {
		m.t.Fatal(err)
	}
	got := map[*Session]int{}
	m.hub.each(&v.Audience, func(s *Session) { got[s]++ })
	for s := range m.in {
		want := 0
		if s.live && concerns(&r, s) {
			want = 1
		}
		if got[s] != want {
			m.t.Fatalf("%+v reaches a session of %q in %q, live %v, %d times, want %d", r, s.user, s.groups(), s.live, got[s], want)
		}
		delete(got, s)
	}
	if len(got) > 0 {
		m.t.Fatalf("%+v reaches %d sessions that have left", r, len(got))
	}
}

func TestHubAgainstAList(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		m := &hubModel{t: t, rnd: rnd, hub: newHub(), in: map[*Session]bool{}, most: 1 + rnd.IntN(6)}
		for range 500 {
			m.operation()
			m.check()
			m.each(m.record())
		}
		for _, s := range slices.Collect(maps.Keys(m.in)) {
			m.hub.remove(s)
		}
		if n := len(m.hub.users) + len(m.hub.groups); n != 0 {
			t.Fatalf("%d entries are left in an empty hub", n)
		}
	}
}

// A token can name a group twice, and a new one the same groups in other words.
func TestHubRegroup(t *testing.T) {
	b := newBench(t, nil)
	s, browser := b.session("alice", "red", "red", "blue")
	read(browser)
	tell := func(group string) int {
		b.tell(wire.Record{Kind: wire.Group, Group: group, Notification: note(1)})
		return notifications(read(browser))
	}
	for i, step := range []struct {
		groups []string // before which the session changes to
		want   map[string]int
	}{
		{nil, map[string]int{"red": 1, "blue": 1, "green": 0}},
		{[]string{"green", "blue", "green"}, map[string]int{"red": 0, "blue": 1, "green": 1}},
		{[]string{}, map[string]int{"red": 0, "blue": 0, "green": 0}},
		{[]string{"red"}, map[string]int{"red": 1, "blue": 0, "green": 0}},
	} {
		if step.groups != nil {
			b.shard.regroup(s, step.groups)
		}
		for group, want := range step.want {
			if got := tell(group); got != want {
				t.Errorf("step %d: got %d notifications for %s, want %d", i, got, group, want)
			}
		}
	}
	s.destroy(causeGone)
	if n := len(b.shard.hub.groups); n != 0 {
		t.Errorf("%d groups are left", n)
	}
}

// Nothing forbids a Record to list a user twice; a tab shows it once all the same, live and from the tail.
func TestHubUserListedTwice(t *testing.T) {
	b := newBench(t, nil)
	_, live := b.session("alice")
	read(live)
	b.say("alice", "bob", "alice")
	if got := notifications(read(live)); got != 1 {
		t.Errorf("got %d notifications live, want 1", got)
	}
	again, browser := b.session("alice")
	read(browser)
	b.shard.leave(again)
	again.state, again.pos = joining, 0
	again.step()
	if got := notifications(read(browser)); got != 1 {
		t.Errorf("got %d notifications from the tail, want 1", got)
	}
}

func notifications(b []byte) int { return bytes.Count(b, []byte(`"notification"`)) }

// The limit is each user's own, and a session that leaves makes room for one.
func TestHubLimitIsPerUser(t *testing.T) {
	h := newHub()
	for i := range 10 {
		for _, user := range []string{"alice", "bob"} {
			if got, want := h.add(&Session{user: user}, 5), i < 5; got != want {
				t.Fatalf("session %d of %s: got %v, want %v", i, user, got, want)
			}
		}
	}
	all := h.list()
	h.remove(all[slices.IndexFunc(all, func(s *Session) bool { return s.user == "alice" })])
	for _, tc := range []struct {
		user string
		want bool
	}{{"bob", false}, {"alice", true}, {"alice", false}} {
		if got := h.add(&Session{user: tc.user}, 5); got != tc.want {
			t.Errorf("%s again: got %v, want %v", tc.user, got, tc.want)
		}
	}
	if got := len(h.list()); got != 10 {
		t.Errorf("got %d sessions, want 10", got)
	}
}

// What is for all goes to the sessions of each loop in parts, with other work in between: every tab that was live gets it once and in
// order, whatever comes, leaves or is told meanwhile.
func TestToAllInParts(t *testing.T) {
	b := newBench(t, nil)
	tabs := map[*Session]int{}
	for i := range 40 {
		s, browser := b.session("user"+strconv.Itoa(i), []string{"red", "green"}[i%2])
		read(browser)
		tabs[s] = browser
	}
	excepted, silent := b.session("actor")
	read(silent)
	tell := func(r wire.Record) {
		b.seq++
		b.shard.append([]incoming{b.incoming(b.seq, r)})
	}
	tell(wire.Record{Kind: wire.All, ExceptUsers: []string{"actor"}, ExceptGroups: []string{"red"}, Notification: note(1)})
	tell(wire.Record{Kind: wire.Users, Users: []string{"user39", "actor"}, Notification: note(2)})
	tell(wire.Record{Kind: wire.All, Notification: note(3)})
	b.loop.promise.feeds, b.loop.promise.waiting = b.gate.positions(nil, nil), true
	parts := 0
	for ; !b.loop.drain(7); parts++ {
		switch parts {
		case 0: // somebody goes, and somebody comes into the free place
			for s, browser := range tabs {
				if s.user == "user38" || s.user == "user1" {
					s.destroy(causeGone)
					delete(tabs, s)
					read(browser)
				}
			}
		case 1:
			_, late := b.session("late")
			if got := notifications(read(late)); got != 0 {
				t.Errorf("a tab that came later got %d notifications, want 0", got)
			}
		}
		if want := b.loop.feeds[0].seq; want != 0 {
			t.Fatalf("heartbeats promise %d while deliveries wait", want)
		}
	}
	if got := b.loop.feeds[0].seq; parts < 5 || got != 3 {
		t.Errorf("done in %d parts, and heartbeats promise %d, want at least 5, and 3", parts, got)
	}
	for s, browser := range tabs {
		want := []string{`"data":1}`, `"data":3}`}
		switch n, _ := strconv.Atoi(s.user[4:]); {
		case n == 39:
			want = []string{`"data":1}`, `"data":2}`, `"data":3}`}
		case n%2 == 0:
			want = []string{`"data":3}`}
		}
		got := read(browser)
		for _, w := range want {
			_, rest, ok := bytes.Cut(got, []byte(w))
			if !ok {
				t.Errorf("%s: %s does not come, or too early, in %q", s.user, w, got)
			}
			got = rest
		}
		if n := notifications(got); n > 0 {
			t.Errorf("%s got %d more", s.user, n)
		}
	}
	if got := string(read(silent)); notifications([]byte(got)) != 2 || excepted.pos != 3 {
		t.Errorf("the excepted one got %q, and is at %d", got, excepted.pos)
	}
}
