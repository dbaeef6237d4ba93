//go:build unix

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

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
	if fd, err = Detach(ln.(*net.TCPListener)); err != nil {
		return -1, nil, err
	}
	if err := prepareListener(fd); err != nil {
		Close(fd)
		return -1, nil, fmt.Errorf("prepare listener: %w", err)
	}
	return fd, ln.Addr(), nil
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

// Pair makes two connected sockets, non-blocking. What is written to the outer one and not read waits in about so many bytes.
func Pair(unsent int) (inner, outer int, err error) {
	syscall.ForkLock.RLock() // no child of this process gets them
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, -1, fmt.Errorf("pair of sockets: %w", err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			Close(fds[0])
			Close(fds[1])
			return -1, -1, fmt.Errorf("pair of sockets: %w", err)
		}
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, unsent) // a failure costs memory only
	}
	return fds[0], fds[1], nil
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
		n, err := readOnce(fd, b)
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

// CloseWrite ends our direction: the peer reads end of stream behind what was written.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Close closes the descriptor. EINTR counts as closed: the number may be somebody else's by now.
func Close(fd int) { unix.Close(fd) }
