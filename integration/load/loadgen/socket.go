//go:build linux

package loadgen

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// sources is the number of own addresses a process uses on loopback. One address has some 28,000 ports towards one server, and
// those of the last run rest for a minute.
const sources = 8

// connect begins a connection. It is made, or has failed, when the descriptor becomes writable.
func connect(to unix.Sockaddr, from *unix.SockaddrInet4) (fd int, err error) {
	family := unix.AF_INET
	if _, six := to.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if from != nil {
		// The port is chosen when the other end is known; before that, one address would have 28,000 ports for everybody.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = unix.Bind(fd, from)
	}
	if err == nil {
		if err = unix.Connect(fd, to); err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// reset closes without a farewell, so that ten thousands of ports need not rest.
func reset(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// connected tells how a connection attempt ended.
func connected(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// resolve gives the server's address, and whether it is on this machine's loopback, where every 127.x.y.z may be a source.
func resolve(hostport string) (to unix.Sockaddr, loopback bool, err error) {
	a, err := net.ResolveTCPAddr("tcp", hostport)
	if err != nil {
		return nil, false, fmt.Errorf("address of the target: %w", err)
	}
	if four := a.IP.To4(); four != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(four)}, four.IsLoopback(), nil
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}, false, nil
}

// source is an own address for the n-th tab of a process.
func source(process, n int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(1 + process%250), byte(1 + n%sources)}}
}
