package gateway

import "tidings/gateway/netpoll"

// wheel reminds a loop of its sockets at a second of their choice. A socket that changes its mind is not looked for: the old
// reminder finds nothing due. Reminders beyond the wheel's turn come early, and are set again by their owner.
type wheel struct {
	now   uint32 // seconds
	slots [wheelSize][]netpoll.Tag
}

const wheelSize = 64

// add sets a reminder for the given second, not before the next one, and returns when it will come.
func (w *wheel) add(at uint32, t netpoll.Tag) uint32 {
	at = min(max(at, w.now+1), w.now+wheelSize-1)
	w.slots[at%wheelSize] = append(w.slots[at%wheelSize], t)
	return at
}

// advance goes on to the given second and calls f for what is due, which may add again.
func (w *wheel) advance(now uint32, f func(netpoll.Tag)) {
	if now-w.now > wheelSize { // the process was stopped for longer than a turn
		w.now = now - wheelSize
	}
	for w.now < now {
		w.now++
		due := w.slots[w.now%wheelSize]
		w.slots[w.now%wheelSize] = nil
		for _, r := range due {
			f(r)
		}
		if w.slots[w.now%wheelSize] == nil {
			w.slots[w.now%wheelSize] = due[:0]
		}
	}
}
