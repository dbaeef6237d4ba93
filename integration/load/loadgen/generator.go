//go:build linux

package loadgen

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tidings/gateway/netpoll"
)

// generator is one process's tabs: one goroutine, one epoll.
type generator struct {
	// Fixed at creation.
	cfg       Config
	handshake *handshake
	to        unix.Sockaddr
	loopback  bool
	poller    *netpoll.Poller
	commands  <-chan command // closed when the parent has gone
	answer    func(Report) error

	// Owned by run.
	tabs    []tab // by descriptor
	gen     uint32
	events  []netpoll.Event
	buf     []byte
	pong    []byte
	report  Report
	ways    [40 << bucketBits]int64 // Report.Ways: an array, since it is written to for every delivery
	begun   int                     // tabs that were begun
	opening int                     // of these, the ones that are neither open nor failed
	order   *order                  // to open tabs; nil: none
}

// order is an open command at work.
type order struct {
	tabs     int
	began    time.Time
	from     int // tabs begun before it
	deadline time.Time
}

const (
	openTick   = 2 * time.Millisecond
	maxOpening = 64 // handshakes at once: below every listen queue
)

func newGenerator(cfg Config, commands <-chan command, answer func(Report) error) (*generator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h, err := newHandshake(&cfg)
	if err != nil {
		return nil, err
	}
	to, loopback, err := resolve(h.host)
	if err != nil {
		return nil, err
	}
	p, err := netpoll.New()
	if err != nil {
		return nil, err
	}
	return &generator{
		cfg: cfg, handshake: h, to: to, loopback: loopback, poller: p, commands: commands, answer: answer,
		events: make([]netpoll.Event, 0, 256), buf: make([]byte, 64<<10),
	}, nil
}

// run serves until the parent has gone, and closes every tab.
func (g *generator) run() error {
	defer g.closeAll()
	for {
		if g.order != nil {
			g.poller.SetDeadline(time.Now().Add(openTick))
		}
		var err error
		if g.events, err = g.poller.Wait(g.events); err != nil {
			return err
		}
		for i := range g.events {
			g.event(&g.events[i])
		}
		select {
		case c, ok := <-g.commands:
			if !ok {
				return nil
			}
			if err := g.do(c); err != nil {
				return err
			}
		default:
		}
		if err := g.work(); err != nil {
			return err
		}
	}
}

func (g *generator) do(c command) error {
	switch c.Do {
	case "open":
		now := time.Now()
		g.order = &order{tabs: c.Tabs, began: now, from: g.begun, deadline: now.Add(c.Within)}
		return nil
	case "reset":
		g.report = Report{Open: g.report.Open, Failed: g.report.Failed, Error: g.report.Error}
		clear(g.ways[:])
		return g.answer(g.report)
	case "report":
		r := g.report
		if !c.Light {
			r.Ways = g.histogram()
		}
		return g.answer(r)
	}
	return fmt.Errorf("unknown command %q", c.Do)
}

func (g *generator) histogram() Histogram {
	h := Histogram{}
	for b, n := range g.ways {
		if n > 0 {
			h[b] = n
		}
	}
	return h
}

// work goes on with opening tabs, at the rate that was asked for, and answers when the last one is open.
func (g *generator) work() error {
	o := g.order
	if o == nil {
		return nil
	}
	due := o.from + 1 + int(time.Since(o.began).Seconds()*float64(g.cfg.Rate)/float64(g.cfg.Of))
	for g.begun < min(o.tabs, due) && g.opening < maxOpening {
		g.begin()
	}
	late := time.Now().After(o.deadline)
	if g.opening > 0 && !late || g.begun < o.tabs && g.report.Failed == 0 && !late {
		return nil
	}
	if late && g.report.Open < o.tabs {
		g.report.Failed += o.tabs - g.report.Open - g.report.Failed
		if g.report.Error == "" {
			g.report.Error = "they were not open in time"
		}
	}
	g.order = nil
	g.poller.SetDeadline(time.Time{})
	return g.answer(g.report)
}

// begin starts the next tab. Users are dealt out over the processes in turn.
func (g *generator) begin() {
	i := g.cfg.Index + g.begun*g.cfg.Of
	var from *unix.SockaddrInet4
	if g.loopback {
		from = source(g.cfg.Index, g.begun)
	}
	g.begun++
	fd, err := connect(g.to, from)
	if err != nil {
		g.failed(err)
		return
	}
	if fd >= len(g.tabs) {
		g.tabs = append(g.tabs, make([]tab, fd+1-len(g.tabs)+256)...)
	}
	g.gen++
	g.tabs[fd] = tab{gen: g.gen, state: connecting, user: int32(i % g.cfg.Users)}
	g.opening++
	if err = g.poller.Add(fd, netpoll.Tag{Slot: int32(fd), Gen: g.gen}); err == nil {
		err = g.poller.Watch(fd, netpoll.Tag{Slot: int32(fd), Gen: g.gen}, true, true)
	}
	if err != nil {
		g.fail(fd, err)
	}
}

func (g *generator) closeAll() {
	for fd := range g.tabs {
		if g.tabs[fd].state != absent {
			unix.Close(fd)
		}
	}
}
