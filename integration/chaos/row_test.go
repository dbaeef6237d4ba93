//go:build linux

package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// row is a line of the table: what was done, and what came of it.
type row struct {
	name       string
	runs       int
	took       time.Duration // the fault itself, without waiting for the last tab
	events     int
	deliveries int64 // to tabs that read
	found      [faultKinds]int64
	wait       time.Duration // the longest that a tab was without a notification
	peak       int           // handshakes of one gateway within a second, of those that nothing was done to
	remarks    []string

	asides []aside
}

// aside is a time in which something was done to a gateway.
type aside struct {
	gate     int
	from, to time.Time
}

// settleWithin is how long after the end of a fault every tab that reads has all that was published until then, at the latest.
const settleWithin = 45 * time.Second

// longWait is the wait from which on the log says what the tab did meanwhile.
const longWait = 5 * time.Second

// chaos is something that is done.
type chaos struct {
	name string
	do   func(context.Context, *suite, *row)
	then *chaos // what belongs behind it
}

// play does it, waits until all tabs have everything again, and writes the row.
func (s *suite) play(ctx context.Context, c chaos) {
	if s.t.Failed() {
		return // after a loss the next losses say nothing
	}
	r := &row{name: c.name, runs: 1}
	s.balance(ctx)
	s.notes.took()
	s.slow.took()
	var before [faultKinds]int64
	for k := range before {
		before[k] = s.faults[k].Load()
	}
	first, began := s.world.count(), time.Now()
	c.do(ctx, s, r)
	r.took = time.Since(began)
	if len(r.asides) == 0 {
		r.asides = []aside{{gate: -1, from: began, to: time.Now()}}
	}
	end := s.world.count()
	s.settle(ctx, r, first, end)
	for k := range before {
		r.found[k] += s.faults[k].Load() - before[k]
		if r.found[k] != 0 {
			s.t.Errorf("%s: %d %v", r.name, r.found[k], fault(k))
		}
	}
	for _, e := range s.world.between(first, end) {
		r.events++
		r.deliveries += int64(e.want)
	}
	var late *event
	var who *tab
	if r.wait, late, who = s.slow.took(); late != nil {
		if stored := time.Duration(late.acked.Load() - late.tried.Load()); stored > time.Second {
			r.remarks = append(r.remarks, fmt.Sprintf("%.1f s of the worst wait until NATS had stored the event", stored.Seconds()))
		}
		if r.wait > longWait {
			s.t.Logf("the tab that waited for %v for %s (%s):\n  %s", r.wait, late.id(), late.form, who.told())
		}
	}
	for _, a := range r.asides {
		r.peak = max(r.peak, s.peak(a))
	}
	if text := s.notes.took(); text != "" {
		r.remarks = append(r.remarks, text)
	}
	s.t.Logf("%s: %.1f s, settled after %.1f s more, %d events, %d deliveries, worst wait %v, peak %d/s, %s", r.name, r.took.Seconds(),
		time.Since(began).Seconds()-r.took.Seconds(), r.events, r.deliveries, r.wait.Round(time.Millisecond), r.peak, strings.Join(r.remarks, "; "))
	s.merge(r)
	if c.then != nil {
		s.play(ctx, *c.then)
	}
}

// settle waits until every tab that reads is connected and has all events up to an end. What is missing then is lost.
func (s *suite) settle(ctx context.Context, r *row, first, end int32) {
	lacking := func() (n int64) {
		for _, e := range s.world.between(first, end) {
			n += int64(e.want - e.got.Load())
			if e.acked.Load() == 0 {
				n++
			}
		}
		return n
	}
	if s.await(ctx, settleWithin, r.name+": every tab has all that was published", func() error {
		if n := lacking(); n != 0 {
			return fmt.Errorf("%d deliveries are missing", n)
		}
		return nil
	}) {
		s.allOpen(ctx)
		return
	}
	r.found[lost] += lacking()
}

// peak is the most handshakes within a second at one gateway that nothing was done to.
func (s *suite) peak(a aside) (most int) {
	for _, g := range s.balancer.gates {
		if g.index != a.gate {
			most = max(most, g.handshakes.peak(a.from, a.to))
		}
	}
	return most
}

// aside does something to a gateway, during which the others are watched.
func (s *suite) aside(r *row, gate int, do func()) {
	a := aside{gate: gate, from: time.Now()}
	do()
	a.to = time.Now()
	r.asides = append(r.asides, a)
}

// merge puts a row to the one of the same name.
func (s *suite) merge(r *row) {
	for _, o := range s.rows {
		if o.name == r.name {
			o.runs++
			o.took += r.took
			o.events += r.events
			o.deliveries += r.deliveries
			for k := range r.found {
				o.found[k] += r.found[k]
			}
			o.wait, o.peak = max(o.wait, r.wait), max(o.peak, r.peak)
			return
		}
	}
	s.rows = append(s.rows, r)
}

// balance has tabs of gateways with many sessions move to those with few, as after a scale-up.
func (s *suite) balance(ctx context.Context) {
	s.allOpen(ctx)
	s.await(ctx, settleWithin, "the gateways have as many tabs each", func() error {
		loads, even := s.balancer.loads(), len(s.tabs)/gateways
		if slices.Min(loads)*10 >= even*9 && slices.Max(loads)*10 <= even*11 {
			return nil
		}
		for i, g := range s.balancer.gates {
			if !g.ready.Load() {
				return fmt.Errorf("%s is not ready", g.name)
			}
			for _, b := range s.tabs {
				if loads[i] <= even {
					break
				}
				if !b.deaf && b.drop(g, moving) {
					loads[i]--
				}
			}
		}
		pauseFor(ctx, time.Second) // for them to come
		return fmt.Errorf("%v", s.balancer.loads())
	})
	s.allOpen(ctx)
}
