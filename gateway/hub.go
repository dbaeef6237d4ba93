package gateway

import (
	"hash/maphash"

	"tidings/fanout/wire"
)

// hub knows the sessions of one shard by user and by group. It is guarded by its shard's lock.
type hub struct {
	seed   maphash.Seed
	users  map[uint64]*Session // by the user's hash: the first of a list linked by next; in it another user's are possible
	groups map[string]map[*Session]struct{}
}

func newHub() hub {
	return hub{seed: maphash.MakeSeed(), users: map[uint64]*Session{}, groups: map[string]map[*Session]struct{}{}}
}

// add takes in a session, unless its user has most already.
func (h *hub) add(s *Session, most int) bool {
	key := maphash.String(h.seed, s.user)
	n := 0
	for other := h.users[key]; other != nil; other = other.next {
		if other.user != s.user {
			continue
		}
		if n++; n >= most {
			return false
		}
		s.user = other.user // one copy of the name for all
	}
	s.next = h.users[key]
	h.users[key] = s
	h.addGroups(s)
	return true
}

func (h *hub) addGroups(s *Session) {
	for _, g := range s.groups() {
		members := h.groups[g]
		if members == nil {
			members = map[*Session]struct{}{}
			h.groups[g] = members
		}
		members[s] = struct{}{}
	}
}

func (h *hub) removeGroups(s *Session) {
	for _, g := range s.groups() {
		delete(h.groups[g], s)
		if len(h.groups[g]) == 0 {
			delete(h.groups, g)
		}
	}
}

// remove takes s out again, if it is in.
func (h *hub) remove(s *Session) {
	key := maphash.String(h.seed, s.user)
	first := h.users[key]
	switch {
	case first == s && s.next == nil:
		delete(h.users, key)
	case first == s:
		h.users[key] = s.next
	default:
		before := first
		for before != nil && before.next != s {
			before = before.next
		}
		if before == nil {
			return
		}
		before.next = s.next
	}
	s.next = nil
	h.removeGroups(s)
}

// each calls f for every live session that is listed, or in the group, and not excepted, once. What is for all does not go
// by way of the hub: the loops know their sessions.
func (h *hub) each(a *wire.Audience, f func(*Session)) {
	switch a.Kind {
	case wire.Users:
		for _, u := range a.Users.All() {
			for s := h.users[maphash.Bytes(h.seed, u)]; s != nil; s = s.next {
				if s.user == string(u) {
					h.one(s, a, f)
				}
			}
		}
	case wire.Group:
		for s := range h.groups[string(a.Group)] {
			h.one(s, a, f)
		}
	}
}

func (h *hub) one(s *Session, a *wire.Audience, f func(*Session)) {
	if s.live && !a.Excepts(s.user, s.groups()) {
		f(s)
	}
}
