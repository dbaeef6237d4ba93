package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
)

// crowd are browsers that do whatever browsers do, and what they should not do, all at once.
type crowd struct {
	g      *gate
	visits sync.WaitGroup

	mu   sync.Mutex // guards the following
	done int
}

// come lets n of them visit again and again until ctx ends.
func (c *crowd) come(ctx context.Context, n int) {
	for i := range n {
		c.visits.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 9))
			for ctx.Err() == nil {
				c.visit(ctx, rnd)
			}
		})
	}
}

func (c *crowd) visit(ctx context.Context, rnd *rand.Rand) {
	d := net.Dialer{Timeout: time.Second}
	if rnd.IntN(4) == 0 { // soon slow
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
		}
	}
	conn, err := d.DialContext(ctx, "tcp", c.g.Addr().String())
	if err != nil {
		return
	}
	defer conn.Close()
	c.mu.Lock()
	c.done++
	c.mu.Unlock()
	conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	path := fmt.Sprintf("GET /ws?user=user%d&groups=g%d,g%d&cursor=%s HTTP/1.1", rnd.IntN(12), rnd.IntN(3), 3+rnd.IntN(3),
		c.g.cursor(uint64(rnd.IntN(400))))
	request := c.g.request(path)
	if rnd.IntN(4) == 0 {
		request = c.g.request("GET /sse?" + path[len("GET /ws?"):])
	}
	if rnd.IntN(10) == 0 {
		conn.Write(c.g.page())
	}
	conn.Write(request[:len(request)-rnd.IntN(2)*rnd.IntN(len(request))]) // half of them whole
	for range rnd.IntN(6) {
		c.act(conn, rnd)
	}
	if rnd.IntN(3) == 0 {
		conn.(*net.TCPConn).SetLinger(0)
	}
}

func (c *crowd) act(conn net.Conn, rnd *rand.Rand) {
	buf := make([]byte, 1+rnd.IntN(8192))
	switch rnd.IntN(9) {
	case 0:
		conn.Write(masked(ping, "x"))
	case 1:
		conn.Write(masked(pong, ""))
	case 2:
		conn.Write(masked(text, `{"type":"hello"}`)[:1+rnd.IntN(20)])
	case 3:
		conn.Write(closeFrame(1000, ""))
	case 4:
		conn.Write(buf) // zeros: not masked
	case 5:
		conn.Write(masked(text, "not JSON"))
	case 6:
		time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
	default:
		conn.Read(buf)
	}
}

// talk tells all of them something all the time.
func (h *house) talk(ctx context.Context) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for ctx.Err() == nil {
		r := wire.Record{Kind: wire.Kind(1 + rnd.IntN(3)), Stored: time.Now(), Notification: note(1)}
		switch r.Kind {
		case wire.Users:
			r.Users = []string{fmt.Sprint("user", rnd.IntN(12)), fmt.Sprint("user", rnd.IntN(12))}
		case wire.Group:
			r.Group = fmt.Sprint("g", rnd.IntN(6))
			r.ExceptUsers = []string{"user3"}
		}
		if rnd.IntN(10) == 0 {
			r.Notification = fmt.Appendf(nil, `{"fill":"%s"}`, bytes.Repeat([]byte("x"), 30_000))
		}
		raw, err := r.Append(nil)
		if err != nil {
			panic(err)
		}
		h.js.Publish(ctx, wire.MixedSubject(0), raw) // an error is the end
	}
}

// consistent compares every index of the gateway with every other.
func (g *gate) consistent() error {
	var errs []error
	known := map[*Session]bool{}
	for _, l := range g.loops {
		done := make(chan struct{})
		if !l.call(func() { errs = append(errs, l.consistent(known)...); close(done) }) {
			continue
		}
		<-done
	}
	return errors.Join(errs...)
}

// consistent runs on the loop, which alone knows its sessions' states.
func (l *loop) consistent(known map[*Session]bool) (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	open := 0
	free := map[int32]bool{}
	for i := l.free; i > 0 && !free[int32(i)-1]; i = l.slots[i-1].word {
		free[int32(i)-1] = true
	}
	if len(free)+l.open != len(l.slots) {
		wrong("loop %d has %d slots, of them %d free and %d in use", l.index, len(l.slots), len(free), l.open)
	}
	fds := map[int]bool{}
	for fd := range l.slots {
		c, greet := &l.slots[fd], l.greets[int32(fd)]
		if greet == nil && c.session == nil {
			if c.gen != 0 || !free[int32(fd)] {
				wrong("slot %d is empty and has generation %d, in the free list %v", fd, c.gen, free[int32(fd)])
			}
			continue
		}
		open++
		if s := c.session; s != nil {
			switch {
			case greet != nil, int(s.slot) != fd, fds[int(s.fd)], s.tag().Gen != c.gen, c.gen == 0, s.loop != l, s.state == closed, known[s]:
				wrong("slot %d: session %+v", fd, s)
			case s.reminder == 0 || s.reminder > l.sec+wheelSize:
				wrong("slot %d: the next reminder is at %d, now is %d", fd, s.reminder, l.sec)
			case s.out != nil && len(s.out.queue) > 2000:
				wrong("slot %d: %d frames in the outbox", fd, len(s.out.queue))
			}
			known[s], fds[int(s.fd)] = true, true
			if s.shard != nil {
				errs = append(errs, s.shard.hub.holds(s)...)
			}
		} else if int(greet.tag.Slot) != fd || greet.tag.Gen != c.gen || fds[greet.fd] {
			wrong("slot %d: greeting %+v", fd, greet)
		}
	}
	if open != l.open {
		wrong("loop %d counts %d sockets and has %d", l.index, l.open, open)
	}
	if l.cork.session != nil || len(l.cork.buf)+len(l.cork.frames) > 0 {
		wrong("loop %d: something is left in the cork", l.index)
	}
	return errs
}

// holds checks where a session stands, on its loop.
func (h *hub) holds(s *Session) (errs []error) {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	count := 0
	for other := h.users[maphash.String(h.seed, s.user)]; other != nil; other = other.next {
		if other == s {
			count++
		}
	}
	if want := s.state < closing; count > 1 || count == 1 != want || s.live != (s.state == live) {
		wrong("%s in state %d: in its user's list %d times, live %v", s.user, s.state, count, s.live)
	}
	for _, g := range s.groups() {
		if _, member := h.groups[g][s]; member != (s.state < closing) {
			wrong("%s in state %d: in group %s %v", s.user, s.state, g, member)
		}
	}
	return errs
}

// empty tells that nobody is left anywhere.
func (g *gate) empty() error {
	for _, l := range g.loops {
		n := make(chan int, 1)
		if l.call(func() { n <- l.open }) && <-n > 0 {
			return errors.New("sockets are open")
		}
	}
	sh := g.shard0()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := len(sh.hub.users) + len(sh.hub.groups); n > 0 {
		return fmt.Errorf("%d users and %d groups are in the hub", len(sh.hub.users), len(sh.hub.groups))
	}
	if n := g.metric("tidings_sessions"); n != 0 {
		return fmt.Errorf("the gauge says %v sessions", n)
	}
	return nil
}

// stressed is a gateway whose every limit is near.
func (h *house) stressed() *gate {
	return h.gate(func(c *Config) {
		c.SlowTimeout, c.Heartbeat, c.HandshakeTimeout = 2*time.Second, 2*time.Second, 2*time.Second
		c.Queue, c.ConnectionsPerUser, c.TailBytes, c.ReplayWaiting = 4, 3, 300_000, 10
	})
}

// Connecting, closing from both sides, resets, slow readers, catching up and deliveries at once: every index says the same at
// any time, and nothing at the end.
func TestStress(t *testing.T) {
	h := newHouse(t, 1)
	g := h.stressed()
	before := descriptors(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	c := &crowd{g: g}
	c.come(ctx, 24)
	c.visits.Go(func() { h.talk(ctx) })
	for ctx.Err() == nil {
		if err := g.consistent(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.visits.Wait()
	eventually(t, "everything is closed", g.empty)
	if err := g.consistent(); err != nil {
		t.Error(err)
	}
	eventually(t, "no descriptor is left", func() error {
		if now := descriptors(t); now > before {
			return fmt.Errorf("%d descriptors are open, %d were before", now, before)
		}
		return nil
	})
	if c.done < 100 {
		t.Errorf("%d visits: this is no stress", c.done)
	}
	t.Logf("%d visits", c.done)
	for _, name := range []string{
		"tidings_resets_total", "tidings_sessions_slow_total", "tidings_replay_scans_total", "tidings_closes_total",
		"tidings_handshakes_refused_total", "tidings_notifications_sent_total",
	} {
		t.Logf("%s %v", name, g.metric(name))
	}
}

// A gateway that leaves in the midst of all that leaves nothing behind, and in time.
func TestLeavingUnderStress(t *testing.T) {
	before := descriptors(t)
	h := newHouse(t, 1)
	house := descriptors(t)
	g := h.stressed()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &crowd{g: g}
	c.come(ctx, 24)
	c.visits.Go(func() { h.talk(ctx) })
	eventually(t, "it is under way", func() error {
		if n := g.metric("tidings_notifications_sent_total"); n < 100 {
			return fmt.Errorf("%v notifications", n)
		}
		return nil
	})
	start := time.Now()
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 12*time.Second {
		t.Errorf("it took %v", d)
	}
	if n := g.metric("tidings_sessions"); n != 0 {
		t.Errorf("the gauge says %v sessions", n)
	}
	if _, err := net.DialTimeout("tcp", g.Addr().String(), time.Second); err == nil {
		t.Error("it still listens")
	}
	cancel()
	c.visits.Wait()
	eventually(t, "no descriptor is left", func() error {
		if now := descriptors(t); now > house {
			return fmt.Errorf("%d descriptors are open, %d were before (%d without NATS)", now, house, before)
		}
		return nil
	})
}

// descriptors counts the open sockets and pollers of this process.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(100)
		for _, name := range names {
			if to, err := os.Readlink("/proc/self/fd/" + name); err == nil && (to[0] == 's' || to[0] == 'a') { // socket:, anon_inode:
				n++
			}
		}
		if errors.Is(err, io.EOF) {
			return n
		}
	}
}
