package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"tidings/fanout/wire"
	"tidings/integration/house"
)

// gatewayMetrics are what the gateways must tell over all their lives: the name of a metric, and perhaps the value of a label.
var gatewayMetrics = []string{"tidings_resets_total", "tidings_resumes_total reset", "tidings_feed_bad_records_total", "tidings_replay_scans_total",
	"tidings_sessions_slow_total", "tidings_heartbeats_sent_total"}

// ask adds what a gateway tells to what those before it told.
func (x *exactness) ask(d *house.Tidings) {
	for _, metric := range gatewayMetrics {
		f := strings.Fields(metric)
		x.told[metric] += d.Metric(f[0], f[1:]...)
	}
}

// killGateway kills a gateway; it comes back when a hundred events have gone out without it.
func killGateway(i int) func(*exactness) {
	return func(x *exactness) {
		old := x.gates.get(i)
		x.ask(old)
		x.struck("kill -9 of "+old.Name, func() {
			old.Kill()
			x.wantKilled(old.Process)
			x.pass(100)
			x.startGateway(i)
		})
	}
}

// killFanout kills a fanout, in the middle of some events, and starts it again.
func killFanout(i int) func(*exactness) {
	return func(x *exactness) {
		old := x.fanouts[i]
		x.struck("kill -9 of "+old.Name, func() {
			x.busy()
			old.Kill()
			x.wantKilled(old.Process)
			x.pass(100)
			x.startFanout(i)
		})
	}
}

// killLeader kills the NATS server that leads a stream. In a cluster another one takes its place.
func killLeader(stream string) func(*exactness) {
	return func(x *exactness) {
		old := house.Leader(x.t, x.js, x.nodes, stream)
		x.struck("kill -9 of "+old.Name+", which leads "+stream, func() {
			killed := old.Process
			old.Kill()
			x.wantKilled(killed)
			if len(x.nodes) > 1 {
				if next := house.Leader(x.t, x.js, x.nodes, stream); next == old {
					x.t.Errorf("%s still leads %s after its end", old.Name, stream)
				}
				x.pass(200)
			}
			old.Start(x.t)
			old.Ready(x.t)
			house.Whole(x.t, x.js, "EVENTS")
			for s := range x.shards {
				house.Whole(x.t, x.js, wire.Stream(s))
			}
		})
	}
}

// freezeFanout stops a fanout for so long that another one takes its events over, and lets it go on in the middle of what it did.
func freezeFanout(i int) func(*exactness) {
	return func(x *exactness) {
		x.struck("SIGSTOP of "+x.fanouts[i].Name, func() {
			x.busy()
			x.freeze(x.fanouts[i].Process, 12*time.Second)
		})
	}
}

// freezeGateway stops a gateway, and lets it go on.
func freezeGateway(i int) func(*exactness) {
	return func(x *exactness) {
		x.struck("SIGSTOP of "+x.gates.get(i).Name, func() { x.freeze(x.gates.get(i).Process, 4*time.Second) })
	}
}

func (x *exactness) freeze(p *house.Process, d time.Duration) {
	p.Signal(syscall.SIGSTOP)
	pauseFor(context.Background(), d)
	p.Signal(syscall.SIGCONT)
}

// busy gives the fanouts more than they can handle at once, so that they are in the middle of many events.
func (x *exactness) busy() {
	x.world.hurry(400)
	x.pass(150)
}

// pass waits until n more events are published. While NATS elects a leader that takes some seconds.
func (x *exactness) pass(n int64) {
	x.t.Helper()
	until := x.world.published.Load() + n
	house.Eventually(x.t, house.Patience, "events are published", func() error {
		if got := x.world.published.Load(); got < until {
			return fmt.Errorf("%d, want %d", got, until)
		}
		return nil
	})
}

func (x *exactness) wantKilled(p *house.Process) {
	if !p.WasKilled() {
		x.t.Errorf("%s was not killed, it had ended by itself", p.Name)
	}
}

// struck notes what was done, when, and for how long.
func (x *exactness) struck(what string, do func()) {
	at := x.world.published.Load()
	began := time.Now()
	do()
	x.strife = append(x.strife, fmt.Sprintf("%s at event %d, whole again after %.1f s and %d events",
		what, at, time.Since(began).Seconds(), x.world.published.Load()-at))
}
