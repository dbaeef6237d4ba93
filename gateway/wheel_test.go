package gateway

import (
	"math"
	"math/rand/v2"
	"testing"

	"tidings/gateway/netpoll"
)

// wheelOwner is a socket that wants to be reminded at a second, and sets a reminder that came early again.
type wheelOwner struct {
	due    uint32
	came   uint32 // when it was first reminded at or after due; 0: not yet
	early  int
	answer uint32 // what add said last
}

// wheelModel turns a wheel for many owners. An owner's slot is its number.
type wheelModel struct {
	t      *testing.T
	wheel  *wheel
	owners []*wheelOwner
}

func (m *wheelModel) want(at uint32) {
	m.t.Helper()
	m.owners = append(m.owners, &wheelOwner{due: at})
	m.set(len(m.owners) - 1)
}

func (m *wheelModel) set(i int) {
	m.t.Helper()
	o := m.owners[i]
	o.answer = m.wheel.add(o.due, netpoll.Tag{Slot: int32(i), Gen: uint32(i) + 7})
	if o.answer <= m.wheel.now || o.answer > max(o.due, m.wheel.now+1) {
		m.t.Fatalf("a reminder for %d, at %d, comes at %d", o.due, m.wheel.now, o.answer)
	}
}

func (m *wheelModel) advance(to uint32) {
	m.t.Helper()
	m.wheel.advance(to, func(tag netpoll.Tag) {
		if tag.Gen != uint32(tag.Slot)+7 {
			m.t.Fatalf("got %+v", tag)
		}
		o := m.owners[tag.Slot]
		switch {
		case o.came != 0:
			m.t.Fatalf("%d was reminded again at %d", o.due, to)
		case to >= o.due:
			o.came = to
		default:
			o.early++
			m.set(int(tag.Slot))
		}
	})
	if m.wheel.now != to {
		m.t.Fatalf("the wheel is at %d, want %d", m.wheel.now, to)
	}
	for _, o := range m.owners {
		if o.due <= to && o.came == 0 {
			m.t.Fatalf("%d was not reminded by %d", o.due, to)
		}
		if o.came != 0 && o.came != to && o.came < o.due {
			m.t.Fatalf("%d was reminded at %d", o.due, o.came)
		}
	}
}

// Every reminder comes at its second, or at the first look behind it, once; whatever else is set, and however long the
// process was stopped in between.
func TestWheel(t *testing.T) {
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		start := rnd.Uint32N(1 << 30)
		m := &wheelModel{t: t, wheel: &wheel{now: start}}
		last := start
		for range 300 {
			for range rnd.IntN(4) {
				far := []uint32{1, 30, 63, 64, 65, 130, 1000}[rnd.IntN(7)]
				at := m.wheel.now + rnd.Uint32N(far+1)
				m.want(max(at, m.wheel.now+1))
				last = max(last, at)
			}
			step := uint32(1)
			if rnd.IntN(20) == 0 { // stopped
				step = []uint32{2, 63, 64, 65, 128, 3600, 4000}[rnd.IntN(7)]
			}
			m.advance(m.wheel.now + step)
		}
		for m.wheel.now <= last {
			m.advance(m.wheel.now + 1)
		}
		for i := range m.wheel.slots {
			if n := len(m.wheel.slots[i]); n != 0 {
				t.Fatalf("%d reminders are left in slot %d", n, i)
			}
		}
	}
}

// One that is asked for hours ahead comes early, about once a turn, and its owner sets it again.
func TestWheelFarAhead(t *testing.T) {
	m := &wheelModel{t: t, wheel: &wheel{now: 100}}
	const hours = 3 * 3600
	m.want(100 + hours)
	for range hours {
		m.advance(m.wheel.now + 1)
	}
	o := m.owners[0]
	if o.came != 100+hours {
		t.Errorf("came at %d, want %d", o.came, 100+hours)
	}
	if most := hours/(wheelSize-1) + 1; o.early > most {
		t.Errorf("%d early reminders, want at most %d", o.early, most)
	}
}

// A reminder for now, or for a second that is past, comes at the next one.
func TestWheelPast(t *testing.T) {
	for _, at := range []uint32{0, 1, 99, 100} {
		w := &wheel{now: 100}
		if got := w.add(at, netpoll.Tag{Slot: 3, Gen: 1}); got != 101 {
			t.Errorf("for %d, at 100: comes at %d, want 101", at, got)
		}
		came := 0
		w.advance(101, func(netpoll.Tag) { came++ })
		if came != 1 {
			t.Errorf("for %d: %d reminders at 101, want 1", at, came)
		}
	}
}

// All that was due while the process was stopped comes when it goes on, however long that was.
func TestWheelAfterAStop(t *testing.T) {
	for _, stop := range []uint32{1, 63, 64, 65, 66, 127, 128, 3601, 1 << 20, math.MaxUint32 - 2000} {
		m := &wheelModel{t: t, wheel: &wheel{now: 1000}}
		for at := uint32(1001); at < 1000+wheelSize; at++ {
			m.want(at)
			m.want(at + 500)
		}
		m.advance(1000 + stop)
		if stop > wheelSize+600 {
			for _, o := range m.owners {
				if o.came == 0 {
					t.Fatalf("stopped for %d s: %d was not reminded", stop, o.due)
				}
			}
		}
	}
}

// A slot keeps its storage from turn to turn.
func TestWheelAllocatesNothing(t *testing.T) {
	w := &wheel{}
	turn := func() {
		for fd := range int32(100) {
			w.add(w.now+1+uint32(fd)%50, netpoll.Tag{Slot: fd, Gen: 1})
		}
		w.advance(w.now+wheelSize, func(netpoll.Tag) {})
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("got %v allocations per turn, want 0", n)
	}
}
