//go:build unix && (!linux || tidings_poll)

package netpoll

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Poller is poll(2), for systems without epoll: a laptop, not production. It costs a thread that is blocked in the call, and
// time in proportion to all descriptors each time something happens to one. Build with the tag tidings_poll to try it on Linux.
//
// Wait belongs to one goroutine; the other methods may be called by any.
type Poller struct {
	wakeR, wakeW int
	woken        atomic.Bool
	one          [1]byte

	// Guarded by mu.
	mu       sync.Mutex
	fds      map[int]watched
	changed  bool
	deadline time.Time

	// Owned by Wait.
	list []unix.PollFd
	tags []Tag
	read [16]byte
}

type watched struct {
	tag    Tag
	events int16
}

// New makes a Poller with nothing to watch.
func New() (*Poller, error) {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	for _, fd := range p {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, errors.Join(fmt.Errorf("pipe: %w", err), unix.Close(p[0]), unix.Close(p[1]))
		}
	}
	return &Poller{wakeR: p[0], wakeW: p[1], fds: map[int]watched{}, changed: true}, nil
}

// Close ends the Poller. The descriptors in it stay open, and nobody may be in Wait.
func (p *Poller) Close() error { return errors.Join(unix.Close(p.wakeR), unix.Close(p.wakeW)) }

// Add watches fd for input and hang-up, level-triggered: what is not read is reported again.
func (p *Poller) Add(fd int, t Tag) error {
	p.set(fd, watched{t, unix.POLLIN})
	return nil
}

// AddListener watches a listening socket that several Pollers share. A connection wakes all of them here.
func (p *Poller) AddListener(fd int, t Tag) error { return p.Add(fd, t) }

// Watch sets what fd is watched for. A descriptor watched for neither still reports a hang-up.
func (p *Poller) Watch(fd int, t Tag, input, output bool) error {
	w := watched{tag: t}
	if input {
		w.events |= unix.POLLIN
	}
	if output {
		w.events |= unix.POLLOUT
	}
	p.set(fd, w)
	return nil
}

func (p *Poller) set(fd int, w watched) {
	p.mu.Lock()
	p.fds[fd], p.changed = w, true
	p.mu.Unlock()
	p.Wake()
}

// Forget is called before fd is closed.
func (p *Poller) Forget(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.fds, fd)
	p.changed = true
}

// Remove stops watching fd, which stays open.
func (p *Poller) Remove(fd int) error {
	p.Forget(fd)
	return nil
}

// SetDeadline makes Wait return at t even if nothing happened, until a later deadline is set.
func (p *Poller) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

// Wait returns what happened since, in dst's storage from its beginning. It returns nothing, and no error, after Wake
// and at the deadline.
func (p *Poller) Wait(dst []Event) ([]Event, error) {
	dst = dst[:0]
	n, err := unix.Poll(p.prepare())
	if err != nil && err != unix.EINTR {
		return dst, fmt.Errorf("poll: %w", err)
	}
	for i := range p.list {
		if n <= 0 {
			break
		}
		f := &p.list[i]
		if f.Revents == 0 {
			continue
		}
		n--
		if int(f.Fd) == p.wakeR {
			p.drainWake()
			continue
		}
		dst = append(dst, Event{
			Tag:      p.tags[i],
			Readable: f.Revents&(unix.POLLIN|unix.POLLHUP) != 0,
			Writable: f.Revents&unix.POLLOUT != 0,
			Hangup:   f.Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0,
		})
	}
	return dst, nil
}

// prepare gives what poll is called with.
func (p *Poller) prepare() ([]unix.PollFd, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed {
		p.changed = false
		p.list, p.tags = append(p.list[:0], unix.PollFd{Fd: int32(p.wakeR), Events: unix.POLLIN}), append(p.tags[:0], Tag{})
		for fd, w := range p.fds {
			p.list, p.tags = append(p.list, unix.PollFd{Fd: int32(fd), Events: w.events}), append(p.tags, w.tag)
		}
	}
	if p.deadline.IsZero() {
		return p.list, -1
	}
	left := time.Until(p.deadline)
	return p.list, int(max(0, left+time.Millisecond-1) / time.Millisecond)
}

// Wake makes Wait return, now or the next time it is called. Many calls before that cost one system call.
func (p *Poller) Wake() {
	if !p.woken.Swap(true) {
		unix.Write(p.wakeW, p.one[:]) // EAGAIN would mean that it is readable already
	}
}

func (p *Poller) drainWake() {
	unix.Read(p.wakeR, p.read[:])
	p.woken.Store(false)
}
