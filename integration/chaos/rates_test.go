//go:build linux

package chaos

import (
	"sync"
	"time"
)

// rates counts things over time, in slots of 100 ms.
type rates struct {
	began time.Time

	mu    sync.Mutex // guards the following
	slots []int
}

const (
	slot      = 100 * time.Millisecond
	perSecond = int(time.Second / slot)
)

func (r *rates) add(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := int(now.Sub(r.began) / slot)
	for len(r.slots) <= i {
		r.slots = append(r.slots, 0)
	}
	r.slots[i]++
}

// peak is the most that happened within a second between two times.
func (r *rates) peak(from, to time.Time) (most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum, first := 0, int((from.Sub(r.began)+slot-1)/slot) // the slot in which it begins is of what was before
	for i := first; i <= int(to.Sub(r.began)/slot) && i < len(r.slots); i++ {
		sum += r.slots[i]
		if i-perSecond >= first {
			sum -= r.slots[i-perSecond]
		}
		most = max(most, sum)
	}
	return most
}
