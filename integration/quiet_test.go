package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
	"tidings/integration/house"
)

// listening is run in a page before its own scripts: it writes down what a page should never say.
const listening = `
window.complaints = [];
addEventListener('securitypolicyviolation', (e) => complaints.push('policy: ' + e.effectiveDirective + ' ' + e.blockedURI));
addEventListener('error', (e) => complaints.push('error: ' + e.message), true);
addEventListener('unhandledrejection', (e) => complaints.push('rejection: ' + e.reason));
for (const how of ['error', 'warn']) console[how] = (...a) => complaints.push('console: ' + a.join(' '));`

// TestPagesAreQuiet: used from the first click to the last, over a house that is killed and comes back, the start page breaks no policy
// and writes nothing to the console; nor does the plain one.
func TestPagesAreQuiet(t *testing.T) {
	settings := house.Settings{"NATS_STORE": t.TempDir()}
	d := programs.Start(t, "before", settings).Ready()
	settings = settings.With(house.Settings{"LISTEN": d.Address("browsers"), "NATS_LISTEN": d.Address("nats"), "ADMIN_LISTEN": d.Address("admin")})
	tab := browser.New(t)
	browser.Do(t, tab, call(devtools.AddScriptToEvaluateOnNewDocument, devtools.AddScriptToEvaluateOnNewDocumentParams{Source: listening}))
	quiet := func(when string) {
		t.Helper()
		for _, c := range browser.Eval[[]string](t, tab, `complaints`) {
			t.Errorf("%s: %s", when, c)
		}
	}

	browser.Do(t, tab, chromedp.Navigate("http://"+d.Address("browsers")+"/"))
	quiet("nobody is there")
	click(t, tab, `#nobody a[href="/?user=alice"]`)
	browser.Wait(t, tab, `document.getElementById('state')?.dataset.state === 'open'`)
	for _, example := range []string{"One user", "Several users", "Header", "CloudEvent", "CloudEvent, binary"} {
		send(t, tab, example)
		browser.Wait(t, tab, `document.getElementById('sent').textContent.includes('Here after')`)
	}
	for _, css := range []string{"#bell", "#bell-list li:last-child button", "#who", "#who", "#help-open", "#help-close", "#list .done", "#list summary", "#read-all", "#wire-pause", "#wire-clear"} {
		click(t, tab, css)
	}
	quiet("after a walk")
	d.Kill()
	waitState(t, tab, "waiting")
	send(t, tab, "One user")
	browser.Wait(t, tab, `document.getElementById('sent').textContent.startsWith('The gateway does not answer')`)
	d = programs.Start(t, "after", settings).Ready()
	waitState(t, tab, "open")
	click(t, tab, "#drop")
	waitState(t, tab, "idle")
	click(t, tab, "#drop")
	waitState(t, tab, "open")
	click(t, tab, "#clear")
	quiet("after the house was killed")

	browser.Do(t, tab, chromedp.Navigate("http://"+d.Address("browsers")+"/plain?user=alice"))
	browser.Wait(t, tab, `document.getElementById('health').textContent.startsWith('SUCCESS')`)
	quiet("the plain page")
}

// TestLightOverHTTP: behind a proxy that lets no WebSocket through the start page says that it goes over HTTP, and shows the same.
func TestLightOverHTTP(t *testing.T) {
	d := programs.Start(t, "all", nil).Ready()
	target := &url.URL{Scheme: "http", Host: d.Address("browsers")}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "this network is for pages", http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	tab := browser.New(t)
	browser.Do(t, tab, chromedp.Navigate(proxy.URL+"/?user=alice"))
	browser.Wait(t, tab, `document.getElementById('state-text').textContent === 'Open over HTTP'`)
	browser.Wait(t, tab, `document.getElementById('transport').textContent === 'server-sent events, over HTTP'`)
	send(t, tab, "One user")
	waitShown(t, tab, "#list .title", "Your order 1042 is on its way.")
	browser.Wait(t, tab, `document.querySelector('#wire .in code').textContent.includes('"type":"notification"')`)
}
