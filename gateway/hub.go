package gateway

import "tidings/fanout/wire"

// hub knows the sessions of one shard by user and by group. It is guarded by its shard's lock.
type hub struct {
	users  map[string]*Session // the first of a list linked by next and prev
	groups map[string]map[*Session]struct{}
	all    []*Session // each knows its place
}

func newHub() hub {
	return hub{users: map[string]*Session{}, groups: map[string]map[*Session]struct{}{}}
}

// add takes in a session, unless its user has most already.
func (h *hub) add(s *Session, most int) bool {
	first := h.users[s.user]
	n := 0
	for other := first; other != nil; other = other.next {
		if n++; n >= most {
			return false
		}
	}
	if first != nil {
		first.prev = s
	}
	s.next, s.prev = first, nil
	h.users[s.user] = s
	s.place = uint32(len(h.all))
	h.all = append(h.all, s)
	h.addGroups(s)
	return true
}

func (h *hub) addGroups(s *Session) {
	for _, g := range s.groups {
		members := h.groups[g]
		if members == nil {
			members = map[*Session]struct{}{}
			h.groups[g] = members
		}
		members[s] = struct{}{}
	}
}

func (h *hub) removeGroups(s *Session) {
	for _, g := range s.groups {
		delete(h.groups[g], s)
		if len(h.groups[g]) == 0 {
			delete(h.groups, g)
		}
	}
}

// remove takes s out again. It must be in.
func (h *hub) remove(s *Session) {
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.next != nil:
		h.users[s.user] = s.next
	default:
		delete(h.users, s.user)
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
	last := h.all[len(h.all)-1]
	h.all[s.place] = last
	last.place = s.place
	h.all[len(h.all)-1] = nil
	h.all = h.all[:len(h.all)-1]
	h.removeGroups(s)
}

// each calls f for every live session that is in the audience, once.
func (h *hub) each(a *wire.Audience, f func(*Session)) {
	switch a.Kind {
	case wire.Users:
		for _, u := range a.Users.All() {
			for s := h.users[string(u)]; s != nil; s = s.next {
				h.one(s, a, f)
			}
		}
	case wire.Group:
		for s := range h.groups[string(a.Group)] {
			h.one(s, a, f)
		}
	case wire.All:
		for _, s := range h.all {
			h.one(s, a, f)
		}
	}
}

func (h *hub) one(s *Session, a *wire.Audience, f func(*Session)) {
	if s.live && !a.Excepts(s.user, s.groups) {
		f(s)
	}
}
