package integration

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
	"tidings/integration/house"
)

const examples = "../gateway/client/examples"

// TestExamples: the example applications of the client, in development mode and on an origin of their own.
func TestExamples(t *testing.T) {
	chromium := browser.New(t)
	for name, run := range map[string]func(*testing.T, context.Context, *house.Tidings, string){
		"vue/dist": hookInBrowser, "react/dist": hookInBrowser, "plain": plainClientInBrowser,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(examples, name)
			if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("%v, and CI is set: run `npm ci && npm run build && npm run examples` in gateway/client", err)
				}
				t.Skipf("%v: run `npm ci && npm run build && npm run examples` in gateway/client to run this test", err)
			}
			app := httptest.NewServer(http.FileServer(http.Dir(dir)))
			t.Cleanup(app.Close)
			d := programs.Start(t, "all", house.Settings{"ORIGINS": app.URL}).Ready()
			run(t, browser.Tab(t, chromium), d, app.URL)
		})
	}
}

// hookInBrowser is Vue's composable or React's hook: the same page, the same marks in it.
func hookInBrowser(t *testing.T, page context.Context, d *house.Tidings, app string) {
	js := house.Connect(t, d.NATS())
	gate := url.QueryEscape("ws://" + d.Address("browsers") + "/ws")
	browser.Do(t, page, chromedp.Navigate(app+"/?user=alice&gateway="+gate))
	browser.Wait(t, page, `document.getElementById('state')?.textContent === 'open'`)
	bell := func(want string) {
		t.Helper()
		browser.Wait(t, page, `document.getElementById('bell').textContent.trim() === 'Notifications of alice (`+want+`)'`)
	}
	bell("0")
	for _, id := range ids("e", 1, 3) { // nobody shows them yet
		tell(t, js, id, "alice")
	}
	tell(t, js, "for-bob", "bob")
	bell("3")
	click(t, page, "#bell")
	waitShown(t, page, "#inbox i", ids("e", 1, 3)...)
	click(t, page, "#inbox li:first-child")
	bell("2")
	waitShown(t, page, "#inbox .read i", "e-3")
	click(t, page, "#bell") // unmounted
	browser.Wait(t, page, `!document.getElementById('inbox')`)
	tell(t, js, "e-4", "alice")
	bell("3")
	click(t, page, "#bell")
	waitShown(t, page, "#inbox i", ids("e", 1, 4)...)
	click(t, page, "#all")
	bell("0")
	waitShown(t, page, "#inbox .read i", ids("e", 1, 4)...)
	if got := d.Metric("tidings_sessions"); got != 1 {
		t.Errorf("%v connections of three components, want 1", got)
	}
	bob := browser.Tab(t, page)
	browser.Do(t, bob, chromedp.Navigate(app+"/?user=bob&gateway="+gate))
	browser.Wait(t, bob, `document.getElementById('state')?.textContent === 'open'`)
	tell(t, js, "e-5", "alice", "bob")
	bell("1")
	browser.Wait(t, bob, `document.getElementById('bell').textContent.includes('(1)')`)
}

func plainClientInBrowser(t *testing.T, page context.Context, d *house.Tidings, app string) {
	js := house.Connect(t, d.NATS())
	browser.Do(t, page, chromedp.Navigate(app+"/?user=alice&gateway="+d.Address("browsers")))
	browser.Wait(t, page, `document.getElementById('state').textContent === 'open'`)
	tell(t, js, "e-1", "alice")
	browser.Wait(t, page, `document.querySelectorAll('#inbox li').length === 1`)
	browser.Do(t, page, chromedp.Reload())
	browser.Wait(t, page, `document.getElementById('state').textContent === 'open'`)
	tell(t, js, "e-2", "alice")
	browser.Wait(t, page, `document.querySelectorAll('#inbox li').length === 1`)
	if got := shown(t, page, "#inbox li"); !slices.Equal(got, []string{"test.1.told e-2"}) {
		t.Errorf("after a reload the page shows %q, want only what is new", got)
	}
}
