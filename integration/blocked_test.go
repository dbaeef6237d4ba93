package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"tidings/gateway"
	"tidings/integration/browser"
	"tidings/integration/house"
)

// TestWebSocketBlocked: a proxy lets no WebSocket through. A page of another origin goes over to HTTP by itself and says so; it shows everything
// once and in order through tokens that end, which a stream cannot renew, and the death of a gateway.
func TestWebSocketBlocked(t *testing.T) {
	var lifetime atomic.Int64 // of the tokens
	var target atomic.Pointer[url.URL]
	to := func(d *house.Tidings) { target.Store(&url.URL{Scheme: "http", Host: d.Address("browsers")}) }
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target.Load()) }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "this network is for pages", http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			cfg := gateway.AuthConfig{HMACSecret: sharedSecret}
			token, err := cfg.Mint("alice", nil, time.Duration(lifetime.Load()), time.Now())
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			io.WriteString(w, token)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, blockedPage, proxy.URL)
	}))
	t.Cleanup(app.Close)

	node := programs.Servers(t, 1)[0]
	settings := house.Settings{"NATS_URL": node.URL, "AUTH_HMAC_SECRET": sharedSecret, "ORIGINS": app.URL, "HEARTBEAT": "5s"}
	programs.Start(t, "fanout", settings.With(house.Settings{"ROLES": "fanout"})).Ready()
	first := programs.Start(t, "gateway-0", settings.With(house.Settings{"ROLES": "gateway"})).Ready()
	second := programs.Start(t, "gateway-1", settings.With(house.Settings{"ROLES": "gateway"})).Ready()
	to(first)
	js := house.Connect(t, node.URL)
	var told []string
	tellSome := func(n int) {
		for range n {
			told = append(told, fmt.Sprintf("e-%d", len(told)))
			tell(t, js, told[len(told)-1], "alice")
		}
	}

	lifetime.Store(int64(3 * time.Second))
	tab := browser.New(t)
	browser.Do(t, tab, chromedp.Navigate(app.URL))
	browser.Wait(t, tab, `window.client?.state === 'open' && client.cursor`)
	if by := browser.Eval[string](t, tab, `client.transport`); by != "sse" {
		t.Fatalf("the page goes by %q, want sse", by)
	}
	tellSome(10)
	opened := browser.Eval[int](t, tab, `opened`)
	browser.Wait(t, tab, fmt.Sprintf(`opened >= %d`, opened+2)) // two tokens ended
	tellSome(10)
	to(second)
	first.Kill()
	tellSome(10)
	browser.Wait(t, tab, fmt.Sprintf(`got.length >= %d`, len(told)))
	tellSome(1)
	browser.Wait(t, tab, fmt.Sprintf(`got.length > %d`, len(told)-1))
	if got := browser.Eval[[]string](t, tab, `got`); !slices.Equal(got, told) {
		t.Errorf("the page shows %q, want %q", got, told)
	}
	if n := second.Metric("tidings_sessions"); n != 1 {
		t.Errorf("the second gateway has %v sessions, want 1", n)
	}
}

const blockedPage = `<!doctype html><title>blocked</title><link rel="icon" href="data:,"><script type="module">
import { createClient } from '%[1]s/client.js';
window.got = [];
window.opened = 0;
window.client = createClient({ url: '%[1]s/ws', user: 'alice', getToken: async () => (await fetch('/token')).text() });
client.on('notification', (n) => got.push(n.id));
client.on('state', (s) => { if (s.state === 'open') opened++; });
client.connect();
</script>`
