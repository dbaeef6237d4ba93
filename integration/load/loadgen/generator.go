//go:build linux

package loadgen

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// generator is one process's tabs: one goroutine, one epoll.
type generator struct {
	// Fixed at creation.
	cfg       Config
	handshake *handshake
	to        unix.Sockaddr
	loopback  bool
	poller    *poller
	commands  <-chan command // closed when the parent has gone
	answer    func(Report) error

	// Owned by run.
	tally
	tabs    []tab // by descriptor
	gen     uint32
	buf     []byte
	pong    []byte
	begun   int      // tabs that were begun, without those that were dropped
	away    []away   // dropped tabs, the next to come back last
	turned  []turned // those that are told to come later
	opening int      // of these, the ones that are neither open nor failed
	order   *order   // to open tabs; nil: none
}

// away is a tab that was dropped and may come back.
type away struct {
	user   int32
	cursor cursor
}

// turned is a tab that the server has told to come later. It counts as begun.
type turned struct {
	away
	at time.Time
}

// order is an open command at work.
type order struct {
	tabs     int
	rate     int // per second, of this process
	atOnce   int // handshakes
	began    time.Time
	from     int // tabs begun before it
	deadline time.Time
}

const (
	openTick   = 2 * time.Millisecond
	noRate     = 1 << 30
	maxOpening = 64 // handshakes at once, where the command does not say: below every listen queue
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
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &generator{
		cfg: cfg, handshake: h, to: to, loopback: loopback, poller: p, commands: commands, answer: answer,
		buf: make([]byte, 64<<10),
	}, nil
}

// run serves until the parent has gone, and closes every tab.
func (g *generator) run() error {
	defer g.closeAll()
	for {
		rest := time.Duration(-1)
		if g.order != nil {
			rest = openTick
		}
		events, err := g.poller.wait(rest)
		if err != nil {
			return err
		}
		for i := range events {
			g.event(&events[i])
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
		g.order = &order{tabs: c.Tabs, rate: g.cfg.Rate / g.cfg.Of, atOnce: maxOpening, began: now, from: g.begun, deadline: now.Add(c.Within)}
		if c.AtOnce > 0 {
			g.order.rate, g.order.atOnce = noRate, c.AtOnce
		}
		return nil
	case "drop":
		g.drop()
		return g.answer(g.report)
	case "reset":
		g.forget()
		for fd := range g.tabs {
			g.tabs[fd].deliveries = 0
		}
		return g.answer(g.report)
	case "report":
		r := g.report
		if !c.Light {
			r.Ways, r.Tabs = g.histogram(), g.deliveriesOfTabs()
		}
		return g.answer(r)
	}
	return fmt.Errorf("unknown command %q", c.Do)
}

// drop closes every tab at once, without a word, as a network that fails does. They come back with what they had seen.
func (g *generator) drop() {
	for fd := range g.tabs {
		if t := &g.tabs[fd]; t.state == opened {
			g.away = append(g.away, away{t.user, t.cursor})
			g.tabs[fd] = tab{}
			reset(fd)
			g.report.Open--
			g.begun--
		}
	}
}

func (g *generator) deliveriesOfTabs() map[int]int {
	m := map[int]int{}
	for fd := range g.tabs {
		if t := &g.tabs[fd]; t.state == opened {
			m[int(t.deliveries)]++
		}
	}
	return m
}

// work goes on with opening tabs, at the rate that was asked for, and answers when the last one is open.
func (g *generator) work() error {
	o := g.order
	if o == nil {
		return nil
	}
	g.recall()
	due := o.from + 1 + int(time.Since(o.began).Seconds()*float64(o.rate))
	for g.begun < min(o.tabs, due) && g.opening < o.atOnce {
		g.begin()
	}
	late := time.Now().After(o.deadline)
	if g.opening+len(g.turned) > 0 && !late || g.begun < o.tabs && g.report.Failed == 0 && !late {
		return nil
	}
	if late && g.report.Open < o.tabs {
		g.report.Failed += o.tabs - g.report.Open - g.report.Failed
		if g.report.Error == "" {
			g.report.Error = "they were not open in time"
		}
	}
	g.order = nil
	return g.answer(g.report)
}

// recall lets those come whose time it is.
func (g *generator) recall() {
	now := time.Now()
	g.turned = slices.DeleteFunc(g.turned, func(t turned) bool {
		due := !now.Before(t.at)
		if due {
			g.away = append(g.away, t.away)
			g.begun--
		}
		return due
	})
}

// begin starts the next tab: one that was dropped, or a new one. Users are dealt out over the processes in turn.
func (g *generator) begin() {
	who := away{user: int32(g.cfg.From + (g.cfg.Index+g.begun*g.cfg.Of)%g.cfg.Users)}
	if last := len(g.away) - 1; last >= 0 {
		who, g.away = g.away[last], g.away[:last]
	}
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
	t := &g.tabs[fd]
	*t = tab{gen: g.gen, state: connecting, user: who.user, cursor: who.cursor}
	g.opening++
	// On loopback the connection is made when connect returns, and nothing need be waited for.
	if err = g.greet(fd, t); err == nil || errors.Is(err, unix.EAGAIN) {
		err = g.poller.add(fd, g.gen, t.state == connecting)
	}
	if err != nil {
		g.fail(fd, err)
	}
}

func (g *generator) closeAll() {
	for fd := range g.tabs {
		if g.tabs[fd].state != absent {
			reset(fd)
		}
	}
}
