package integration

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/nats-io/nats.go"

	"tidings/integration/browser"
	"tidings/integration/house"
)

// TestSharedTabs: two users, three tabs each, one socket for each user. Whatever happens to tabs, network, tokens and gateways, every tab shows
// everything once and in order.
func TestSharedTabs(t *testing.T) {
	s := newSharing(t)
	s.tellAll(20)
	for _, user := range s.users {
		s.wantSockets(user, 1)
	}
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"the leading tab is closed", s.closeLeader},
		{"the leading tab crashes", s.crashLeader},
		{"the leading tab is frozen", s.freezeLeader},
		{"the leading tab hangs", s.hangLeader},
		{"tabs are loaded again", s.reload},
		{"offline and online", s.offline},
		{"kill -9 of the gateway, another takes over", s.killGateway},
		{"tokens expire", s.expire},
		{"10,000 at once", s.burst},
	} {
		began := time.Now()
		step.run()
		t.Logf("%s: %.1f s", step.name, time.Since(began).Seconds())
		if t.Failed() {
			t.Fatalf("after: %s", step.name)
		}
	}
}

func (s *sharing) closeLeader() {
	leader := s.leader("alice")
	s.tellAll(5)
	browser.Do(s.t, leader.page, call(devtools.Close, cdp.Empty{}))
	s.forget(leader)
	s.tellAll(5)
	s.open("alice")
}

func (s *sharing) crashLeader() {
	leader := s.leader("bob")
	s.tellSome(5)
	ctx, cancel := context.WithTimeout(leader.page, time.Second) // it does not answer
	defer cancel()
	_ = callIn(ctx, devtools.Crash, cdp.Empty{})
	s.forget(leader)
	s.tellAll(5)
	s.open("bob")
}

// freezeLeader has the browser put a tab to sleep, which it is told. When it wakes it has everything too.
func (s *sharing) freezeLeader() {
	leader := s.leader("alice")
	browser.Do(s.t, leader.page, call(devtools.SetWebLifecycleState, devtools.SetWebLifecycleStateParams{State: devtools.SetWebLifecycleStateStateFrozen}))
	s.tellSome(10)
	s.wantAll(s.others(leader)...)
	browser.Do(s.t, leader.page, call(devtools.SetWebLifecycleState, devtools.SetWebLifecycleStateParams{State: devtools.SetWebLifecycleStateStateActive}))
	s.tellAll(5)
	s.wantSockets("alice", 1)
}

// hangLeader has the others steal the lock of a tab whose script does not come to an end. When it does, the tab follows.
func (s *sharing) hangLeader() {
	leader := s.leader("bob")
	browser.Eval[any](s.t, leader.page, `setTimeout(() => {
		const r = new XMLHttpRequest();
		r.open('GET', '/hang', false); // the page does nothing until it is answered
		r.send();
	}, 0) && 0`)
	<-s.hanging
	s.tellSome(10)
	s.wantAll(s.others(leader)...)
	s.goOn <- struct{}{}
	s.tellAll(5)
	s.wantSockets("bob", 1)
}

func (s *sharing) reload() {
	for _, b := range []*sharedTab{s.leader("alice"), s.follower("bob"), s.follower("alice"), s.leader("bob")} {
		s.tellSome(3)
		browser.Do(s.t, b.page, call(devtools.Reload, devtools.ReloadParams{}))
		s.tellSome(3)
		browser.Wait(s.t, b.page, `window.client?.state === 'open'`)
	}
	s.tellAll(5)
}

func (s *sharing) offline() {
	for _, b := range s.tabs {
		s.emulateOffline(b, true)
	}
	s.balancer.cut(true)
	s.tellSome(10)
	for _, b := range s.tabs {
		browser.Wait(s.t, b.page, `client.state !== 'open'`)
	}
	s.balancer.cut(false)
	for _, b := range s.tabs {
		s.emulateOffline(b, false)
	}
	s.tellAll(5)
}

func (s *sharing) killGateway() {
	s.tellSome(10)
	s.gateways[0].Kill()
	s.balancer.to(s.gateways[1].Address("browsers"))
	s.tellAll(10)
}

// expire lives through several tokens on one connection, and then through one that could not be renewed.
func (s *sharing) expire() {
	unauthorized := func() float64 {
		return s.gateways[1].Metric("tidings_closes_total", "unauthorized")
	}
	before := unauthorized()
	s.lifetime.Store(int64(4 * time.Second))
	for _, b := range s.tabs {
		browser.Eval[any](s.t, b.page, `client.reconnect()`)
	}
	for range 8 {
		time.Sleep(time.Second) // the life of tokens is what is tested
		s.tellSome(2)
	}
	s.wantAll(s.tabs...)
	if got := unauthorized() - before; got != 0 {
		s.t.Errorf("%v connections were closed because of their token, want it renewed in time", got)
	}
	for _, b := range s.tabs {
		browser.Eval[any](s.t, b.page, `window.noRenewal = true`)
	}
	house.Eventually(s.t, house.Patience, "a token expires", func() error {
		if unauthorized() == before {
			return fmt.Errorf("no connection was closed")
		}
		return nil
	})
	s.lifetime.Store(int64(time.Hour))
	for _, b := range s.tabs {
		browser.Eval[any](s.t, b.page, `window.noRenewal = false`)
	}
	s.tellAll(5)
}

func (s *sharing) burst() {
	const n = 10_000
	for _, b := range s.tabs {
		browser.Eval[any](s.t, b.page, `window.longest = 0`)
	}
	for i := range n {
		id := s.next()
		m := nats.NewMsg("events.test.1.told")
		m.Header.Set(nats.MsgIdHdr, id)
		m.Data = []byte(`{"userIds":["alice","bob"]}`)
		if _, err := s.js.PublishMsgAsync(m); err != nil {
			s.t.Fatal(err)
		}
		if i%1000 == 999 { // more than 4,000 at once nats.go refuses
			<-s.js.PublishAsyncComplete()
		}
	}
	s.wantAll(s.tabs...)
	for _, b := range s.tabs {
		longest := browser.Eval[float64](s.t, b.page, `window.longest`)
		s.t.Logf("%s: longest task %.0f ms", b, longest)
		if longest >= 200 {
			s.t.Errorf("%s: a task of %.0f ms, want less than 200", b, longest)
		}
	}
}

// TestResetInBrowser: the log is shorter than what a tab missed. The tab is told so once, and goes on.
func TestResetInBrowser(t *testing.T) {
	d := programs.Start(t, "all", house.Settings{"LOG_MAX_BYTES": "1048576", "TAIL_BYTES": "65536", "HEARTBEAT": "1s"}).Ready()
	js := house.Connect(t, d.NATS())
	tab := browser.New(t)
	url := "http://" + d.Address("browsers")
	browser.Do(t, tab, call(devtools.Navigate, devtools.NavigateParams{URL: url + "/demo/icon.svg"})) // of the same origin, and nothing else
	browser.Eval[any](t, tab, `(async () => {
		const { createClient } = await import('/client.js');
		got = []; resets = [];
		client = createClient({ url: '/ws?user=alice', sharedTabs: true });
		client.on('notification', (n) => got.push(n.id));
		client.on('reset', (r) => resets.push(r.action));
		client.connect();
	})()`)
	browser.Wait(t, tab, `client.state === 'open'`)
	tell(t, js, "e-1", "alice")
	browser.Wait(t, tab, `got.length === 1`)
	browser.Eval[any](t, tab, `client.close()`)
	for _, id := range ids("e", 2, 300) {
		tellLong(t, js, id, 8192, "alice")
	}
	inLog(t, d, 300)
	browser.Eval[any](t, tab, `client.connect()`)
	browser.Wait(t, tab, `resets.length > 0`)
	tell(t, js, "e-301", "alice")
	browser.Wait(t, tab, `got.length > 1`)
	if got := browser.Eval[[]string](t, tab, `[...got, ...resets]`); !slices.Equal(got, []string{"e-1", "e-301", "reload"}) {
		t.Errorf("the page has %q, want e-1 and e-301 and one reset", got)
	}
}
