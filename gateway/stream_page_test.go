package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
)

// frontDoor is a proxy with one address in front of gateways that come and go.
func frontDoor(t *testing.T) (address string, to func(*gate)) {
	var target atomic.Pointer[url.URL]
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target.Load()); r.Out.Host = r.In.Host },
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(s.Close)
	return s.URL, func(g *gate) { target.Store(&url.URL{Scheme: "http", Host: g.Addr().String()}) }
}

// The EventSource of a real browser, on a page of another origin, with its cookie, behind a proxy, over three gateways: everything
// comes once and in order, although the page does nothing for it. And fetch with a token, which asks beforehand whether it may.
func TestEventSource(t *testing.T) {
	chromium := browser.New(t)
	h := newHouse(t, 1)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "tidings_token", Value: token(t, nil), Path: "/"})
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>page</title>`)
	}))
	t.Cleanup(page.Close)
	gates := make([]*gate, 3)
	for i := range gates {
		gates[i] = h.guarded(func(c *Config) { c.Origins = []string{page.URL} })
	}
	door, to := frontDoor(t)
	to(gates[0])

	tab := browser.Tab(t, chromium)
	browser.Do(t, tab, chromedp.Navigate(page.URL))
	browser.Eval[any](t, tab, fmt.Sprintf(`(() => {
		window.got = []; window.closes = []; window.welcomes = []; window.ids = true;
		window.source = new EventSource(%q, { withCredentials: true });
		source.onmessage = (e) => {
			const frame = JSON.parse(e.data);
			if (frame.cursor && e.lastEventId !== frame.cursor) ids = false;
			if (frame.type === 'welcome') welcomes.push(frame.resume);
			if (frame.type === 'notification') got.push(frame.data);
		};
		source.addEventListener('close', (e) => closes.push(JSON.parse(e.data).code));
	})()`, door+"/sse"))
	browser.Wait(t, tab, `welcomes.length === 1`)
	told := 0
	tell := func(n int) {
		for range n {
			h.say("alice", told)
			told++
		}
	}
	tell(10)
	browser.Wait(t, tab, `got.length === 10`)
	for i, g := range gates[:2] {
		if err := g.stop(); err != nil { // 1012, and the EventSource comes back after the reconnection time that it was given
			t.Fatal(err)
		}
		tell(10) // while it is away, or not yet
		to(gates[i+1])
		browser.Wait(t, tab, fmt.Sprintf(`welcomes.length === %d`, i+2))
		tell(10)
		browser.Wait(t, tab, fmt.Sprintf(`got.length === %d`, told))
	}
	want := make([]int, told)
	for i := range want {
		want[i] = i
	}
	if got := browser.Eval[string](t, tab, `JSON.stringify([got, closes, welcomes, ids])`); got != asJSON(t, []any{
		want, []int{1012, 1012}, []string{"none", "complete", "complete"}, true,
	}) {
		t.Errorf("got %s", got)
	}
	browser.Eval[any](t, tab, `source.close()`)
	gates[2].settled(t)

	browser.Eval[any](t, tab, fmt.Sprintf(`(async () => {
		window.said = '';
		const stop = new AbortController();
		window.stop = () => stop.abort();
		const answer = await fetch(%q, { headers: { Authorization: 'Bearer %s', 'Last-Event-ID': '%s' }, signal: stop.signal });
		const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
		(async () => { for (;;) { const { value, done } = await reader.read(); if (done) break; said += value; } })().catch(() => {});
	})()`, "http://"+gates[2].Addr().String()+"/sse", token(t, nil), "0.lost.1"))
	browser.Wait(t, tab, `said.includes('"resume":"reset"')`)
	tell(1)
	browser.Wait(t, tab, fmt.Sprintf(`said.endsWith('"data":%d}\n\n')`, told-1))
	browser.Eval[any](t, tab, `stop()`)
	gates[2].settled(t)
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
