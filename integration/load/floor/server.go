//go:build linux

package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidings/integration/load/floor/order"
)

// server is one epoll with the listener, standard input, and every connection.
type server struct {
	epoll, listener int
	frame           *order.Frame
	events          [512]unix.EpollEvent
	buf             [16 << 10]byte
	answer          []byte // 101 with room for the accept value
	accept          []byte // the part of answer that is the value

	slots []int32 // by descriptor: index into conns, or one of those below
	conns []int32 // descriptors in the order of their handshakes
	part  int     // bytes of an order that is not complete, at the beginning of input
	input [64 << 10]byte
}

const (
	none     = -1 // not a connection
	greeting = -2 // the request has not come
)

const forever = ^uintptr(0) // epoll_wait's time-out of -1

func newServer(f *order.Frame) (*server, error) {
	s := &server{frame: f, slots: make([]int32, 1<<16)}
	for i := range s.slots {
		s.slots[i] = none
	}
	const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
	s.answer = []byte(head + "0123456789012345678901234567" + "\r\n\r\n")
	s.accept = s.answer[len(head) : len(head)+28]
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if s.listener, err = listen(); err != nil {
		return nil, err
	}
	return s, errors.Join(s.watch(s.listener), s.watch(0))
}

func listen() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	// Connections inherit it: a call less for each.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, fmt.Errorf("no delay: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, fmt.Errorf("bind: %w", err)
	}
	return fd, unix.Listen(fd, 4096)
}

func (s *server) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if _, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(s.epoll), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0); e != 0 {
		return fmt.Errorf("epoll_ctl: %w", e)
	}
	return nil
}

// run serves until standard input ends.
func (s *server) run() error {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll), uintptr(unsafe.Pointer(&s.events[0])), uintptr(len(s.events)), forever, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return fmt.Errorf("epoll_wait: %w", e)
		}
		var err error
		for i := range s.events[:n] {
			switch fd := int(s.events[i].Fd); {
			case fd == s.listener:
				err = s.acceptAll()
			case fd == 0:
				if err = s.orders(); err == errOver {
					return nil
				}
			case s.slots[fd] == greeting:
				err = s.greet(fd)
			default:
				s.close(fd) // it says nothing, so that it can only have ended
			}
			if err != nil {
				return err
			}
		}
	}
}

func (s *server) acceptAll() error {
	for {
		fd, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch {
		case e == unix.EAGAIN:
			return nil
		case e == unix.ECONNABORTED, e == unix.EINTR:
			continue
		case e != 0:
			return fmt.Errorf("accept4: %w", e)
		}
		s.slots[fd] = greeting
		if err := s.watch(int(fd)); err != nil {
			return err
		}
	}
}

var (
	keyField = []byte("Sec-WebSocket-Key: ")
	errOver  = errors.New("standard input has ended")
)

// greet answers a request, which comes in one piece on loopback.
func (s *server) greet(fd int) error {
	n := receive(fd, s.buf[:])
	i := bytes.Index(s.buf[:max(n, 0)], keyField) + len(keyField)
	if n <= 0 || i < len(keyField) || i+24 > n {
		s.close(fd)
		return nil
	}
	// RFC 6455, 1.3: the key and this string, hashed.
	sum := sha1.Sum(append(append(make([]byte, 0, 64), s.buf[i:i+24]...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	base64.StdEncoding.Encode(s.accept, sum[:])
	s.slots[fd] = int32(len(s.conns))
	s.conns = append(s.conns, int32(fd))
	return send(fd, s.answer)
}

// close ends a connection. The last one takes its index.
func (s *server) close(fd int) {
	if i := s.slots[fd]; i >= 0 {
		last := s.conns[len(s.conns)-1]
		s.conns[i], s.slots[last] = last, i
		s.conns = s.conns[:len(s.conns)-1]
	}
	s.slots[fd] = none
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// orders reads standard input and does what it says.
func (s *server) orders() error {
	room := s.input[s.part:]
	n, _, e := unix.RawSyscall(unix.SYS_READ, 0, uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)))
	switch {
	case e == unix.EINTR:
		return nil
	case e != 0:
		return fmt.Errorf("read orders: %w", e)
	case n == 0:
		return errOver
	}
	b := s.input[:s.part+int(n)]
	for ; len(b) >= order.Size; b = b[order.Size:] {
		if err := s.deliver(order.Cut(b)); err != nil {
			return err
		}
	}
	s.part = copy(s.input[:], b)
	return nil
}

func (s *server) deliver(i int, at []byte) error {
	s.frame.Set(at)
	if i != order.All {
		return send(int(s.conns[i]), s.frame.Bytes)
	}
	for _, fd := range s.conns {
		if err := send(int(fd), s.frame.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// send writes what must fit: a peer that does not read ends the measurement. One that has gone is closed when epoll tells.
func send(fd int, b []byte) error {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	switch {
	case e == unix.EPIPE || e == unix.ECONNRESET:
		return nil
	case e != 0:
		return fmt.Errorf("send: %w", e)
	case int(n) < len(b):
		return fmt.Errorf("sent %d of %d bytes: the peer does not read", n, len(b))
	}
	return nil
}

func receive(fd int, b []byte) int {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return -1
	}
	return int(n)
}
