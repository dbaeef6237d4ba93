//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"sync/atomic"

	"tidings/fanout/wire"
)

// fault is a way in which a tab can be told the wrong thing.
type fault int

const (
	lost fault = iota
	repeated
	disordered
	resets
	strange // all else: events of others, frames that must not be, cursors that go back
	faultKinds
)

func (f fault) String() string {
	return [...]string{"lost", "repeated", "out of order", "reset", "strange"}[f]
}

// ledger is what one tab has been given: it tells what is wrong at once, but for what is missing. It is owned by the tab's
// goroutine until that ends.
type ledger struct {
	user   int32
	cursor string
	at     wire.Cursor
	last   [aggregates]int32 // the last event of each aggregate
	got    []int32           // events, in the order of arrival
	count  atomic.Int64      // len(got), for others

	report func(fault, string)
}

// move takes the position of a frame: not before the one before, and for a notification beyond it.
func (l *ledger) move(f *frame, beyond bool) {
	switch {
	case l.cursor != "" && (f.at.Shard != l.at.Shard || f.at.Epoch != l.at.Epoch):
		l.report(strange, fmt.Sprintf("the cursor went from %s to another log, %s", l.cursor, f.cursor))
	case f.at.Seq < l.at.Seq || beyond && f.at.Seq == l.at.Seq:
		l.report(strange, fmt.Sprintf("the cursor went from %s to %s", l.cursor, f.cursor))
	}
	l.cursor, l.at = f.cursor, f.at
}

// arrive takes a notification, and tells whether it is one that the tab was to have.
func (l *ledger) arrive(w *world, f *frame) bool {
	l.move(f, true)
	e := f.event
	if e == nil {
		return false
	}
	if !e.place.CompareAndSwap(0, f.at.Seq) && e.place.Load() != f.at.Seq {
		l.report(strange, fmt.Sprintf("%s is at %s, where another tab found it at %d", e.id(), f.cursor, e.place.Load()))
	}
	switch {
	case !w.concerns(e, l.user):
		l.report(strange, fmt.Sprintf("got %s, which is for others", e.id()))
		return false
	case e.n <= l.last[e.aggregate] && slices.Contains(l.got, e.index):
		l.report(repeated, fmt.Sprintf("got %s once more, at %s", e.id(), f.cursor))
		return false
	case e.n <= l.last[e.aggregate]:
		l.report(disordered, fmt.Sprintf("got %s, number %d of aggregate %d, after number %d", e.id(), e.n, e.aggregate, l.last[e.aggregate]))
	}
	l.last[e.aggregate] = max(e.n, l.last[e.aggregate])
	l.got = append(l.got, e.index)
	return true
}

// missing are the expected events that the tab was never given. expected is in order.
func (l *ledger) missing(expected []int32) (list []int32) {
	got := slices.Sorted(slices.Values(l.got))
	for _, e := range expected {
		if _, found := slices.BinarySearch(got, e); !found {
			list = append(list, e)
		}
	}
	return list
}
