//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	"tidings/fanout/wire"
	"tidings/integration/house"
)

// faults are what the suite does, in this order.
var faults = []chaos{
	{"nothing", nothing, nil},
	{fmt.Sprintf("rolling restart of the gateways, each over %v", spread), rollSpread, &rollAtOnce},
	{killName, killGateways, nil},
	{"rolling restart of the fanouts", rollFanouts, nil},
	{"`kill -9` of each fanout", killFanouts, nil},
	{"rolling restart of the NATS servers", rollServers, nil},
	{"`kill -9` of each NATS server", killServers, nil},
	{fmt.Sprintf("a gateway frozen for %v", frozen), freezeGateway, nil},
	{fmt.Sprintf("a gateway cut off from NATS for %v", cutFor), cutGateway, nil},
	{fmt.Sprintf("all sessions dropped %d times, every %v", drops, dropEvery), dropAll, nil},
	{"the clock of a gateway an hour ahead, and back", jumpGateway, nil},
	{"the clock of a fanout an hour ahead, and back", jumpFanout, nil},
	{"the clock of a NATS server an hour ahead, and back", jumpServer, nil},
	{"the disk full under the NATS server that leads", fillDisk, nil},
}

const (
	killName  = "`kill -9` of each gateway"
	frozen    = 20 * time.Second
	cutFor    = 10 * time.Second
	drops     = 6
	dropEvery = 2 * time.Second
	jump      = time.Hour
	jumpFor   = 4 * time.Second
)

// nothing is what the others are compared with.
func nothing(ctx context.Context, _ *suite, _ *row) { pauseFor(ctx, 8*time.Second) }

// rollSpread leaves gateways behind that will leave at once: it is compared with that.
func rollSpread(ctx context.Context, s *suite, r *row) { s.roll(ctx, r, 0) }

var rollAtOnce = chaos{"rolling restart of the gateways, each at once", func(ctx context.Context, s *suite, r *row) { s.roll(ctx, r, spread) }, nil}

// roll restarts every gateway; the new ones have another window.
func (s *suite) roll(ctx context.Context, r *row, window time.Duration) {
	for i, g := range s.balancer.gates {
		s.balance(ctx)
		g.settings["DRAIN_WINDOW"] = window.String()
		s.aside(r, i, func() {
			if code := g.process.Terminate(house.Patience); code != 0 {
				s.t.Errorf("%s left with exit code %d: %s", g.name, code, g.process.Stderr())
			}
			s.startGateway(i)
			s.allOpen(ctx)
		})
	}
}

func killGateways(ctx context.Context, s *suite, r *row) {
	for i, g := range s.balancer.gates {
		s.balance(ctx)
		s.aside(r, i, func() {
			s.kill(g.process.Process)
			s.allOpen(ctx)
		})
		s.startGateway(i)
	}
}

func rollFanouts(_ context.Context, s *suite, _ *row) {
	for i, f := range s.fanouts {
		if code := f.Terminate(house.Patience); code != 0 {
			s.t.Errorf("%s left with exit code %d: %s", f.Name, code, f.Stderr())
		}
		s.startFanout(i)
	}
}

func killFanouts(ctx context.Context, s *suite, _ *row) {
	for i, f := range s.fanouts {
		s.kill(f.Process)
		s.pass(ctx, 100)
		s.startFanout(i)
	}
}

func rollServers(_ context.Context, s *suite, _ *row) {
	for _, n := range s.nodes {
		n.Terminate(house.Patience) // its exit code is NATS' affair
		s.restart(n)
	}
}

func killServers(ctx context.Context, s *suite, r *row) {
	for _, n := range s.nodes {
		if house.Leader(s.t, s.js, s.nodes, wire.Stream(0)) == n {
			r.remarks = append(r.remarks, n.Name+" led the log")
		}
		s.kill(n.Process)
		s.pass(ctx, 100)
		s.restart(n)
	}
}

// freezeGateway stops a gateway as a machine does that swaps. Its tabs judge by the silence, and go elsewhere.
func freezeGateway(ctx context.Context, s *suite, r *row) {
	g := s.balancer.gates[1]
	s.aside(r, g.index, func() {
		g.process.Signal(syscall.SIGSTOP)
		pauseFor(ctx, frozen)
		if n := g.sessions.Load(); n > 0 {
			s.t.Errorf("%d tabs still wait at a gateway that is frozen for %v", n, frozen)
		}
		g.process.Signal(syscall.SIGCONT)
		s.allOpen(ctx)
	})
}

// cutGateway pulls the cable between a gateway and NATS.
func cutGateway(ctx context.Context, s *suite, r *row) {
	g := s.balancer.gates[0]
	r.remarks = append(r.remarks, s.cable.kind())
	began := time.Now()
	s.aside(r, g.index, func() {
		s.cable.cut(true)
		if s.await(ctx, cutFor, g.name+" is not ready without NATS", func() error {
			if err := g.process.IsReady(); err != nil {
				return nil
			}
			return fmt.Errorf("it says that it is")
		}) {
			r.remarks = append(r.remarks, fmt.Sprintf("not ready after %.1f s", time.Since(began).Seconds()))
		}
		pauseFor(ctx, time.Until(began.Add(cutFor)))
		s.cable.cut(false)
		mended := time.Now()
		g.process.Ready()
		r.remarks = append(r.remarks, fmt.Sprintf("ready %.1f s after the cut was mended", time.Since(mended).Seconds()))
	})
}

// dropAll is a network that fails for everyone, again and again.
func dropAll(ctx context.Context, s *suite, _ *row) {
	for range drops {
		next := time.Now().Add(dropEvery)
		for _, b := range s.tabs {
			b.drop(nil, network)
		}
		pauseFor(ctx, time.Until(next))
	}
	s.allOpen(ctx)
}

// jumpGateway: meanwhile some tabs come to the gateway whose clock is wrong, with tokens that are good by either clock.
func jumpGateway(ctx context.Context, s *suite, r *row) {
	g := s.balancer.gates[2]
	s.clock(ctx, r, g.process.Process, func() {
		r.remarks = append(r.remarks, fmt.Sprintf("its own clock says %v ahead", ahead(s, g.process)))
		for i, b := range s.tabs {
			if i%3 == 0 {
				b.drop(g, network)
			}
		}
		s.allOpen(ctx)
	})
}

func jumpFanout(ctx context.Context, s *suite, r *row) {
	f := s.fanouts[1]
	s.clock(ctx, r, f.Process, func() { r.remarks = append(r.remarks, fmt.Sprintf("its own clock says %v ahead", ahead(s, f))) })
}

func jumpServer(ctx context.Context, s *suite, r *row) {
	n := house.Leader(s.t, s.js, s.nodes, wire.Stream(0))
	r.remarks = append(r.remarks, "it led the log")
	s.clock(ctx, r, n.Process, func() {})
}

// fillDisk leaves the server that leads the log no room at all for a while.
func fillDisk(ctx context.Context, s *suite, r *row) {
	if s.disks != nil {
		r.remarks = append(r.remarks, "not done: "+s.disks.Error())
		return
	}
	n := house.Leader(s.t, s.js, s.nodes, wire.Stream(0))
	remove := house.Fill(s.t, n.Store, 256<<10)
	began := time.Now()
	s.await(ctx, house.Patience, n.Name+" says that its disk is full", func() error {
		if !strings.Contains(n.Stderr(), "no space left on device") {
			return errors.New("it does not")
		}
		return nil
	})
	s.pass(ctx, 500)
	r.remarks = append(r.remarks, fmt.Sprintf("500 events later, after %.1f s, %s led", time.Since(began).Seconds(), house.Leader(s.t, s.js, s.nodes, wire.Stream(0)).Name))
	remove()
	n.Terminate(house.Patience) // a server whose disk was full begins anew
	s.restart(n)
}

func (s *suite) kill(p *house.Process) {
	p.Kill()
	if !p.WasKilled() {
		s.t.Errorf("%s was not killed, it had ended by itself", p.Name)
	}
}

// restart brings a NATS server back, and waits until the next may be taken away.
func (s *suite) restart(n *house.Node) {
	n.Start(s.t)
	n.Ready(s.t)
	for _, stream := range []string{"EVENTS", wire.Stream(0)} {
		house.Whole(s.t, s.js, stream)
	}
}

// pass waits until so many more events have happened.
func (s *suite) pass(ctx context.Context, n int32) {
	until := s.world.count() + n
	s.await(ctx, house.Patience, "events are published", func() error {
		if got := s.world.count(); got < until {
			return fmt.Errorf("%d, want %d", got, until)
		}
		return nil
	})
}

// clock puts the clock of a process ahead, does something meanwhile, and puts it right again.
func (s *suite) clock(ctx context.Context, r *row, p *house.Process, meanwhile func()) {
	err := p.ShiftClock(jump)
	if errors.Is(err, errors.ErrUnsupported) {
		r.remarks = append(r.remarks, "not done: "+err.Error())
		return
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	until := time.Now().Add(jumpFor)
	meanwhile()
	pauseFor(ctx, time.Until(until))
	if err := p.ShiftClock(0); err != nil {
		s.t.Error(err)
	}
	pauseFor(ctx, jumpFor/2)
}

// ahead is how far the clock of a process is ahead of ours, as it says in the header Date of an answer.
func ahead(s *suite, d *house.Tidings) time.Duration {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + d.Address("admin") + "/healthz")
	if err != nil {
		s.t.Error(err)
		return 0
	}
	answer.Body.Close()
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		s.t.Error(err)
	}
	d1 := time.Until(at).Round(time.Minute)
	if d1 != jump {
		s.t.Errorf("the clock of %s is %v ahead, want %v", d.Name, d1, jump)
	}
	return d1
}
