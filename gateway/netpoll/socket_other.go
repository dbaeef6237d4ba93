//go:build unix && !linux

package netpoll

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Accept takes one connection from a listening descriptor: non-blocking, no delay. ErrAgain means there is none.
func Accept(listener int) (fd int, err error) {
	for {
		fd, _, err = unix.Accept(listener)
		switch err {
		case nil:
			unix.CloseOnExec(fd)
			if err := unix.SetNonblock(fd, true); err != nil {
				unix.Close(fd)
				return -1, fmt.Errorf("accept: %w", err)
			}
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // a failure costs delay only
			return fd, nil
		case unix.EINTR, unix.ECONNABORTED: // gone before we took it; look for the next
			continue
		case unix.EAGAIN:
			return -1, ErrAgain
		}
		return -1, fmt.Errorf("accept: %w", err)
	}
}

// AcceptDelay is how many seconds a connection that says nothing may wait to be accepted.
const AcceptDelay = 0

// prepareListener does nothing: Accept sets what is needed.
func prepareListener(int) error { return nil }

func readOnce(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

// WriteOnce is Write.
func WriteOnce(fd int, b []byte) (int, error) { return Write(fd, b) }

// Write writes what there is room for, which may be less than b. The Go runtime turns the signal of a broken connection into an error.
func Write(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS:
			return 0, ErrAgain
		}
		return 0, err
	}
}

// LimitUnacknowledged does nothing here: a peer that has vanished is found by the kernel's own limit, after minutes.
func LimitUnacknowledged(fd int, d time.Duration) error { return nil }

// LimitUnsent does nothing here: a peer that does not read costs what the kernel's send buffer holds.
func LimitUnsent(fd, bytes int) error { return nil }
