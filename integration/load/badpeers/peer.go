//go:build linux

package badpeers

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// peer is one of the crowd. It has a goroutine, and at most one connection at a time.
type peer struct {
	// Fixed at creation.
	number  int
	kind    *kind
	address string
	request []byte
	leave   <-chan struct{} // closed when everybody leaves
	began   func()          // tells, once, that it is a nuisance now

	// Owned by run.
	conn  *net.TCPConn
	made  int
	ended int
	errs  []error
	full  bool
}

const (
	dialWithin  = 5 * time.Second
	writeWithin = time.Second
)

// run makes one connection after the other until everybody leaves.
func (p *peer) run() {
	for p.rest(p.kind.pause) {
		if err := p.visit(); err != nil {
			p.errs = append(p.errs, err)
		}
		p.began() // or has failed to
	}
}

// visit is one connection. It ends by reset, so that no port need rest.
func (p *peer) visit() error {
	d := net.Dialer{Timeout: dialWithin, LocalAddr: p.source(), Control: p.options}
	conn, err := d.Dial("tcp", p.address)
	if err != nil {
		return err
	}
	p.conn = conn.(*net.TCPConn)
	p.made++
	p.conn.SetLinger(0)
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // who reads is woken when everybody leaves
		select {
		case <-p.leave:
			p.conn.SetDeadline(time.Unix(1, 0))
		case <-over:
		}
	})
	p.kind.live(p)
	close(over)
	wg.Wait()
	if !p.left() {
		p.ended++
	}
	p.conn.Close() // what it says is the server's doing
	return nil
}

// source is one of a few own addresses on loopback, of which the tabs use none.
func (p *peer) source() net.Addr {
	to, err := net.ResolveTCPAddr("tcp", p.address)
	if err != nil || !to.IP.IsLoopback() || to.IP.To4() == nil {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 251, byte(1+p.number%8))}
}

func (p *peer) options(_, _ string, raw syscall.RawConn) error {
	var errs []error
	err := raw.Control(func(fd uintptr) {
		errs = append(errs, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
		if p.kind.small {
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096))
		}
	})
	return errors.Join(append(errs, err)...)
}

// send is false when the connection is over, or takes nothing.
func (p *peer) send(parts ...[]byte) bool {
	for _, b := range parts {
		if p.left() {
			return false
		}
		p.conn.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := p.conn.Write(b); err != nil {
			return false
		}
	}
	p.began()
	return true
}

// rest waits about d, so that peers do not act in step: what many do in one moment is another question than what they cost. It is
// false when everybody leaves.
func (p *peer) rest(d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-p.leave:
		return false
	case <-t.C:
		return true
	}
}

func (p *peer) left() bool {
	select {
	case <-p.leave:
		return true
	default:
		return false
	}
}

// look notes whether the socket has more to read than the answer to a handshake. It is false when the server has ended the
// connection, which who does not read does not learn otherwise.
func (p *peer) look() (there bool) {
	const greetings, established = 1024, 1
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		p.full = p.full || err == nil && n > greetings
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		there = err == nil && info.State == established
	})
	return there
}
