package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/gateway"
	"tidings/integration/browser"
	"tidings/integration/house"
)

const sharedSecret = "0123456789abcdef0123456789abcdef"

// sharing is an application with users and tabs, on an origin of its own, before two gateways behind one address.
type sharing struct {
	t        *testing.T
	users    []string
	chromium context.Context
	tabs     []*sharedTab
	app      *httptest.Server
	lifetime atomic.Int64 // of the tokens that the application gives
	gateways []*house.Tidings
	balancer *balancer
	js       jetstream.JetStream
	told     []string // every event so far; all are for both users

	hanging, goOn chan struct{} // of a page that waits
}

// sharedTab is a tab of a user, which shows what was told since it was opened.
type sharedTab struct {
	user string
	page context.Context
	from int // of sharing.told
}

func (b *sharedTab) String() string { return fmt.Sprintf("%s's tab from event %d on", b.user, b.from) }

func newSharing(t *testing.T) *sharing {
	s := &sharing{t: t, users: []string{"alice", "bob"}, hanging: make(chan struct{}), goOn: make(chan struct{})}
	s.lifetime.Store(int64(time.Hour))
	s.balancer = newBalancer(t)
	s.app = httptest.NewServer(s)
	t.Cleanup(s.app.Close)
	node := programs.Servers(t, 1)[0]
	settings := house.Settings{"NATS_URL": node.URL, "AUTH_HMAC_SECRET": sharedSecret, "ORIGINS": s.app.URL, "HEARTBEAT": "5s"}
	programs.Start(t, "fanout", settings.With(house.Settings{"ROLES": "fanout"})).Ready()
	for _, name := range []string{"gateway-0", "gateway-1"} {
		s.gateways = append(s.gateways, programs.Start(t, name, settings.With(house.Settings{"ROLES": "gateway"})).Ready())
	}
	s.balancer.to(s.gateways[0].Address("browsers"))
	s.js = house.Connect(t, node.URL)
	s.chromium = browser.New(t)
	for range 3 {
		for _, user := range s.users {
			s.open(user)
		}
	}
	return s
}

// ServeHTTP is the application.
func (s *sharing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, sharedPage, s.balancer.address)
	case "/token":
		cfg := gateway.AuthConfig{HMACSecret: sharedSecret}
		token, err := cfg.Mint(r.URL.Query().Get("user"), nil, time.Duration(s.lifetime.Load()), time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, token)
	case "/hang":
		s.hanging <- struct{}{}
		select {
		case <-s.goOn:
		case <-r.Context().Done(): // the test ends before
		}
	default:
		http.NotFound(w, r)
	}
}

// sharedPage keeps what it was shown over a reload, as the client keeps its cursor.
const sharedPage = `<!doctype html><title>shared</title><link rel="icon" href="data:,"><ol id="list"></ol><script type="module">
import { createClient } from 'http://%[1]s/client.js';
const user = new URLSearchParams(location.search).get('user');
window.got = JSON.parse(sessionStorage.getItem('got') ?? '[]');
addEventListener('pagehide', () => sessionStorage.setItem('got', JSON.stringify(got)));
window.errors = [];
window.longest = 0;
new PerformanceObserver((l) => l.getEntries().forEach((e) => (longest = Math.max(longest, e.duration)))).observe({ entryTypes: ['longtask'] });
let first = true;
window.client = createClient({ url: 'ws://%[1]s/ws', user, sharedTabs: true, async getToken({ refused }) {
  if (window.noRenewal && !refused) throw new Error('no renewal, on purpose');
  return (await fetch('/token?user=' + user)).text();
} });
client.on('notification', (n) => {
  got.push(n.id);
  const item = document.createElement('li');
  item.textContent = n.kind + ' ' + n.id;
  list.prepend(item);
  if (list.children.length > 50) list.lastChild.remove();
});
client.on('state', (s) => (window.shared = s.shared));
client.on('error', (e) => errors.push(String(e)));
client.connect();
</script>`

// open opens a tab, and returns when it is connected.
func (s *sharing) open(user string) {
	s.t.Helper()
	b := &sharedTab{user: user, page: browser.Tab(s.t, s.chromium), from: len(s.told)}
	browser.Do(s.t, b.page, chromedp.Navigate(s.app.URL+"/?user="+user))
	browser.Wait(s.t, b.page, `window.client?.state === 'open' && client.cursor`)
	s.tabs = append(s.tabs, b)
}

func (s *sharing) forget(b *sharedTab) { s.tabs = s.others(b) }

func (s *sharing) others(b *sharedTab) []*sharedTab {
	return slices.DeleteFunc(slices.Clone(s.tabs), func(other *sharedTab) bool { return other == b })
}

// leader is the tab of a user that has the socket.
func (s *sharing) leader(user string) *sharedTab { return s.find(user, `window.shared === false`) }

func (s *sharing) follower(user string) *sharedTab { return s.find(user, `window.shared === true`) }

func (s *sharing) find(user, expression string) (found *sharedTab) {
	s.t.Helper()
	house.Eventually(s.t, house.Patience, "a tab of "+user+" with "+expression, func() error {
		for _, b := range s.tabs {
			if b.user == user && browser.Eval[bool](s.t, b.page, expression) {
				found = b
				return nil
			}
		}
		return fmt.Errorf("none of %d tabs", len(s.tabs))
	})
	return found
}

func (s *sharing) next() string {
	s.told = append(s.told, fmt.Sprintf("e-%d", len(s.told)))
	return s.told[len(s.told)-1]
}

func (s *sharing) tellSome(n int) {
	s.t.Helper()
	for range n {
		tell(s.t, s.js, s.next(), s.users...)
	}
}

// tellAll has n events happen, and waits until every tab has everything.
func (s *sharing) tellAll(n int) {
	s.t.Helper()
	s.tellSome(n)
	s.wantAll(s.tabs...)
}

func (s *sharing) wantAll(tabs ...*sharedTab) {
	s.t.Helper()
	for _, b := range tabs {
		want := s.told[b.from:]
		deadline := time.Now().Add(2 * house.Patience) // six pages and the race detector on two cores
		for time.Now().Before(deadline) && browser.Eval[int](s.t, b.page, `got.length`) < len(want) {
			time.Sleep(20 * time.Millisecond)
		}
		got := browser.Eval[[]string](s.t, b.page, `got`)
		if !slices.Equal(got, want) {
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			s.t.Errorf("%s shows %d events, want %d; they differ at %d: %q, want %q; its errors: %q", b, len(got), len(want), i,
				got[i:min(i+5, len(got))], want[i:min(i+5, len(want))], browser.Eval[[]string](s.t, b.page, `errors`))
		}
	}
}

// wantSockets waits until the gateways have so many sessions of a user's tabs. Both users have the same number.
func (s *sharing) wantSockets(user string, n float64) {
	s.t.Helper()
	house.Eventually(s.t, house.Patience, "sessions of "+user, func() error {
		sum := 0.0
		for _, d := range s.gateways {
			if !d.Ended() {
				sum += d.Metric("tidings_sessions")
			}
		}
		if want := n * float64(len(s.users)); sum != want {
			return fmt.Errorf("%v of all users, want %v", sum, want)
		}
		return nil
	})
}

func (s *sharing) emulateOffline(b *sharedTab, yes bool) {
	s.t.Helper()
	browser.Do(s.t, b.page, call(network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: yes, DownloadThroughput: -1, UploadThroughput: -1}))
}

// call is a command of the DevTools protocol as an action.
func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, c, params)
		return err
	})
}

func callIn[P, R any](ctx context.Context, c cdp.Command[P, R], params P) error {
	return chromedp.Do(ctx, call(c, params))
}

// balancer is the one address of several gateways: every new connection goes to the one that it was pointed to last.
type balancer struct {
	address string

	mu     sync.Mutex // guards the following
	target string
	off    bool
	conns  map[net.Conn]struct{}
}

func newBalancer(t *testing.T) *balancer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{address: l.Addr().String(), conns: map[net.Conn]struct{}{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.cut(true)
		wg.Wait()
	})
	return b
}

func (b *balancer) to(target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target = target
}

// cut ends all connections and refuses new ones, or takes them again.
func (b *balancer) cut(off bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off = off
	if off {
		for c := range b.conns {
			c.Close()
		}
	}
}

func (b *balancer) add(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.off {
		b.conns[c] = struct{}{}
	}
	return !b.off
}

func (b *balancer) serve(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	target := b.target
	b.mu.Unlock()
	d, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	defer d.Close()
	if !b.add(c) || !b.add(d) {
		return
	}
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, c)
		delete(b.conns, d)
	}()
	var wg sync.WaitGroup
	pass := func(to, from net.Conn) {
		io.Copy(to, from) // an error is the end of one of them
		to.Close()
		from.Close()
	}
	wg.Go(func() { pass(c, d) })
	wg.Go(func() { pass(d, c) })
	wg.Wait()
}
