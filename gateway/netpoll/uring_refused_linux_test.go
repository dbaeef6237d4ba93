package netpoll

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestNewRingSaysWhyThereIsNone(t *testing.T) {
	refused := func(err unix.Errno) ringCalls {
		return ringCalls{enter: ioUringEnter, setup: func(uint32, *ringParams) (int, unix.Errno) { return -1, err }}
	}
	noEnter := func(err unix.Errno) ringCalls {
		return ringCalls{setup: ioUringSetup, enter: func(int, uint32, uint32, uint32) (uint32, unix.Errno) { return 0, err }}
	}
	for name, c := range map[string]struct {
		calls ringCalls
		real  bool // needs the system's io_uring
		is    error
		says  string
	}{
		"no such call":       {calls: refused(unix.ENOSYS), is: errors.ErrUnsupported, says: "no io_uring"},
		"forbidden":          {calls: refused(unix.EPERM), is: os.ErrPermission, says: "seccomp profile"},
		"locked memory":      {calls: refused(unix.ENOMEM), is: unix.ENOMEM, says: "RLIMIT_MEMLOCK"},
		"unknown flags":      {calls: refused(unix.EINVAL), is: unix.EINVAL, says: "too old"},
		"no descriptor left": {calls: refused(unix.EMFILE), is: unix.EMFILE, says: "not available"},
		"only setup allowed": {calls: noEnter(unix.EPERM), real: true, is: os.ErrPermission, says: "io_uring_enter"},
		"sends do not end":   {calls: noEnter(0), real: true, says: "not over"},
		"old features": {real: true, says: "too old", calls: ringCalls{enter: ioUringEnter, setup: func(n uint32, p *ringParams) (int, unix.Errno) {
			fd, err := ioUringSetup(n, p)
			p.features = 0
			return fd, err
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.real {
				ring(t, 1)
			}
			before := descriptors(t)
			r, err := newRing(8, nil, c.calls)
			if r != nil || err == nil {
				t.Fatalf("got %v, %v; want an error", r, err)
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, want it to be %v and to say %q", err, c.is, c.says)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors, had %d before", after, before)
			}
		})
	}
	if _, err := NewRing(0, nil); err == nil {
		t.Error("a ring of no entries: got no error")
	}
}

// Sends that wait for room instead of failing would hold up everybody else in the batch.
func TestNewRingRefusesSendsThatWait(t *testing.T) {
	r, _ := ring(t, 8)
	for i := range r.sqes {
		r.sqes[i].msgFlags &^= unix.MSG_DONTWAIT
	}
	if err := r.probe(); err == nil || !strings.Contains(err.Error(), "not over") {
		t.Errorf("got %v, want that a send is not over", err)
	}
}

// A kernel under pressure takes only a part of a batch, or nothing, and signals interrupt calls.
func TestRingGetsByWithAKernelThatTakesLess(t *testing.T) {
	for name, limit := range map[string]func(call int, submit uint32) (uint32, unix.Errno){
		"one at a time": func(int, uint32) (uint32, unix.Errno) { return 1, 0 },
		"interrupted":   func(call int, n uint32) (uint32, unix.Errno) { return n, []unix.Errno{unix.EINTR, 0}[call%2] },
		"no memory":     func(int, uint32) (uint32, unix.Errno) { return 0, unix.EAGAIN },
		"half, then no memory": func(call int, n uint32) (uint32, unix.Errno) {
			if call%2 == 0 {
				return n / 2, 0
			}
			return 0, unix.ENOMEM
		},
		"nothing": func(int, uint32) (uint32, unix.Errno) { return 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			call, limited := 0, false
			r, got := ringWith(t, 8, ringCalls{setup: ioUringSetup, enter: func(fd int, submit, wait, flags uint32) (uint32, unix.Errno) {
				if !limited {
					return ioUringEnter(fd, submit, wait, flags)
				}
				n, err := limit(call, submit)
				call++
				if err != 0 || n == 0 {
					return 0, err
				}
				return ioUringEnter(fd, n, wait, flags)
			}})
			limited = true
			fds, peers := tcpPairs(t, 6)
			for round := range 5 {
				for i, fd := range fds {
					r.Send(fd, []byte{byte(round)}, uint64(i))
				}
				r.Flush()
				want(t, got, sent{0, 1, nil}, sent{1, 1, nil}, sent{2, 1, nil}, sent{3, 1, nil}, sent{4, 1, nil}, sent{5, 1, nil})
			}
			for _, p := range peers {
				read(t, p, []byte{0, 1, 2, 3, 4})
			}
		})
	}
}

// A send that the kernel is not through with is waited for: the bytes are in use until then.
func TestRingWaitsForASendThatIsNotOver(t *testing.T) {
	r, got := ring(t, 8)
	fds, peers := tcpPairs(t, 1)
	n := fill(t, fds[0])
	r.Send(fds[0], []byte("patience"), 1)
	r.sqes[(r.tail-1)&r.sqMask].msgFlags &^= unix.MSG_DONTWAIT
	drained := make(chan error)
	go func() {
		_, err := io.CopyN(io.Discard, peers[0], int64(n))
		drained <- err
	}()
	r.Flush()
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	want(t, got, sent{1, 8, nil})
	read(t, peers[0], []byte("patience"))
}

// What the kernel takes and does not answer for is an error for its socket; the others go on without the ring.
func TestRingThatLosesASendGoesOnWithWrites(t *testing.T) {
	r, got := ring(t, 8)
	r.enter = func(fd int, submit, wait, flags uint32) (uint32, unix.Errno) {
		if submit == 0 {
			return 0, unix.EBADR // completions were dropped
		}
		n, err := ioUringEnter(fd, submit, wait, flags)
		*r.cqHead++
		return n, err
	}
	fds, peers := tcpPairs(t, 3)
	for _, first := range []sent{{0, 0, unix.EIO}, {0, 1, nil}} {
		for i, fd := range fds {
			r.Send(fd, []byte("x"), uint64(i))
		}
		r.Flush()
		want(t, got, first, sent{1, 1, nil}, sent{2, 1, nil})
	}
	for _, p := range peers {
		read(t, p, []byte("xx"))
	}
}
