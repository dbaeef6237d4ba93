package gateway

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
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

// some of a list, perhaps one of them twice.
func (m *hubModel) some(of []string, most int) (list []string) {
	for range m.rnd.IntN(most + 1) {
		list = append(list, of[m.rnd.IntN(len(of))])
	}
	return list
}

func (m *hubModel) record() wire.Record {
	r := wire.Record{Kind: wire.Kind(1 + m.rnd.IntN(3)), Notification: note(1)}
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
	s := &Session{user: hubUsers[m.rnd.IntN(len(hubUsers))], groups: m.some(hubGroups, 3), live: m.rnd.IntN(4) > 0}
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
	if len(m.hub.all) == 0 {
		return nil
	}
	return m.hub.all[m.rnd.IntN(len(m.hub.all))]
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
		if s.next != nil || s.prev != nil {
			m.t.Fatal("a session that was removed still knows others")
		}
	case n < 9:
		m.hub.removeGroups(s)
		s.groups = m.some(hubGroups, 3)
		m.hub.addGroups(s)
	default:
		s.live = !s.live
	}
}

// check holds every list of the hub against the sessions themselves.
func (m *hubModel) check() {
	m.t.Helper()
	if len(m.hub.all) != len(m.in) {
		m.t.Fatalf("%d sessions, want %d", len(m.hub.all), len(m.in))
	}
	for i, s := range m.hub.all {
		if !m.in[s] || int(s.place) != i {
			m.t.Fatalf("place %d: session of %q, which is in: %v, knows %d", i, s.user, m.in[s], s.place)
		}
	}
	n := 0
	for user, first := range m.hub.users {
		for s, prev := first, (*Session)(nil); s != nil; s, prev = s.next, s {
			if n++; s.user != user || s.prev != prev || !m.in[s] || n > len(m.in) {
				m.t.Fatalf("the list of %q is broken at a session of %q", user, s.user)
			}
		}
	}
	if n != len(m.in) {
		m.t.Fatalf("%d sessions in the users' lists, want %d", n, len(m.in))
	}
	want := map[string]map[*Session]struct{}{}
	for s := range m.in {
		for _, g := range s.groups {
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

// concerns says it in words: listed, or in the group, or everybody; and not excepted.
func concerns(r *wire.Record, s *Session) bool {
	in := r.Kind == wire.All ||
		r.Kind == wire.Users && slices.Contains(r.Users, s.user) ||
		r.Kind == wire.Group && slices.Contains(s.groups, r.Group)
	return in && !slices.Contains(r.ExceptUsers, s.user) &&
		!slices.ContainsFunc(s.groups, func(g string) bool { return slices.Contains(r.ExceptGroups, g) })
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
			m.t.Fatalf("%+v reaches a session of %q in %q, live %v, %d times, want %d", r, s.user, s.groups, s.live, got[s], want)
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
		if n := len(m.hub.users) + len(m.hub.groups) + len(m.hub.all); n != 0 {
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
	h.remove(h.users["alice"])
	for _, tc := range []struct {
		user string
		want bool
	}{{"bob", false}, {"alice", true}, {"alice", false}} {
		if got := h.add(&Session{user: tc.user}, 5); got != tc.want {
			t.Errorf("%s again: got %v, want %v", tc.user, got, tc.want)
		}
	}
	if got := len(h.all); got != 10 {
		t.Errorf("got %d sessions, want 10", got)
	}
}
