package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// benchSockets is how many sockets a frame goes to.
const benchSockets = 2000

func TestMain(m *testing.M) {
	if address := os.Getenv("NETPOLL_READ_FROM"); address != "" {
		size, _ := strconv.Atoi(os.Getenv("NETPOLL_READ_BYTES"))
		if err := readRounds(address, size); err != nil {
			fmt.Fprintln(os.Stderr, "reader:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// BenchmarkFanOut writes one frame to every socket, in each of several ways in turn, so that what else the machine does befalls
// all alike. The metrics are medians over the rounds: nanoseconds of this process's CPU, user and system, per send. The reader is another
// process, as its work would count otherwise, and a round begins when it has read the one before.
func BenchmarkFanOut(b *testing.B) {
	for _, size := range []int{256, 16 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchFanOut(b, size) })
	}
}

func benchFanOut(b *testing.B, size int) {
	runtime.LockOSThread() // one of the rings belongs to a thread
	defer runtime.UnlockOSThread()
	fds, reader := startReader(b, size)
	ways := waysToSend(b)
	frame := bytes.Repeat([]byte("x"), size)
	cpu := make([][]float64, len(ways))
	ack := make([]byte, 1)
	for b.Loop() {
		for _, i := range rand.Perm(len(ways)) { // so that none has always the same before it
			before := processCPU(b)
			ways[i].send(fds, frame)
			cpu[i] = append(cpu[i], float64(processCPU(b)-before)/benchSockets)
			if _, err := io.ReadFull(reader, ack); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
	for i, w := range ways {
		b.ReportMetric(median(cpu[i]), w.name)
	}
}

// way is one way to send a frame to all.
type way struct {
	name string
	send func(fds []int, frame []byte)
}

func waysToSend(b *testing.B) []way {
	each := func(name string, write func(fd int, b []byte) (int, error)) way {
		return way{name, func(fds []int, frame []byte) {
			for _, fd := range fds {
				if n, err := write(fd, frame); n != len(frame) {
					b.Fatal(n, err)
				}
			}
		}}
	}
	ways := []way{
		each("unix.Write", unix.Write),
		each("sendmsg", func(fd int, p []byte) (int, error) {
			return unix.SendmsgN(fd, p, nil, nil, sendFlags)
		}),
		each("sendto", func(fd int, p []byte) (int, error) {
			n, _, err := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), sendFlags, 0, 0)
			return outcome(int(n), err)
		}),
		each("Write", Write),
	}
	for _, n := range []int{1, 4, 16, 64, 256, 1024} {
		ways = append(ways, ringWay(b, fmt.Sprint("ring", n), n, ringCalls{setup: ioUringSetup, enter: ioUringEnter}))
	}
	const coop, single, deferred = 1 << 8, 1 << 12, 1 << 13
	return append(ways,
		ringWay(b, "ring256-raw", 256, ringCalls{setup: ioUringSetup, enter: rawEnter}),
		ringWay(b, "ring256-coop", 256, ringCalls{ioUringSetup, ioUringEnter, coop}),
		ringWay(b, "ring256-single-defer", 256, ringCalls{ioUringSetup, ioUringEnter, single | deferred}))
}

func ringWay(b *testing.B, name string, entries int, calls ringCalls) way {
	size := 0
	r, err := newRing(entries, func(_ uint64, n int, err error) {
		if n != size {
			b.Fatal(n, err)
		}
	}, calls)
	if err != nil {
		b.Skip("no ring on this system: ", err)
	}
	b.Cleanup(func() { r.Close() })
	return way{name, func(fds []int, frame []byte) {
		size = len(frame)
		for _, fd := range fds {
			r.Send(fd, frame, uint64(fd))
		}
		r.Flush()
	}}
}

func rawEnter(fd int, submit, wait, flags uint32) (uint32, unix.Errno) {
	n, _, err := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), uintptr(wait), uintptr(flags), 0, 0)
	return uint32(n), err
}

func processCPU(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// startReader gives our ends of the sockets, and a connection on which the reader sends a byte after each round.
func startReader(b *testing.B, size int) (fds []int, reader net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NETPOLL_READ_FROM="+ln.Addr().String(), "NETPOLL_READ_BYTES="+strconv.Itoa(size))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, fd := range fds {
			Close(fd)
		}
		reader.Close()
		if err := cmd.Wait(); err != nil {
			b.Error("reader: ", err)
		}
	})
	ln.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	for range benchSockets + 1 {
		c, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		if reader == nil {
			reader = c
			continue
		}
		fd, err := Detach(c.(*net.TCPConn))
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		fds = append(fds, fd)
	}
	return fds, reader
}

// readRounds reads from many connections until they are closed, and tells after each round of size bytes from all.
func readRounds(address string, size int) error {
	tell, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	for range benchSockets {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		fd, err := Detach(c.(*net.TCPConn))
		if err != nil {
			return err
		}
		c.Close()
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	var evs [256]unix.EpollEvent
	buf := make([]byte, 64<<10)
	for left := size * benchSockets; ; {
		n, err := unix.EpollWait(ep, evs[:], -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, ev := range evs[:max(n, 0)] {
			m, err := Read(int(ev.Fd), buf)
			if m == 0 && !errors.Is(err, ErrAgain) {
				return nil // the benchmark is over
			}
			if left -= m; left == 0 {
				left = size * benchSockets
				tell.Write([]byte{0})
			}
		}
	}
}
