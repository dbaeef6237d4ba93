package netpoll

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's interface, linux/io_uring.h.

type submission struct { // struct io_uring_sqe
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64
	_        [3]uint64
}

type completion struct { // struct io_uring_cqe
	userData uint64
	res      int32
	flags    uint32
}

type ringParams struct { // struct io_uring_params
	sqEntries, cqEntries, flags uint32
	sqThreadCPU, sqThreadIdle   uint32
	features, wqFD              uint32
	_                           [3]uint32
	sqOff                       struct{ head, tail, mask, entries, flags, dropped, array, _, _, _ uint32 }
	cqOff                       struct{ head, tail, mask, entries, overflow, cqes, flags, _, _, _ uint32 }
}

const (
	opSend            = 26          // IORING_OP_SEND
	setupClamp        = 1 << 4      // IORING_SETUP_CLAMP
	featureSingleMmap = 1 << 0      // IORING_FEAT_SINGLE_MMAP
	enterGetEvents    = 1 << 0      // IORING_ENTER_GETEVENTS
	offsetRings       = 0           // IORING_OFF_SQ_RING
	offsetSubmissions = 0x1000_0000 // IORING_OFF_SQES
)

// ringCalls is the kernel, or what a test puts in its place.
type ringCalls struct {
	setup setupFunc
	enter enterFunc
	flags uint32 // to try out others
}

type (
	setupFunc func(entries uint32, p *ringParams) (fd int, err unix.Errno)
	enterFunc func(fd int, submit, wait, flags uint32) (n uint32, err unix.Errno)
)

func ioUringSetup(entries uint32, p *ringParams) (int, unix.Errno) {
	fd, _, err := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	return int(fd), err
}

// ioUringEnter tells Go's scheduler, unlike sendto: 256 sends take a millisecond or two. With RawSyscall nothing else ran on this
// processor meanwhile, and stopping the world took 1 to 3 ms in one of ten cases, where it takes 0.1 ms with this, on two
// busy cores. What it costs does not show, divided by the batch.
func ioUringEnter(fd int, submit, wait, flags uint32) (uint32, unix.Errno) {
	n, _, err := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), uintptr(wait), uintptr(flags), 0, 0)
	return uint32(n), err
}

// ringMemory is what we share with the kernel.
type ringMemory struct {
	fd             int
	rings, entries []byte // mapped

	sqHead, sqTail *uint32
	sqMask         uint32
	sqes           []submission
	cqHead, cqTail *uint32
	cqMask         uint32
	cqes           []completion
}

// newRing asks for none of the flags that make other rings faster. SINGLE_ISSUER and DEFER_TASKRUN bind one to a thread: a
// goroutine moves between threads, and the calls then fail, or it is locked to its own and pays for a switch of threads
// whenever it is parked. They, and COOP_TASKRUN, save on the work that is left to do for a request later, and a send that does
// not wait leaves none: no difference was measured. SQPOLL keeps a core busy. A registered ring belongs to a thread.
func newRing(entries int, done func(uint64, int, error), calls ringCalls) (*Ring, error) {
	if entries < 1 {
		return nil, fmt.Errorf("io_uring: a ring of %d entries holds nothing, ask for 1 or more", entries)
	}
	r := &Ring{done: done, enter: calls.enter}
	p := ringParams{flags: setupClamp | calls.flags}
	fd, errno := calls.setup(uint32(min(entries, 1<<15)), &p)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %s: %w", refusal(errno), errno)
	}
	r.fd = fd
	err := r.mmap(&p)
	if err == nil {
		r.sends = make([]pending, p.sqEntries)
		err = r.probe()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// refusal says what to look at.
func refusal(err unix.Errno) string {
	switch err {
	case unix.ENOSYS:
		return "this kernel has no io_uring, or a seccomp profile hides it"
	case unix.EPERM, unix.EACCES:
		return "forbidden by a seccomp profile, a security module or the sysctl kernel.io_uring_disabled"
	case unix.ENOMEM:
		return "no memory for it, or RLIMIT_MEMLOCK is too low (before Linux 5.12 rings count)"
	case unix.EINVAL:
		return "this kernel's io_uring is too old, 5.6 is needed"
	}
	return "not available"
}

func (m *ringMemory) mmap(p *ringParams) (err error) {
	if p.features&featureSingleMmap == 0 {
		return errors.New("io_uring: this kernel's is too old, 5.6 is needed")
	}
	size := max(p.sqOff.array+4*p.sqEntries, p.cqOff.cqes+uint32(unsafe.Sizeof(completion{}))*p.cqEntries)
	if m.rings, err = m.mapAt(offsetRings, int(size)); err != nil {
		return err
	}
	if m.entries, err = m.mapAt(offsetSubmissions, int(unsafe.Sizeof(submission{}))*int(p.sqEntries)); err != nil {
		return err
	}
	u32 := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&m.rings[off])) }
	m.sqHead, m.sqTail, m.sqMask = u32(p.sqOff.head), u32(p.sqOff.tail), *u32(p.sqOff.mask)
	m.cqHead, m.cqTail, m.cqMask = u32(p.cqOff.head), u32(p.cqOff.tail), *u32(p.cqOff.mask)
	m.sqes = unsafe.Slice((*submission)(unsafe.Pointer(&m.entries[0])), p.sqEntries)
	m.cqes = unsafe.Slice((*completion)(unsafe.Pointer(&m.rings[p.cqOff.cqes])), p.cqEntries)
	order := unsafe.Slice(u32(p.sqOff.array), p.sqEntries)
	for i := range m.sqes {
		m.sqes[i] = submission{opcode: opSend, msgFlags: sendFlags, userData: uint64(i)}
		order[i] = uint32(i)
	}
	return nil
}

func (m *ringMemory) mapAt(offset int64, size int) ([]byte, error) {
	b, err := unix.Mmap(m.fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("io_uring: map the rings: %w", err)
	}
	return b, nil
}

// release may be called at any stage of the setup.
func (m *ringMemory) release() error {
	var errs [3]error
	for i, b := range [][]byte{m.rings, m.entries} {
		if b != nil {
			errs[i] = unix.Munmap(b)
		}
	}
	errs[2] = unix.Close(m.fd)
	*m = ringMemory{fd: -1, sqMask: m.sqMask} // done may close the Ring that is reporting to it
	return errors.Join(errs[:]...)
}

// probe sends in earnest: first with room, then without. What the kernel's version promises is not asked, as a seccomp
// profile may forbid this call alone, and a send that waits for room would hold up a whole batch.
func (r *Ring) probe() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("io_uring: probe: %w", err)
	}
	defer Close(fds[0])
	defer Close(fds[1])
	frame := make([]byte, 4<<10)
	if res, err := r.try(fds[0], frame); err != nil || res != int32(len(frame)) {
		return errors.Join(err, fmt.Errorf("io_uring: probe: a send of %d bytes gave %d, Linux 5.6 is needed", len(frame), res))
	}
	for err == nil {
		_, err = Write(fds[0], frame)
	}
	if res, err := r.try(fds[0], frame); err != nil || res != -int32(unix.EAGAIN) {
		return errors.Join(err, fmt.Errorf("io_uring: probe: a send without room gave %d and not EAGAIN", res))
	}
	return nil
}

// try sends b alone, and fails rather than waiting for the result.
func (r *Ring) try(fd int, b []byte) (int32, error) {
	r.queue(fd, b, 0)
	defer r.check.flushed()
	s := &r.sends[r.head&r.sqMask]
	atomic.StoreUint32(r.sqTail, r.tail)
	r.head = r.tail
	if _, err := r.enter(r.fd, 1, 0, 0); err != 0 {
		return 0, fmt.Errorf("io_uring_enter: %s: %w", refusal(err), err)
	}
	if r.collect() != 1 {
		return 0, errors.New("io_uring: probe: a send that must not wait is not over")
	}
	return s.res, nil
}
