package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// turns sends new connections to the gateways by turns, as load balancers do.
type turns struct {
	mu       sync.Mutex
	gateways []*house.Tidings
	turn     int
}

func (b *turns) next() *house.Tidings {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	return b.gateways[b.turn%len(b.gateways)]
}

func (b *turns) set(change func([]*house.Tidings) []*house.Tidings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gateways = change(slices.Clone(b.gateways))
}

// visitor is a tab that goes where it is told, for as long as the context lasts.
type visitor struct {
	user   string
	cursor string
	to     *turns
	moved  *atomic.Int64
	fault  func(format string, args ...any)
}

func (v *visitor) run(ctx context.Context) {
	for visits := 0; ctx.Err() == nil; visits++ {
		d := v.to.next()
		wait := v.visit(ctx, d)
		v.moved.Add(1)
		pauseFor(ctx, wait)
	}
}

// visit stays until the connection ends, and gives the time after which the tab is to come back.
func (v *visitor) visit(ctx context.Context, d *house.Tidings) (after time.Duration) {
	url := "ws://" + d.Address("browsers") + "/ws?user=" + v.user
	if v.cursor != "" {
		url += "&cursor=" + v.cursor
	}
	conn, err := wsclient.Dial(ctx, url, wsclient.Options{Protocols: []string{"tidings.v1"}})
	if err != nil {
		return 100 * time.Millisecond // it has ended, and nobody knew yet
	}
	defer conn.Hangup()
	stop := context.AfterFunc(ctx, conn.Hangup)
	defer stop()
	told := false
	for {
		f, err := conn.Next(house.Patience)
		switch f := f.(type) {
		case wsclient.Welcome:
			if want := map[bool]string{true: "complete", false: "none"}[v.cursor != ""]; f.Resume != want {
				v.fault("%s: welcomed with %s, want %s", v.user, f.Resume, want)
			}
			v.cursor = f.Cursor
		case wsclient.Heartbeat:
			v.cursor = f.Cursor
		case wsclient.Draining:
			told, after = true, f.RetryAfter
		}
		if err != nil && !wsclient.Timeout(err) {
			if code := wsclient.CloseCode(err); ctx.Err() == nil && (code != 1012 || !told) {
				v.fault("%s: the connection ended with %v, told before: %v", v.user, err, told)
			}
			return after
		}
	}
}

// TestRolloutAndBalance: after all gateways were replaced one by one, as Kubernetes does it, the loads differ; `tidings balance` makes them
// equal within 10 %. The browsers are told when to come back each time.
func TestRolloutAndBalance(t *testing.T) {
	nats := programs.Servers(t, 1)
	settings := house.Settings{"NATS_URL": house.URLs(nats), "DRAIN_WINDOW": "2s", "HEARTBEAT": "5s"}
	programs.Start(t, "fanout", settings.With(house.Settings{"ROLES": "fanout"})).Ready()
	gateway := func(name string) *house.Tidings {
		return programs.Start(t, name, settings.With(house.Settings{"ROLES": "gateway"})).Ready()
	}
	to := &turns{}
	for i := range 3 {
		d := gateway(fmt.Sprintf("old-%d", i))
		to.set(func(l []*house.Tidings) []*house.Tidings { return append(l, d) })
	}

	const tabs = 240
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var moved atomic.Int64
	var faults faults
	for n := range tabs {
		v := &visitor{user: fmt.Sprintf("user-%d", n), to: to, moved: &moved, fault: faults.add}
		all.Go(func() { v.run(ctx) })
	}
	defer all.Wait()
	defer cancel()
	loads := func() (list []int, err error) {
		sum := 0
		for _, d := range to.gateways {
			n := int(d.Metric("tidings_sessions"))
			list = append(list, n)
			sum += n
		}
		if sum != tabs {
			return list, fmt.Errorf("%v: %d of %d tabs are there", list, sum, tabs)
		}
		return list, nil
	}
	settled := func(what string) (list []int) {
		house.Eventually(t, house.Patience, what, func() (err error) { list, err = loads(); return err })
		return list
	}
	t.Logf("three gateways: %v", settled("all tabs are there"))

	for i, old := range slices.Clone(to.gateways) { // one more, then one less
		d := gateway(fmt.Sprintf("new-%d", i))
		to.set(func(l []*house.Tidings) []*house.Tidings {
			return append(slices.DeleteFunc(l, func(x *house.Tidings) bool { return x == old }), d)
		})
		if code := old.Terminate(house.Patience); code != 0 {
			t.Errorf("%s ended with %d", old.Name, code)
		}
	}
	uneven := settled("all tabs are there after the rollout")
	if slices.Max(uneven)-slices.Min(uneven) < tabs/3/5 {
		t.Fatalf("the loads are %v: nothing to balance", uneven)
	}
	before := moved.Load()
	c := programs.Command(t, house.Settings{"NATS_URL": house.URLs(nats)}, "", "balance", "--over", "2s")
	house.Eventually(t, house.Patience, "the loads are within 10 %", func() error {
		list, err := loads()
		mean := float64(tabs) / float64(len(list))
		for _, n := range list {
			if d := float64(n) - mean; err == nil && (d > mean/10 || d < -mean/10) {
				err = errors.New("too far apart")
			}
		}
		if err != nil {
			return fmt.Errorf("%v: %w; balance said %q", list, err, c.Stdout())
		}
		t.Logf("after the rollout: %v; balanced: %v, for which %d moved", uneven, list, moved.Load()-before)
		return nil
	})
	for _, f := range faults.list() {
		t.Error(f)
	}
}

// faults are what several goroutines found wrong.
type faults struct {
	mu  sync.Mutex
	all []string
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) < 10 {
		f.all = append(f.all, fmt.Sprintf(format, args...))
	}
}

func (f *faults) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}
