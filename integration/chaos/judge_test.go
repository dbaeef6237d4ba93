//go:build linux

package chaos

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"tidings/fanout/wire"
	"tidings/integration/house"
)

const deafRow = "5 % of the tabs read nothing, all the time"

// wake lets the tabs that read nothing read, and waits until they have everything too.
func (s *suite) wake(ctx context.Context) {
	if s.t.Failed() {
		return
	}
	r := &row{name: deafRow, runs: 1, events: int(s.world.count()), asides: []aside{{gate: -1}}}
	r.asides[0].from = time.Now()
	expected, deaf := s.expected(), 0
	close(s.woken)
	lacking := func() (n int64) {
		for _, b := range s.tabs {
			if b.deaf {
				n += int64(len(expected[b.user])) - b.count.Load()
			}
		}
		return n
	}
	for _, b := range s.tabs {
		if b.deaf {
			deaf++
			r.deliveries += int64(len(expected[b.user]))
		}
	}
	s.notes.took()
	s.await(ctx, settleWithin, "the tabs that read nothing have everything", func() error {
		if n := lacking(); n != 0 {
			return fmt.Errorf("%d deliveries are missing", n)
		}
		return nil
	})
	r.found[lost] = lacking()
	r.took = time.Since(r.asides[0].from)
	r.asides[0].to = time.Now()
	r.peak = s.peak(r.asides[0])
	r.remarks = append(r.remarks, fmt.Sprintf("%d tabs; all that they had missed was there %.1f s after they began to read", deaf, r.took.Seconds()))
	if text := s.notes.took(); text != "" {
		r.remarks = append(r.remarks, text)
	}
	s.rows = append(s.rows, r)
}

// expected are the events that each user is to have, in order.
func (s *suite) expected() [][]int32 {
	list := make([][]int32, len(s.world.users))
	for _, e := range s.world.between(0, s.world.count()) {
		for u := range s.world.audience(e) {
			list[u] = append(list[u], e.index)
		}
	}
	return list
}

// judge compares what each tab was given with what was published, and the log with that, when all has ended.
func (s *suite) judge() {
	expected := s.expected()
	for _, b := range s.tabs {
		if b.sulks() { // the suite has failed before it was woken
			continue
		}
		for _, i := range b.missing(expected[b.user]) {
			e := s.world.between(i, i+1)[0]
			b.report(lost, fmt.Sprintf("%s (%s), at %d of the log, read up to %s", e.id(), e.form, e.place.Load(), b.cursor))
		}
	}
	for k := range faultKinds {
		if n := s.faults[k].Load(); n != 0 {
			s.t.Errorf("%d %v", n, k)
		}
	}
	for _, text := range s.notes.faults {
		s.t.Error(text)
	}
	s.checkLog()
	s.checkMetrics()
}

// checkLog reads the log itself: no record twice, and the recipients of each event's records are its audience, each once.
func (s *suite) checkLog() {
	ids, stored := map[string]uint64{}, make([]int, s.world.count())
	for _, m := range house.ReadStream(s.t, s.js, wire.Stream(0)) {
		id := m.Header.Get("Nats-Msg-Id")
		if at, had := ids[id]; had || id == "" {
			s.t.Errorf("the log has record %q at %d and at %d", id, at, m.Sequence)
		}
		ids[id] = m.Sequence
		v, err := wire.Parse(m.Data)
		e := s.world.named(string(v.EventID))
		if err != nil || e == nil {
			s.t.Errorf("record %d of the log: %v, event %q", m.Sequence, err, v.EventID)
			continue
		}
		stored[e.index] += s.recipients(e, v)
	}
	wrong := 0
	for i, got := range stored {
		e, want := s.world.between(int32(i), int32(i+1))[0], 0
		for range s.world.audience(e) {
			want++
		}
		if got != want {
			if wrong++; wrong < 5 {
				s.t.Errorf("the log has %s (%s) for %d users, want %d", e.id(), e.form, got, want)
			}
		}
	}
	if info, err := house.Info(s.js, "DLQ"); err == nil && info.State.Msgs > 0 {
		s.t.Errorf("%d events are in the DLQ, want none", info.State.Msgs)
	}
}

// recipients counts the users of a record, and makes sure that the event is for each.
func (s *suite) recipients(e *event, v wire.View) (n int) {
	seen := map[string]bool{}
	for u := range s.world.audience(e) {
		who := s.world.users[u]
		if v.Excepts(who.id, s.groups(int(u))) {
			continue
		}
		switch v.Kind {
		case wire.Users:
			if !v.Users.Has(who.id) {
				continue
			}
		case wire.Group:
			if string(v.Group) != teamName(e.teams[0]) {
				s.t.Errorf("%s has a record for group %q", e.id(), v.Group)
			}
		}
		seen[who.id] = true
		n++
	}
	for _, id := range v.Users.All() {
		if !seen[string(id)] {
			s.t.Errorf("%s has a record for %q, whom it does not concern", e.id(), id)
		}
	}
	return n
}

// checkMetrics makes sure that what lives says so too.
func (s *suite) checkMetrics() {
	for _, g := range s.balancer.gates {
		for _, name := range []string{"tidings_resets_total", "tidings_feed_bad_records_total"} {
			if got := g.process.Metric(name); got != 0 {
				_, metrics, _ := g.process.Get("/metrics")
				s.t.Errorf("%s of %s is %v, want 0: %s", name, g.name, got, strings.Join(regexp.MustCompile("(?m)^"+name+".*$").FindAllString(metrics, -1), ", "))
			}
		}
	}
}
