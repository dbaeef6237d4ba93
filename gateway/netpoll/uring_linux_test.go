package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// sent is one report of a Ring.
type sent struct {
	token uint64
	n     int
	err   error
}

// ring gives one that notes what it reports, or skips the test where the system has none.
func ring(t *testing.T, entries int) (*Ring, *[]sent) {
	t.Helper()
	return ringWith(t, entries, ringCalls{setup: ioUringSetup, enter: ioUringEnter})
}

func ringWith(t *testing.T, entries int, calls ringCalls) (*Ring, *[]sent) {
	t.Helper()
	var got []sent
	r, err := newRing(entries, func(token uint64, n int, err error) { got = append(got, sent{token, n, err}) }, calls)
	if err != nil {
		t.Skip("no ring on this system: ", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, &got
}

func want(t *testing.T, got *[]sent, want ...sent) {
	t.Helper()
	if len(*got) != len(want) {
		t.Fatalf("got %v, want %v", *got, want)
	}
	for i, g := range *got {
		if g.token != want[i].token || g.n != want[i].n || !errors.Is(g.err, want[i].err) {
			t.Fatalf("report %d: got %v, want %v", i, g, want[i])
		}
	}
	*got = (*got)[:0]
}

// tcpPairs opens n loopback connections: our descriptors, and the other ends.
func tcpPairs(t testing.TB, n int) (fds []int, peers []net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range n {
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := Detach(c.(*net.TCPConn))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		fds, peers = append(fds, fd), append(peers, peer)
		t.Cleanup(func() { peer.Close(); Close(fd) })
	}
	return fds, peers
}

func read(t *testing.T, c io.Reader, want []byte) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("read %.60q, %v; want %.60q", b, err, want)
	}
}

// fill leaves no room in a socket.
func fill(t *testing.T, fd int) (n int) {
	t.Helper()
	chunk := make([]byte, 64<<10)
	for {
		m, err := Write(fd, chunk)
		if n += m; errors.Is(err, ErrAgain) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRingSendsOneFrameToManySockets(t *testing.T) {
	r, got := ring(t, 64)
	fds, peers := tcpPairs(t, 200) // three batches by themselves, the rest by Flush
	frame := []byte("to all of you")
	for i, fd := range fds {
		r.Send(fd, frame, uint64(i))
	}
	if len(*got) != 192 || r.Pending() != 8 {
		t.Fatalf("%d reported and %d pending before Flush, want 192 and 8", len(*got), r.Pending())
	}
	r.Flush()
	for i := range fds {
		if g := (*got)[i]; g != (sent{uint64(i), len(frame), nil}) {
			t.Fatalf("report %d: got %v", i, g)
		}
		read(t, peers[i], frame)
	}
	if r.Flush(); len(*got) != 200 || r.Pending() != 0 {
		t.Fatalf("%d reports and %d pending after an empty Flush, want 200 and 0", len(*got), r.Pending())
	}
}

// The counters of queue and kernel go round many times, and bytes stay in order from batch to batch.
func TestRingKeepsOrderFromBatchToBatch(t *testing.T) {
	r, got := ring(t, 8)
	fds, peers := tcpPairs(t, 5)
	var all bytes.Buffer
	for i := range 1000 {
		frame := fmt.Appendf(nil, "frame %d;", i)
		all.Write(frame)
		for j, fd := range fds[:1+i%5] {
			r.Send(fd, frame, uint64(j))
		}
		r.Flush()
		if len(*got) != 1+i%5 {
			t.Fatalf("flush %d: %d reports, want %d", i, len(*got), 1+i%5)
		}
		*got = (*got)[:0]
	}
	read(t, peers[0], all.Bytes())
	CloseWrite(fds[4])
	b, err := io.ReadAll(peers[4])
	if err != nil || bytes.Count(b, []byte(";")) != 200 || !bytes.HasPrefix(b, []byte("frame 4;frame 9;frame 14;")) {
		t.Fatalf("the fifth read %.40q and %d frames, %v; want every fifth of 1000", b, bytes.Count(b, []byte(";")), err)
	}
}

func TestRingReportsWhatWriteWould(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (fd int, peer io.ReadCloser){
		"tcp": func(t *testing.T) (int, io.ReadCloser) {
			fds, peers := tcpPairs(t, 1)
			return fds[0], peers[0]
		},
		"socketpair": func(t *testing.T) (int, io.ReadCloser) {
			a, b := pair(t)
			c, err := Conn(b)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { Close(a); c.Close() })
			return a, c
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, got := ring(t, 8)
			other, otherPeer := tcpPairs(t, 1)
			// with sends to fd between two to a socket with nothing wrong.
			flush := func(fd int, b []byte, w sent) {
				t.Helper()
				r.Send(fd, b, 2)
				r.Send(other[0], []byte("fine"), 3)
				r.Flush()
				want(t, got, w, sent{3, 4, nil})
				read(t, otherPeer[0], []byte("fine"))
			}
			fd, peer := open(t)
			flush(fd, []byte("hello"), sent{2, 5, nil})
			read(t, peer, []byte("hello"))
			flush(fd, nil, sent{2, 0, nil})

			big := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // 32 MiB, more than any buffer
			r.Send(fd, big, 1)
			r.Flush()
			n := (*got)[0].n
			if g := (*got)[0]; g.err != nil || n == 0 || n == len(big) {
				t.Fatalf("a send that is too big: got %v, want a part and no error", g)
			}
			*got = (*got)[:0]
			n2 := fill(t, fd)
			flush(fd, []byte("no room"), sent{2, 0, ErrAgain})
			read(t, peer, big[:n])
			read(t, peer, make([]byte, n2))
			flush(fd, []byte("room"), sent{2, 4, nil})
			read(t, peer, []byte("room"))

			peer.Close()
			flush(fd, []byte("x"), broken(fd))
			flush(fd, []byte("x"), sent{2, 0, unix.EPIPE})
		})
	}
}

// broken is what the first send after the peer's close gives: TCP learns of it by that send.
func broken(fd int) sent {
	if domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_UNIX {
		return sent{2, 0, unix.EPIPE}
	}
	return sent{2, 1, nil}
}

func TestRingReportsResets(t *testing.T) {
	r, got := ring(t, 8)
	fds, peers := tcpPairs(t, 2)
	peers[0].(*net.TCPConn).SetLinger(0)
	peers[0].Close()
	r.Send(fds[0], []byte("x"), 1)
	r.Send(fds[1], []byte("x"), 2)
	r.Flush()
	want(t, got, sent{1, 0, unix.ECONNRESET}, sent{2, 1, nil})
}

func TestRingReportsDescriptorsThatAreNone(t *testing.T) {
	r, got := ring(t, 8)
	a, b := pair(t)
	defer Close(b)
	fds, _ := tcpPairs(t, 1)
	r.Send(a, []byte("x"), 1)
	r.Send(fds[0], []byte("x"), 2)
	r.Send(r.fd, []byte("x"), 3)
	Close(a) // must not happen; nobody else can have got the number here
	r.Flush()
	want(t, got, sent{1, 0, unix.EBADF}, sent{2, 1, nil}, sent{3, 0, unix.ENOTSOCK})
}

func TestRingOwnerMayCloseAndSendWhenTold(t *testing.T) {
	fds, peers := tcpPairs(t, 3)
	a, b := pair(t)
	defer Close(b)
	fds = append(fds, a)
	var r *Ring
	var got []uint64
	r, err := NewRing(4, func(token uint64, n int, err error) {
		got = append(got, token)
		if token == 0 {
			if r.Pending() != 0 {
				t.Errorf("%d pending while reporting, want 0", r.Pending())
			}
			r.Send(fds[2], []byte("more"), 9)
			r.Flush()
			Close(fds[3])
		}
	})
	if err != nil {
		t.Skip("no ring on this system: ", err)
	}
	defer r.Close()
	for i, fd := range fds {
		r.Send(fd, []byte("x"), uint64(i))
	}
	if fmt.Sprint(got) != "[0 9 1 2 3]" {
		t.Fatalf("got reports %v", got)
	}
	read(t, peers[2], []byte("xmore"))
	var x [2]byte
	if n, err := Read(b, x[:]); n != 1 || err != nil {
		t.Fatalf("the one that was closed: read %d, %v", n, err)
	}
}

// A batch keeps what it sends alive, and takes it to another thread with the goroutine.
func TestRingKeepsBytesUntilTheyAreSent(t *testing.T) {
	r, got := ring(t, 64)
	fds, peers := tcpPairs(t, 60)
	for round := range 20 {
		for i, fd := range fds {
			r.Send(fd, bytes.Repeat([]byte{byte(round), byte(i)}, 500), uint64(i))
		}
		for range 50 { // what is not referred to is collected, and its memory given away
			_ = bytes.Repeat([]byte{0xff}, 1000)
		}
		runtime.GC()
		moved := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r.Flush()
			close(moved)
		}()
		<-moved
		for i, p := range peers {
			read(t, p, bytes.Repeat([]byte{byte(round), byte(i)}, 500))
		}
		*got = (*got)[:0]
	}
	for i := range r.sends {
		if r.sends[i].b != nil {
			t.Fatalf("entry %d is still held after Flush", i)
		}
	}
}

func TestRingDoesNotAllocate(t *testing.T) {
	fds, peers := tcpPairs(t, 40)
	reports := 0
	r, err := NewRing(16, func(uint64, int, error) { reports++ })
	if err != nil {
		t.Skip("no ring on this system: ", err)
	}
	defer r.Close()
	a, b := pair(t)
	defer Close(a)
	defer Close(b)
	fill(t, a)
	frame := []byte("x")
	if n := testing.AllocsPerRun(100, func() {
		for _, fd := range fds {
			r.Send(fd, frame, uint64(fd))
		}
		r.Send(a, frame, 0)
		r.Flush()
		Write(fds[0], frame)
		Write(a, frame)
	}); n > 0 {
		t.Errorf("%v allocations for 41 sends, want 0", n)
	}
	if reports != 101*41 {
		t.Errorf("%d reports, want %d", reports, 101*41)
	}
	read(t, peers[0], bytes.Repeat(frame, 202))
}

func TestRingCloseGivesEverythingBack(t *testing.T) {
	r, got := ring(t, 8)
	fds, peers := tcpPairs(t, 1)
	r.Send(fds[0], []byte("lost"), 1)
	fd := r.fd
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the ring's descriptor: got %v, want EBADF", err)
	}
	r.Flush()
	want(t, got)
	r.Send(fds[0], []byte("late"), 2)
	want(t, got, sent{2, 4, nil})
	read(t, peers[0], []byte("late"))
}
