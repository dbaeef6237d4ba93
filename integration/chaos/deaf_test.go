//go:build linux

package chaos

import (
	"context"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"tidings/integration/wsclient"
)

const (
	sulkLook = 500 * time.Millisecond // how often a tab that reads nothing looks whether it is still connected
	sulkMost = 30 * time.Second       // after that its user reloads the page
)

// sulks tells that the tab reads nothing.
func (b *tab) sulks() bool {
	if !b.deaf {
		return false
	}
	select {
	case <-b.s.woken:
		return false
	default:
		return true
	}
}

// sulk keeps the connection and reads nothing, until the server has ended it, or the tab is woken. Then it comes back with the same
// cursor, after a while.
func (b *tab) sulk(ctx context.Context, conn *wsclient.Tab) (after time.Duration) {
	defer conn.Drop()
	look := time.NewTicker(sulkLook)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < sulkMost; {
		select {
		case <-ctx.Done():
			return 0
		case <-b.s.woken:
			return 0
		case <-look.C:
		}
		if hungUp(conn.NetConn()) {
			b.s.notes.add("a deaf tab was closed")
			break
		}
	}
	return time.Second + time.Duration(b.random.Int64N(int64(3*time.Second)))
}

// hungUp tells, without reading, that the other side has closed or reset the connection.
func hungUp(conn net.Conn) (gone bool) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}
