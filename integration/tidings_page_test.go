package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"tidings/integration/browser"
	"tidings/integration/house"
)

// hostile is what an event may call itself.
const hostile = `<img src=x onerror="document.title='owned'"> & "e-9"`

// TestTidingsPage: what an operator sees at /tidings, with a real Chromium at the real binary.
func TestTidingsPage(t *testing.T) {
	chromium := browser.New(t)
	d := programs.Start(t, "all", nil).Ready()
	tab := browser.Tab(t, chromium)
	noErrors(t, tab)
	alice := open(t, d, "alice", "")
	js := house.Connect(t, d.NATS())
	browser.Do(t, tab, chromedp.Navigate("http://"+d.Address("admin")+"/tidings"))
	browser.Wait(t, tab, `document.getElementById('light').dataset.state === 'good'`)

	t.Run("the plots move", func(t *testing.T) {
		path := `document.querySelector('[data-figure=events] .stroke-0').getAttribute('d')`
		browser.Wait(t, tab, path+`.length > 0`)
		before := browser.Eval[string](t, tab, path)
		for _, id := range ids("e", 1, 20) {
			tell(t, js, id, "alice", "bob")
		}
		alice.expect(ids("e", 1, 20)...)
		for figure, at := range map[string]string{"events": `line-0 strong`, "records": `line-0 strong`, "deliveries": `line-0 strong`} {
			browser.Wait(t, tab, fmt.Sprintf(`!/^0 \/s – 0 \/s/.test(document.querySelector('[data-figure=%s] .range').textContent) && document.querySelector('[data-figure=%[1]s] .%[2]s')`, figure, at))
		}
		browser.Wait(t, tab, path+` !== `+fmt.Sprintf("%q", before))
		browser.Wait(t, tab, `document.querySelector('[data-figure=sessions] strong').textContent === '1'`)
		browser.Wait(t, tab, `/ms|s$/.test(document.querySelector('[data-figure=p50] .range').textContent)`)
		browser.Wait(t, tab, `/Deliveries, the last 1 min\. notifications: now .*, between 0 \/s and /.test(document.querySelector('[data-figure=deliveries] svg').getAttribute('aria-label'))`)
	})
	t.Run("a reload keeps the history", func(t *testing.T) {
		browser.Do(t, tab, chromedp.Reload())
		browser.Wait(t, tab, `document.querySelector('[data-figure=deliveries] .range')?.textContent.startsWith('0 /s – ')`)
		if got := browser.Eval[string](t, tab, `document.querySelector('[data-figure=deliveries] .range').textContent`); strings.HasPrefix(got, "0 /s – 0 /s") {
			t.Errorf("got %q behind a reload, want what was before", got)
		}
	})
	t.Run("the search, by keyboard", func(t *testing.T) {
		browser.Eval[any](t, tab, `document.getElementById('event').focus()`)
		browser.Do(t, tab, chromedp.KeyEvent("e-1"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("alice"), chromedp.KeyEvent(kb.Enter))
		browser.Wait(t, tab, `document.querySelector('.conclusion')?.dataset.outcome === 'given'`)
		browser.Wait(t, tab, `document.querySelector('.steps [data-mark=yes]').textContent.includes('"e-1" is stored')`)
		if got := browser.Eval[string](t, tab, `location.search`); got != "?event=e-1&user=alice" {
			t.Errorf("got the address %q", got)
		}
		browser.Eval[any](t, tab, `document.getElementById('event').value = ''; document.getElementById('event').focus()`)
		browser.Do(t, tab, chromedp.KeyEvent(kb.Enter))
		browser.Wait(t, tab, `document.querySelector('.conclusion')?.textContent === 'alice has 1 session.'`)
		browser.Eval[any](t, tab, `document.getElementById('user').value = ''; document.getElementById('user').focus()`)
		browser.Do(t, tab, chromedp.KeyEvent(kb.Enter))
		browser.Wait(t, tab, `document.querySelector('.conclusion')?.textContent.startsWith('Name an event')`)
	})
	t.Run("a link holds a question", func(t *testing.T) {
		browser.Do(t, tab, chromedp.Navigate("http://"+d.Address("browsers")+"/tidings?event=e-2&user=bob"))
		browser.Wait(t, tab, `document.querySelector('.conclusion')?.dataset.outcome === 'offline'`)
	})
	t.Run("what others wrote is text", func(t *testing.T) {
		tell(t, js, hostile, `</li><script>document.title='owned'</script>`, "alice")
		alice.expect(hostile)
		browser.Eval[any](t, tab, fmt.Sprintf(`document.getElementById('event').value = %q; document.getElementById('user').value = ''; document.getElementById('form').requestSubmit()`, hostile))
		browser.Wait(t, tab, `document.querySelector('.conclusion')?.dataset.outcome === 'stored'`)
		browser.Wait(t, tab, `document.querySelector('.steps').textContent.includes('</li><script>')`)
		if n := browser.Eval[int](t, tab, `document.querySelectorAll('main script, .steps img, #answer img').length`); n != 0 || browser.Eval[string](t, tab, `document.title`) == "owned" {
			t.Errorf("%d elements were made of what an event says", n)
		}
	})
	t.Run("pause", func(t *testing.T) {
		click(t, tab, "#pause")
		path := `document.querySelector('[data-figure=cpu] .stroke-0').getAttribute('d')`
		browser.Wait(t, tab, `document.getElementById('pause').textContent === 'Go on'`)
		before := browser.Eval[string](t, tab, path)
		tell(t, js, "e-paused", "alice")
		alice.expect("e-paused")
		if got := browser.Eval[string](t, tab, path); got != before {
			t.Error("a paused page moves")
		}
		click(t, tab, "#pause")
		browser.Wait(t, tab, path+` !== `+fmt.Sprintf("%q", before))
	})
	t.Run("narrow, wide, light and dark", func(t *testing.T) {
		browser.Eval[any](t, tab, `document.getElementById('event').value = 'e-1'; document.getElementById('user').value = 'alice'; document.getElementById('form').requestSubmit()`)
		browser.Wait(t, tab, `document.querySelector('.conclusion')?.dataset.outcome === 'given'`)
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{360, 1280} {
				look(t, tab, theme, width)
			}
		}
	})
}

// noErrors fails the test for what the page says to the console.
func noErrors(t *testing.T, tab context.Context) {
	t.Helper()
	err := chromedp.Listen(tab, func(event any) {
		if e, ok := event.(*runtime.EventConsoleAPICalled); ok && (e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning) {
			t.Errorf("the page says to the console: %v", e.Args)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// look checks that nothing is wider than the window, and keeps a screenshot where TIDINGS_TEST_SHOTS names a directory.
func look(t *testing.T, tab context.Context, theme string, width int64) {
	t.Helper()
	browser.Do(t, tab, chromedp.EmulateViewport(width, 900), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
		})
		return err
	}))
	browser.Wait(t, tab, fmt.Sprintf(`innerWidth === %d && matchMedia('(prefers-color-scheme: %s)').matches`, width, theme))
	if n := browser.Eval[int](t, tab, `document.documentElement.scrollWidth - innerWidth`); n > 0 {
		t.Errorf("%s, %d px: it scrolls %d px to the side", theme, width, n)
	}
	dir := os.Getenv("TIDINGS_TEST_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(tab, browser.Patience)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("tidings-%s-%d.png", theme, width)), shot, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTidingsPageInProduction: on the admin address only.
func TestTidingsPageInProduction(t *testing.T) {
	d := programs.Start(t, "all", house.Settings{"AUTH_HMAC_SECRET": strings.Repeat("s", 32)}).Ready()
	for _, path := range []string{"/tidings", "/tidings/", "/tidings/app.js", "/tidings/figures", "/tidings/trace?event=e", "/tidings/who?user=alice"} {
		r, err := http.Get("http://" + d.Address("browsers") + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d on the browsers' address, want 404", path, r.StatusCode)
		}
		if status, _, err := d.Get(path); err != nil || status != http.StatusOK {
			t.Errorf("%s: status %d (%v) on the admin address, want 200", path, status, err)
		}
	}
}
