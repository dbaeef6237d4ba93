package integration

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings/fanout/wire"
	"tidings/integration/house"
)

// shownTabs is how many of the tabs with faults are described.
const shownTabs = 4

// judge compares every tab with the truth, and tells what was wrong with whom.
func (x *exactness) judge() {
	x.findLost()
	bad, shown := 0, 0
	for _, b := range x.tabs {
		if len(b.faults) == 0 {
			continue
		}
		if bad++; shown < shownTabs {
			shown++
			x.t.Errorf("%v (slow %v, late %v):\n  %s\nits last visits:\n  %s", b, b.slow, b.late,
				strings.Join(b.faults, "\n  "), strings.Join(b.visits[max(0, len(b.visits)-keptVisits):], "\n  "))
		}
	}
	if bad > 0 {
		x.t.Errorf("%d of %d tabs have faults", bad, len(x.tabs))
	}
	x.checkLog()
	x.checkMetrics()
	x.summary()
}

// findLost finds what each tab should have got and has not. A late tab should have all that lies behind its first welcome.
func (x *exactness) findLost() {
	log := x.order()
	for _, b := range x.tabs {
		if !b.ended {
			b.fault("it has not seen the end within the time")
		}
		for _, e := range x.world.happened() {
			at, placed := log[placeOf{b.at.Shard, e.index}]
			if e.audience[b.user] && !b.seen[e.index] && !(b.late && placed && at <= b.first.Seq) {
				b.fault("lost %s (%s), number %d of aggregate %d, which others got at %d", e.id(), e.form, e.n, e.aggregate, at)
			}
		}
		if b.late {
			for i, at := range b.where {
				if at.Seq <= b.first.Seq {
					b.fault("got e-%d at %v, before its welcome at %v", b.got[i], at, b.first)
				}
			}
		}
	}
}

type placeOf struct{ shard, event int }

// order is where the tabs of each shard found the events.
func (x *exactness) order() map[placeOf]uint64 {
	log := map[placeOf]uint64{}
	for _, b := range x.tabs {
		for i, at := range b.where {
			log[placeOf{at.Shard, b.got[i]}] = at.Seq
		}
	}
	return log
}

// checkLog reads the log itself: no record twice, and the recipients of each event's records are its audience, each once.
func (x *exactness) checkLog() {
	type recipient struct{ event, user int }
	stored := map[recipient]int{}
	for s := range x.shards {
		ids := map[string]uint64{}
		for _, m := range house.ReadStream(x.t, x.js, wire.Stream(s)) {
			id := m.Header.Get("Nats-Msg-Id")
			if at, had := ids[id]; had || id == "" {
				x.t.Errorf("%s has record %q at %d and at %d", wire.Stream(s), id, at, m.Sequence)
			}
			ids[id] = m.Sequence
			v, err := wire.Parse(m.Data)
			if err != nil {
				x.t.Errorf("record %d of %s: %v", m.Sequence, wire.Stream(s), err)
				continue
			}
			var event int
			if n, _ := fmt.Sscanf(string(v.EventID), "e-%d", &event); n != 1 {
				continue // the end
			}
			for i, u := range x.world.users {
				if wire.Shard(u.id, x.shards) == s && inAudience(v, u) {
					stored[recipient{event, i}]++
				}
			}
		}
	}
	faults := 0
	for _, e := range x.world.happened() {
		for i, u := range x.world.users {
			want := 0
			if e.audience[i] {
				want = 1
			}
			if got := stored[recipient{e.index, i}]; got != want {
				if faults++; faults < 5 {
					x.t.Errorf("the log has %d records of %s (%s) for %q, want %d", got, e.id(), e.form, u.id, want)
				}
			}
		}
	}
}

// inAudience tells whether a record is for a user.
func inAudience(v wire.View, u user) bool {
	if v.Excepts(u.id, u.teams) {
		return false
	}
	switch v.Kind {
	case wire.Users:
		return v.Users.Has(u.id)
	case wire.Group:
		return slices.Contains(u.teams, string(v.Group))
	}
	return true
}

// checkMetrics makes sure that what the test is about has happened, and that the product tells the same story.
func (x *exactness) checkMetrics() {
	for i := range x.gates.list {
		x.ask(x.gates.get(i))
	}
	for _, name := range []string{"tidings_resets_total", "tidings_resumes_total reset", "tidings_feed_bad_records_total"} {
		if got := x.told[name]; got != 0 {
			x.t.Errorf("%s is %v, want 0", name, got)
		}
	}
	for _, name := range []string{"tidings_replay_scans_total", "tidings_sessions_slow_total", "tidings_heartbeats_sent_total"} {
		if got := x.told[name]; got == 0 {
			x.t.Errorf("%s is 0: the test did not get there", name)
		}
	}
	if got := x.world.deliveries(); got < 50_000 {
		x.t.Errorf("%d deliveries, want 50,000 at least", got)
	}
}

func (x *exactness) summary() {
	visits, arrived := 0, 0
	for _, b := range x.tabs {
		visits += b.visited
		arrived += len(b.got)
	}
	x.t.Logf("%d events for %d users: %d deliveries, %d arrivals in %d tabs over %d connections (%d refused); %d publishes were tried again",
		len(x.world.happened()), users, x.world.deliveries(), arrived, len(x.tabs), visits, x.unreachable.Load(), x.world.retries.Load())
	x.t.Logf("%.0f scans of the log, %.0f queues of slow tabs dropped, %d heartbeats, %.0f resets; the longest silence was %v",
		x.told["tidings_replay_scans_total"], x.told["tidings_sessions_slow_total"], x.heartbeats.Load(), x.told["tidings_resets_total"],
		time.Duration(x.worst.Load()).Round(time.Millisecond))
	x.t.Logf("%s", strings.Join(x.strife, "\n"))
}
