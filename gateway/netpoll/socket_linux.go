package netpoll

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Accept takes one connection from a listening descriptor: non-blocking, no delay. ErrAgain means there is none.
func Accept(listener int) (fd int, err error) {
	for {
		fd, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
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

// Write writes what there is room for, which may be less than b. A broken connection gives an error, never a signal.
func Write(fd int, b []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
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

// LimitUnsent bounds what the kernel keeps for a peer that does not read: bytes not yet sent, beyond the congestion window.
// Without it a stalled peer's send buffer grows to megabytes.
func LimitUnsent(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}
