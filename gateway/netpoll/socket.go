//go:build linux

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ErrAgain says that the socket has nothing to read, or no room to write, now.
var ErrAgain = errors.New("socket not ready")

// Listen opens a TCP listener and gives its descriptor, non-blocking, and the address it is bound to.
func Listen(address string) (fd int, bound net.Addr, err error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return -1, nil, err
	}
	defer ln.Close() // the duplicate goes on listening
	fd, err = Detach(ln.(*net.TCPListener))
	return fd, ln.Addr(), err
}

// Detach duplicates a connection's or listener's descriptor, so that the original can be closed and its entry in the
// runtime's poller with it. The duplicate is non-blocking.
func Detach(c interface{ File() (*os.File, error) }) (fd int, err error) {
	f, err := c.File()
	if err != nil {
		return -1, fmt.Errorf("detach socket: %w", err)
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("detach socket: %w", err)
	}
	if cerr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		err = cerr
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return -1, fmt.Errorf("detach socket: %w", err)
	}
	return fd, nil
}

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

// Conn makes an ordinary net.Conn of the descriptor, which it takes over.
func Conn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // FileConn works on a duplicate
	return net.FileConn(f)
}

// Read reads what there is. 0 bytes without an error is the peer's end of stream.
func Read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, ErrAgain
		}
		return 0, err
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

// CloseWrite ends our direction: the peer reads end of stream behind what was written.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Close closes the descriptor. EINTR counts as closed: the number may be somebody else's by now.
func Close(fd int) { unix.Close(fd) }

// LimitUnsent bounds what the kernel keeps for a peer that does not read: bytes not yet sent, beyond the congestion window.
// Without it a stalled peer's send buffer grows to megabytes.
func LimitUnsent(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}

// Remote is the peer's address.
func Remote(fd int) netip.AddrPort {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// Unread is the number of bytes received and not yet read.
func Unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
