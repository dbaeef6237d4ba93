//go:build linux

package loadgen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is one epoll, level-triggered. The product has a better one: this one is its own so that neither is measured with the
// other's bugs, and does no more than the tabs need, since they share the machine with what is measured.
type poller struct {
	fd, wakeFD int
	events     [1024]unix.EpollEvent
	busy       bool // something came the last time
}

// busyWait is how long who is busy waits without telling Go's scheduler. Telling it costs a wake-up of its monitor, which then naps 20 µs at a
// time: that was more than half of what tabs took of the machine that is measured. It is bounded since the collector waits too.
const busyWait = 10 * time.Millisecond

// wakeSlot marks the descriptor of wake-ups.
const wakeSlot = -1

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{fd: fd, wakeFD: wakeFD}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wakeFD, &ev); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return p, nil
}

func (p *poller) close() error { return errors.Join(unix.Close(p.wakeFD), unix.Close(p.fd)) }

// add watches fd for input, and for being writable where output.
func (p *poller) add(fd int, gen uint32, output bool) error {
	return p.ctl(unix.EPOLL_CTL_ADD, fd, gen, output)
}

// input watches for input alone.
func (p *poller) input(fd int, gen uint32) error { return p.ctl(unix.EPOLL_CTL_MOD, fd, gen, false) }

func (p *poller) ctl(op, fd int, gen uint32, output bool) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd), Pad: int32(gen)}
	if output {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait gives what happened, at the latest after d; without end where d is negative.
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	wait, ms := unix.EpollWait, -1
	if d >= 0 {
		ms = int(d.Milliseconds())
	}
	if p.busy {
		wait = rawEpollWait
		if most := int(busyWait.Milliseconds()); ms < 0 || ms > most {
			ms = most
		}
	}
	n, err := wait(p.fd, p.events[:], ms)
	p.busy = n > 0
	switch {
	case err == unix.EINTR:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.events[:n], nil
}

func rawEpollWait(fd int, events []unix.EpollEvent, ms int) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// wake makes wait return; any goroutine may call it.
func (p *poller) wake() { unix.Write(p.wakeFD, binary.NativeEndian.AppendUint64(nil, 1)) }

func (p *poller) drainWake() {
	var count [8]byte
	unix.Read(p.wakeFD, count[:])
}

// read takes what there is of a non-blocking socket, without telling Go's scheduler, which would cost as much as the call.
func read(fd int, b []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// write is read's counterpart. A broken connection gives an error, never a signal.
func write(fd int, b []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
