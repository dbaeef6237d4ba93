package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
)

const (
	longAbsence = 600 // events: longer than any tail, which holds about 300 records
	theEnd      = "the-end"
	standstill  = 30 * time.Second // longer than any scan or election
)

// exactness is one run of TestExactness.
type exactness struct {
	t      *testing.T
	random *rand.Rand
	world  *world
	gates  *gates
	tabs   []*tab
	shards int

	nodes   []*house.Node
	js      jetstream.JetStream
	fanouts []*house.Tidings
	common  house.Settings // of all processes

	told   map[string]float64 // metrics of all gateways, the killed ones too
	strife []string           // what was done to whom

	// What the tabs see.
	begun       atomic.Int64 // tabs that had their first welcome
	unreachable atomic.Int64
	heartbeats  atomic.Int64
	frames      *frames
	final       chan struct{}
	lastArrival atomic.Int64 // Unix nanoseconds
	worst       atomic.Int64 // the longest time in which nothing arrived anywhere
}

// TestExactness: many tabs of many users hop between two gateways, some slowly, some after long absences, while events go out and
// gateways, fanouts and NATS servers are killed and come back. Whatever happens, each tab gets every event that concerns
// its user: once, in the order of its aggregate, and in the same order as every other tab.
func TestExactness(t *testing.T) {
	for _, c := range []struct {
		name                   string
		nodes, shards, fanouts int
		strife                 []func(*exactness)
	}{
		{"one NATS server", 1, 1, 1, []func(*exactness){
			killGateway(0), killFanout(0), killLeader("LOG_0"), freezeGateway(0), killGateway(1),
		}},
		{"a cluster", 3, 1, 1, []func(*exactness){
			killGateway(0), killFanout(0), killLeader("LOG_0"), killGateway(1), killFanout(0), killLeader("EVENTS"),
		}},
		{"a cluster, four shards, two fanouts", 3, 4, 2, []func(*exactness){
			killFanout(0), killLeader("LOG_2"), freezeFanout(1), killGateway(1), killLeader("LOG_0"), freezeGateway(0), killFanout(1),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newExactness(t, c.nodes, c.shards, c.fanouts)
			x.play(c.strife)
			x.judge()
		})
	}
}

func newExactness(t *testing.T, nodes, shards, fanouts int) *exactness {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	x := &exactness{
		t: t, random: r, world: newWorld(r), gates: &gates{list: make([]*house.Tidings, 2)}, shards: shards,
		nodes: programs.Servers(t, nodes), told: map[string]float64{}, final: make(chan struct{}),
	}
	x.frames = newFrames(x.world)
	x.js = house.Connect(t, house.URLs(x.nodes))
	x.common = house.Settings{"NATS_URL": house.URLs(x.nodes), "SHARDS": strconv.Itoa(shards)}
	for i := range fanouts {
		x.fanouts = append(x.fanouts, nil)
		x.startFanout(i)
	}
	for i := range x.gates.list {
		x.startGateway(i)
	}
	for i := range x.world.users {
		for k := range 2 + i%2 {
			x.tabs = append(x.tabs, &tab{
				x: x, user: i, number: k, slow: i%6 == 1 && k == 1, late: k == 2 && i%4 == 1, seen: map[int]bool{},
				random: rand.New(rand.NewPCG(seed, uint64(i*10+k+1))),
			})
		}
	}
	return x
}

func (x *exactness) startFanout(i int) {
	x.fanouts[i] = programs.Start(x.t, fmt.Sprintf("fanout-%d", i), x.common.With(house.Settings{
		"ROLES": "fanout", "RULES": rulesFile(x.t, worldRules),
	})).Ready()
}

func (x *exactness) startGateway(i int) {
	x.gates.set(i, programs.Start(x.t, fmt.Sprintf("gateway-%d", i), x.common.With(house.Settings{
		"ROLES": "gateway", "TAIL_RECORDS": "200", "TAIL_BYTES": "262144", "QUEUE": "6", "HEARTBEAT": "1s",
	})).Ready())
}

// play lets everything happen, and returns when each tab has seen the end.
func (x *exactness) play(strife []func(*exactness)) {
	// Nothing in here takes so long; with less the test would hang where something is lost.
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	var tabs sync.WaitGroup
	defer tabs.Wait()
	early := int64(0)
	for _, b := range x.tabs {
		if !b.late {
			early++
		}
		tabs.Go(func() {
			if b.late {
				x.reach(ctx, 200+b.random.Int64N(fewest/2))
			}
			b.live(ctx)
		})
	}
	house.Eventually(x.t, house.Patience, "every tab is welcomed", func() error {
		if got := x.begun.Load(); got != early {
			return fmt.Errorf("%d of %d are", got, early)
		}
		return nil
	})
	published := make(chan error, 1)
	x.lastArrival.Store(time.Now().UnixNano())
	go func() { published <- x.world.publish(ctx, x.js) }()
	for _, strike := range strife {
		x.pass(200)
		strike(x)
	}
	x.world.enough()
	if err := <-published; err != nil {
		x.t.Error(err)
	}
	close(x.final) // the tabs come, and stay
	x.settle(ctx, cancel)
}

// settle waits until every tab that was there from the beginning has as many events as concern it, and then tells everyone
// that this is the end. What should not be there comes before that.
func (x *exactness) settle(ctx context.Context, giveUp func()) {
	want := make([]int64, users)
	for _, e := range x.world.happened() {
		for u := range e.audience {
			want[u]++
		}
	}
	lacks := func(b *tab) bool { return !b.late && b.count.Load() < want[b.user] }
	moved, before := time.Now(), int64(-1)
	for ctx.Err() == nil && slices.ContainsFunc(x.tabs, lacks) {
		pauseFor(ctx, 50*time.Millisecond)
		if now := x.arrivals(); now != before {
			moved, before = time.Now(), now
		} else if time.Since(moved) > standstill {
			break // something is lost; judge says what
		}
	}
	end := &event{form: "everyone", data: eventData{Users: []string{}, Teams: []string{}, Except: []string{}}}
	m := end.message()
	m.Subject = "events.thing.end.everyone"
	m.Header.Set("Nats-Msg-Id", theEnd)
	m.Header.Set("ce-id", theEnd)
	if _, err := x.js.PublishMsg(context.Background(), m); err != nil {
		x.t.Errorf("publish the end: %v", err)
		giveUp()
	}
}

// arrivals is how many events all tabs have got.
func (x *exactness) arrivals() (n int64) {
	for _, b := range x.tabs {
		n += b.count.Load()
	}
	return n
}

// reach waits until so many events are published.
func (x *exactness) reach(ctx context.Context, n int64) {
	for x.world.published.Load() < n && ctx.Err() == nil {
		pauseFor(ctx, 10*time.Millisecond)
	}
}

// over tells that everything has happened: tabs stay until they have all of it.
func (x *exactness) over() bool {
	select {
	case <-x.final:
		return true
	default:
		return false
	}
}

// arrived notes that a tab got a notification.
func (x *exactness) arrived() {
	now := time.Now().UnixNano()
	gap := now - x.lastArrival.Swap(now)
	if gap > x.worst.Load() {
		x.worst.Store(gap) // two at once cannot both be the longest silence
	}
}
