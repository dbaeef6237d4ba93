//go:build unix

package netpoll

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = errors.Join(unix.SetNonblock(fds[0], true), unix.SetNonblock(fds[1], true))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// tag is one of callers who know descriptors by their numbers.
func tag(fd int, gen uint32) Tag { return Tag{int32(fd), gen} }

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// wait collects events until there are some, or the deadline has passed.
func wait(t *testing.T, p *Poller, d time.Duration) []Event {
	t.Helper()
	end := time.Now().Add(d)
	p.SetDeadline(end)
	for {
		evs, err := p.Wait(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(evs) > 0 || !time.Now().Before(end) {
			return evs
		}
	}
}

func TestPollerReportsInputUntilItIsRead(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	defer Close(a)
	defer Close(b)
	if err := p.Add(a, tag(a, 7)); err != nil {
		t.Fatal(err)
	}
	Write(b, []byte("x"))
	for range 2 { // level-triggered: not read, so reported again
		evs := wait(t, p, 5*time.Second)
		if len(evs) != 1 || evs[0] != (Event{Tag: tag(a, 7), Readable: true}) {
			t.Fatalf("got %+v, want one readable event of generation 7", evs)
		}
	}
	var buf [8]byte
	if n, err := Read(a, buf[:]); n != 1 || err != nil {
		t.Fatalf("read: got %d, %v", n, err)
	}
	if _, err := Read(a, buf[:]); !errors.Is(err, ErrAgain) {
		t.Fatalf("second read: got %v, want ErrAgain", err)
	}
	if evs := wait(t, p, 20*time.Millisecond); len(evs) != 0 {
		t.Fatalf("got %+v after everything was read", evs)
	}
}

func TestPollerReportsRoom(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	defer Close(a)
	defer Close(b)
	p.Add(a, tag(a, 1))
	chunk := make([]byte, 64<<10)
	for {
		if _, err := Write(a, chunk); errors.Is(err, ErrAgain) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	p.Watch(a, tag(a, 1), false, true)
	if evs := wait(t, p, 20*time.Millisecond); len(evs) != 0 {
		t.Fatalf("got %+v while the socket is full", evs)
	}
	for {
		if _, err := Read(b, chunk); errors.Is(err, ErrAgain) {
			break
		}
	}
	if evs := wait(t, p, 5*time.Second); len(evs) != 1 || !evs[0].Writable {
		t.Fatalf("got %+v, want writable", evs)
	}
}

func TestPollerHangup(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	defer Close(a)
	p.Add(a, tag(a, 3))
	Close(b)
	evs := wait(t, p, 5*time.Second)
	if len(evs) != 1 || !evs[0].Hangup || !evs[0].Readable {
		t.Fatalf("got %+v, want hang-up", evs)
	}
}

// A closed number is used again at once; an event fetched before must still be told from the new one's.
func TestPollerGenerationTellsReusedDescriptorsApart(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	p.Add(a, tag(a, 1))
	Write(b, []byte("old"))
	old := wait(t, p, 5*time.Second)
	p.Forget(a)
	Close(a)
	Close(b)
	a2, b2 := pair(t)
	defer Close(a2)
	defer Close(b2)
	if a2 != a {
		t.Fatalf("the kernel gave %d, want %d again", a2, a)
	}
	p.Add(a2, tag(a2, 2))
	Write(b2, []byte("new"))
	evs := wait(t, p, 5*time.Second)
	if len(old) != 1 || len(evs) != 1 || old[0].Slot != evs[0].Slot || old[0].Gen != 1 || evs[0].Gen != 2 {
		t.Fatalf("got %+v then %+v, want one descriptor with generations 1 and 2", old, evs)
	}
}

func TestPollerWake(t *testing.T) {
	p := newPoller(t)
	p.SetDeadline(time.Now().Add(10 * time.Second))
	for range 3 {
		start := time.Now()
		go func() { p.Wake(); p.Wake() }()
		if evs, err := p.Wait(nil); err != nil || len(evs) != 0 {
			t.Fatalf("got %+v, %v", evs, err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("Wait returned after %v, at its deadline and not at the wake-up", d)
		}
	}
}

// Wakes that come thick and fast, from several goroutines and while Wait returns, are neither lost nor left behind: after the last of them
// Wait sleeps until its deadline.
func TestPollerWakesAreNeitherLostNorLeft(t *testing.T) {
	p := newPoller(t)
	deadline := time.Now().Add(20 * time.Second)
	p.SetDeadline(deadline)
	var asked, seen atomic.Int64
	const each, wakers = 20_000, 4
	var all sync.WaitGroup
	for range wakers {
		all.Go(func() {
			for range each {
				asked.Add(1)
				p.Wake()
			}
		})
	}
	for seen.Load() < each*wakers {
		if evs, err := p.Wait(nil); err != nil || len(evs) != 0 {
			t.Fatalf("got %+v, %v", evs, err)
		}
		seen.Store(asked.Load())
		if time.Now().After(deadline) {
			t.Fatalf("a wake-up was lost: %d of %d asked for were seen", seen.Load(), asked.Load())
		}
	}
	all.Wait()
	end := time.Now().Add(200 * time.Millisecond)
	p.SetDeadline(end)
	returns := 0
	for ; time.Now().Before(end); returns++ {
		if _, err := p.Wait(nil); err != nil {
			t.Fatal(err)
		}
	}
	if returns > 3 { // the deadline, and at most one wake-up that was on its way
		t.Errorf("Wait returned %d times in 200 ms in which nothing happened", returns)
	}
}

// A Poller that is woken all the time still reports its descriptors.
func TestPollerLooksAtDescriptorsThoughItIsWoken(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	defer Close(a)
	defer Close(b)
	p.Add(a, tag(a, 1))
	Write(b, []byte("x"))
	p.SetDeadline(time.Now().Add(10 * time.Second))
	for range 3 {
		p.Wake()
		if evs, err := p.Wait(nil); err != nil || len(evs) != 1 || !evs[0].Readable {
			t.Fatalf("got %+v, %v; want the descriptor that is readable", evs, err)
		}
	}
}

func TestWaitDoesNotAllocate(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	defer Close(a)
	defer Close(b)
	p.Add(a, tag(a, 1))
	Write(b, []byte("x"))
	evs := make([]Event, 0, 8)
	if n := testing.AllocsPerRun(100, func() { evs, _ = p.Wait(evs) }); n > 0 {
		t.Errorf("Wait: %v allocations, want 0", n)
	}
	if len(evs) != 1 {
		t.Fatalf("got %+v", evs)
	}
	if n := testing.AllocsPerRun(100, func() { p.Wake(); evs, _ = p.Wait(evs) }); n > 0 {
		t.Errorf("Wake: %v allocations, want 0", n)
	}
}
