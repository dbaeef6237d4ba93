//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

const (
	gateways  = 3
	fanouts   = 2
	servers   = 3
	heartbeat = 3 * time.Second
	spread    = 8 * time.Second // over which a gateway that leaves gives its tabs away
	page      = "http://page.example"
	secret    = "a secret of thirty-two bytes and more, for the chaos suite"
)

// suite is the whole world: the processes, the tabs, and what happens.
type suite struct {
	t        *testing.T
	random   *rand.Rand
	world    *world
	frames   *frames
	balancer *balancer
	tabs     []*tab
	cable    cable
	disks    error // why NATS has no small disks; nil: it has

	nodes   []*house.Node
	js      jetstream.JetStream
	flow    *flow
	common  house.Settings
	fanouts []*house.Tidings
	rules   string

	// What the tabs see.
	begun  atomic.Int64
	woken  chan struct{} // closed: the deaf tabs read again
	faults [faultKinds]atomic.Int64
	notes  *notes
	slow   slowest

	rows []*row
}

func newSuite(t *testing.T, r *rand.Rand) *suite {
	s := &suite{t: t, random: r, world: newWorld(*people, r), woken: make(chan struct{}), notes: newNotes(), rules: filepath.Join(t.TempDir(), "rules.yaml")}
	s.frames = newFrames(s.world)
	if err := os.WriteFile(s.rules, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cable = newCable(t, programs)
	s.nodes = programs.ServersAt(t, s.cable.nats(), s.stores())
	s.js = house.Connect(t, house.URLs(s.nodes))
	s.common = house.Settings{
		"NATS_URL": house.URLs(s.nodes), "AUTH_HMAC_SECRET": secret, "LOG_MAX_BYTES": strconv.Itoa(logBytes()), "REPLICAS": strconv.Itoa(servers),
	}
	for i := range fanouts {
		s.fanouts = append(s.fanouts, nil)
		s.startFanout(i)
	}
	s.balancer = &balancer{}
	for i := range gateways {
		s.balancer.gates = append(s.balancer.gates, s.newGate(i))
		s.startGateway(i)
	}
	for u := range s.world.users {
		for k := range tabsEach {
			s.tabs = append(s.tabs, s.newTab(u, k == 0 && deafTab(u)))
		}
	}
	return s
}

// minutes of events, at most.
func minutes() int { return int(max(bound, *lasts)/time.Minute) + 2 }

// logBytes holds all that can happen: nothing is to be forgotten here.
func logBytes() int { return (32 + 8*minutes()) << 20 }

// stores are the directories of the NATS servers, each on a disk of its own where that is permitted.
func (s *suite) stores() (list []string) {
	for range servers {
		dir := ""
		if s.disks == nil {
			dir, s.disks = house.SmallDisk(s.t, 2*logBytes()>>20+200)
		}
		if s.disks != nil {
			if os.Getenv("CI") != "" {
				s.t.Fatal(s.disks)
			}
			dir = s.t.TempDir()
		}
		list = append(list, dir)
	}
	return list
}

func (s *suite) startFanout(i int) {
	s.fanouts[i] = programs.Start(s.t, fmt.Sprintf("fanout-%d", i), s.common.With(house.Settings{"ROLES": "fanout", "RULES": s.rules})).Ready()
}

// newGate is a gateway that is not started yet. The first one has a way to NATS that can be cut.
func (s *suite) newGate(i int) *gate {
	host, urls, p := "127.0.0.1", house.URLs(s.nodes), programs
	if i == 0 {
		host, urls, p = s.cable.gateway(), s.cable.urls(urls), s.cable.programs()
	}
	ports := house.FreePorts(s.t, 2)
	g := &gate{
		index: i, name: fmt.Sprintf("gateway-%d", i), address: fmt.Sprintf("%s:%d", host, ports[0]), admin: fmt.Sprintf("%s:%d", host, ports[1]),
		programs: p, handshakes: &rates{began: time.Now()},
	}
	g.settings = s.common.With(house.Settings{
		"ROLES": "gateway", "ORIGINS": page, "NATS_URL": urls, "LISTEN": g.address, "ADMIN_LISTEN": g.admin, "HEARTBEAT": heartbeat.String(), "FEED_TIMEOUT": "4s",
		"QUEUE": "16", "TAIL_BYTES": strconv.Itoa(8 << 20), "TAIL_RECORDS": "5000",
		"DRAIN_DELAY": "1s", "DRAIN_WINDOW": spread.String(), "GRACE_PERIOD": "20s",
	})
	return g
}

func (s *suite) startGateway(i int) {
	g := s.balancer.gates[i]
	g.process = g.programs.Start(s.t, g.name, g.settings).Ready()
}

func (s *suite) newTab(u int, deaf bool) *tab {
	claims := jwt.MapClaims{"sub": s.world.users[u].id, "groups": s.groups(u), "exp": time.Now().Add(24 * time.Hour).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		s.t.Fatal(err)
	}
	b := &tab{
		s: s, deaf: deaf, header: http.Header{"Authorization": {"Bearer " + token}, "Origin": {page}},
		random: rand.New(rand.NewPCG(*seed, uint64(len(s.tabs)+1))),
	}
	b.user, b.report = int32(u), func(f fault, text string) {
		s.faults[f].Add(1)
		s.notes.fault(fmt.Sprintf("a tab of %s (deaf %v): %v: %s", s.world.users[u].id, deaf, f, text))
	}
	return b
}

func (s *suite) groups(u int) (list []string) {
	for _, t := range s.world.users[u].teams {
		list = append(list, teamName(t))
	}
	return list
}

// live opens the tabs, lets events flow while do is done, and judges.
func (s *suite) live(ctx context.Context, do func()) {
	living, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	all.Go(func() { s.balancer.probe(living) })
	for i, b := range s.tabs {
		all.Go(func() {
			pauseFor(living, time.Duration(i)*time.Second/2000) // two thousand a second
			b.live(living)
		})
	}
	s.await(ctx, house.Patience, "every tab is welcomed", func() error { return short(int(s.begun.Load()), len(s.tabs)) })
	s.flow = startFlow(ctx, s.js, s.world, *perSec)
	do()
	if err := s.flow.end(); err != nil {
		s.t.Error(err)
	}
	s.settle(ctx, &row{name: "the end"}, 0, s.world.count())
	s.wake(ctx)
	end()
	all.Wait()
	s.judge()
}

// await polls until f returns nil. It is false, and the test has failed, when that takes too long.
func (s *suite) await(ctx context.Context, patience time.Duration, what string, f func() error) bool {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; pauseFor(ctx, 20*time.Millisecond) {
		err := f()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			s.t.Errorf("the time of the suite is over: %s: %v", what, err)
			return false
		}
		if time.Now().After(deadline) {
			s.t.Errorf("not within %v: %s: %v", patience, what, err)
			return false
		}
	}
}

func short(got, want int) error {
	if got != want {
		return fmt.Errorf("%d of %d", got, want)
	}
	return nil
}

// reading is the number of tabs that read.
func (s *suite) reading() (n int) {
	for _, u := range s.world.users {
		n += int(u.awake)
	}
	return n
}

// open is how many of them are connected and welcomed.
func (s *suite) open() (n int) {
	for _, g := range s.balancer.gates {
		n += int(g.sessions.Load())
	}
	return n
}

// allOpen waits until every tab that reads is connected.
func (s *suite) allOpen(ctx context.Context) {
	s.t.Helper()
	s.await(ctx, house.Patience, "every tab that reads is connected", func() error { return short(s.open(), s.reading()) })
}

// arrived notes that a tab got an event that it was to have.
func (s *suite) arrived(b *tab, e *event) {
	b.count.Add(1)
	if b.deaf {
		return
	}
	now := time.Now().UnixNano()
	s.slow.take(e, b, time.Duration(now-e.tried.Load()))
	for before := e.last.Load(); before < now && !e.last.CompareAndSwap(before, now); before = e.last.Load() {
	}
	e.got.Add(1)
}

// refused notes why a gateway did not take a tab.
func (s *suite) refused(ctx context.Context, err error) {
	var status *wsclient.Refused
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &status):
		s.notes.add(fmt.Sprintf("refused with %d", status.Status))
	case strings.Contains(err.Error(), "connection refused"):
		s.notes.add("connection refused")
	default:
		s.notes.add("no answer")
	}
}
