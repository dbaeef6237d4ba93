package demo

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"tidings/integration/browser"
)

// look makes the tab a window, or a phone, of that width and theme.
func look(t *testing.T, tab context.Context, theme string, width int64) {
	t.Helper()
	height := int64(900)
	if width < 600 {
		height = 740
	}
	browser.Do(t, tab, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := chromedp.EmulateViewport(width, height)(ctx, target); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	}))
}

var someEvents = []string{
	`{"userId":"alice","orderId":1044,"total":129.5,"lines":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"text":"Order 1044 was placed by Grace Hopper."}`,
	`{"userIds":["alice","bob"],"ticket":77,"text":"Ada has commented on ticket 77: “Could somebody look at the parcel that has been lying in Rotterdam since Tuesday?”"}`,
	`{"userId":"alice","invoice":"2026-118","status":"overdue"}`,
	`{"userId":"alice","title":"Shop 2.4 is live"}`,
	`{"userId":"alice","text":"Your order 1042 has arrived."}`,
}

// scenes brings the page into everything that it can look like, and calls f in each.
func scenes(t *testing.T, tab context.Context, f func(scene string)) {
	t.Helper()
	g := newFakeGateway(t)
	js := func(expression string) { t.Helper(); browser.Eval[any](t, tab, expression) }
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/"))
	browser.Wait(t, tab, `!document.getElementById('nobody').hidden`)
	f("nobody")
	openAs(t, g, tab, "alice")
	f("empty")
	click(t, tab, "#first")
	waitText(t, tab, "sent", "Here after")
	browser.Wait(t, tab, `document.querySelector('.item .done')`)
	js(`document.querySelector('.item .done').click()`)
	browser.Wait(t, tab, `document.querySelector('.item .done').hidden`)
	for _, body := range someEvents {
		g.event(body)
	}
	browser.Wait(t, tab, `document.querySelectorAll('.item').length === 6`)
	js(`document.querySelector('.item:nth-child(2) details').open = true`)
	f("content")
	js(`document.getElementById('bell').click()`)
	f("bell")
	js(`document.getElementById('who').click()`)
	f("who")
	js(`document.getElementById('who').click()`)
	js(`document.getElementById('help').showModal()`)
	f("help")
	js(`document.getElementById('help').close()`)
	example(t, tab, "CloudEvent, binary")
	fill(t, tab, "subject", "orders")
	js(`document.getElementById('submit').click()`)
	waitText(t, tab, "sent", "must begin with")
	g.say("alice", `{"type":"reset","cursor":"0.e.6"}`)
	g.say("alice", `{"type":"draining","retryAfterMs":12000}`)
	waitText(t, tab, "notice-text", "leaving")
	g.close("alice", 1012, "draining")
	waitText(t, tab, "state-text", "Waiting")
	f("disconnected")
	openAs(t, g, tab, "alice")
	g.close("alice", 4403, "refused")
	waitText(t, tab, "state-text", "Refused")
	f("refused")
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/plain?user=alice"))
	waitText(t, tab, "health", "SUCCESS")
	g.event(someEvents[0])
	waitText(t, tab, "count", "1")
	f("plain")
}

func narrow(t *testing.T, tab context.Context) {
	for _, theme := range []string{"light", "dark"} {
		look(t, tab, theme, 360)
		scenes(t, tab, func(scene string) {
			if got := browser.Eval[int](t, tab, `document.scrollingElement.scrollWidth - innerWidth`); got > 0 {
				t.Errorf("%s, %s: the page is %d px wider than the screen", scene, theme, got)
			}
		})
	}
}

func long(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	look(t, tab, "light", 320)
	name, word := strings.Repeat("a-name-without-end", 7), strings.Repeat("x", 500)
	openAs(t, g, tab, name)
	g.event(`{"userId":"` + name + `","` + word + `":"` + word + `"}`)
	g.event(`{"userId":"` + name + `","text":"` + word + `"}`)
	g.say(name, `{"type":"notification","cursor":"9","id":"`+word+`","kind":"`+word+`","time":"`+word+`"}`)
	waitText(t, tab, "badge", "3")
	for _, open := range []string{`document.querySelectorAll('details').forEach(d => d.open = true)`, `document.getElementById('bell').click()`, `document.getElementById('who').click()`} {
		browser.Eval[any](t, tab, open)
		if got := browser.Eval[int](t, tab, `document.scrollingElement.scrollWidth - innerWidth`); got > 0 {
			t.Errorf("after %s the page is %d px wider than the screen", open, got)
		}
	}
}

// contrast measures every text that is seen against what is behind it (WCAG 2.2, 1.4.3), and the edges of controls (1.4.11).
func contrast(t *testing.T, tab context.Context) {
	for _, theme := range []string{"light", "dark"} {
		look(t, tab, theme, 1280)
		scenes(t, tab, func(scene string) {
			for _, low := range browser.Eval[[]string](t, tab, lowContrast) {
				t.Errorf("%s, %s: %s", scene, theme, low)
			}
		})
	}
}

const lowContrast = `(() => {
	const rgba = (c) => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
	const light = ({ r, g, b }) => {
		const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * x + 0.7152 * y + 0.0722 * z;
	};
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c.a === 1) return c; } return rgba('rgb(255, 255, 255)'); };
	const low = [];
	for (const e of document.querySelectorAll('body *')) {
		if (!e.checkVisibility() || e.closest('.unseen, noscript, .skip, :disabled')) continue;
		const style = getComputedStyle(e), name = e.tagName + '#' + e.id + '.' + e.className + ' ' + e.textContent.slice(0, 30);
		if ([...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) {
			const r = ratio(rgba(style.color), behind(e));
			if (r < 4.5) low.push(name + ' has a contrast of ' + r.toFixed(2));
		}
		if (e.matches('input, textarea')) {
			const r = ratio(rgba(style.borderTopColor), behind(e.parentElement));
			if (r < 3) low.push('the edge of ' + name + ' has a contrast of ' + r.toFixed(2));
		}
	}
	return low;
})()`

// keyboard: from loading the page to sending and reading, no mouse.
func keyboard(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	for _, body := range someEvents {
		g.event(body)
	}
	waitText(t, tab, "badge", "5")
	press := func(keys string, options ...chromedp.KeyOption) {
		t.Helper()
		browser.Do(t, tab, chromedp.KeyEvent(keys, options...))
	}
	focused := func(want string) {
		t.Helper()
		browser.Wait(t, tab, fmt.Sprintf(`document.activeElement.matches(%q)`, want))
	}
	var stops []string
	for range 18 {
		press(kb.Tab)
		stop := browser.Eval[[]string](t, tab, `[document.activeElement.id || document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]`)
		if stop[1] != "solid" {
			t.Errorf("no ring is seen around %q", stop[0])
		}
		stops = append(stops, stop[0])
	}
	want := []string{"To the inbox", "Start", "plain", "The house", "bell", "who", "read-all", "clear"}
	if !slices.Equal(stops[:len(want)], want) {
		t.Errorf("Tab goes to %q, want %q first", stops, want)
	}
	if got := stops[len(want) : len(want)+4]; !slices.Equal(got, []string{"Mark read", "Details", "Mark read", "Details"}) {
		t.Errorf("in the inbox Tab goes to %q", got)
	}

	browser.Eval[any](t, tab, `document.activeElement.blur()`)
	press("b")
	focused("#bell-list li:first-child .entry")
	press(kb.Tab)
	press(kb.Enter)
	focused(".item")
	browser.Wait(t, tab, `document.activeElement.textContent.includes('Shop 2.4 is live')`)
	waitText(t, tab, "badge", "4")
	press("j")
	browser.Wait(t, tab, `document.activeElement.textContent.includes('2026-118')`)
	press("k")
	press("k")
	press("k")
	browser.Wait(t, tab, `document.activeElement.textContent.includes('has arrived')`)
	press(kb.Tab)
	focused(".done")
	press(kb.Enter) // the button goes, the focus stays with the notification
	waitText(t, tab, "badge", "3")
	focused(".item")
	press(kb.Tab)
	focused("summary")
	press(kb.Enter)
	browser.Wait(t, tab, `document.querySelector('.item details').open`)

	press("b")
	browser.Wait(t, tab, `document.getElementById('bell-panel').matches(':popover-open')`)
	press(kb.Escape)
	browser.Wait(t, tab, `!document.getElementById('bell-panel').matches(':popover-open')`)
	press("?")
	browser.Wait(t, tab, `document.getElementById('help').open`)
	press(kb.Escape)
	browser.Wait(t, tab, `!document.getElementById('help').open`)
	press("a")
	browser.Wait(t, tab, `document.getElementById('badge').hidden`)

	press("e")
	focused("#body")
	press("b") // is a letter here
	browser.Wait(t, tab, `document.getElementById('body').value.includes('b') && !document.getElementById('bell-panel').matches(':popover-open')`)
	fill(t, tab, "body", `{"userId":"alice"}`)
	press(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl))
	waitText(t, tab, "sent", "Here after")
	waitText(t, tab, "badge", "1")
}

func keysOff(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	click(t, tab, "#help-open")
	click(t, tab, "#keys-on")
	click(t, tab, "#help-close")
	browser.Do(t, tab, chromedp.KeyEvent("e"))
	if got := browser.Eval[string](t, tab, `document.activeElement.id`); got == "body" {
		t.Error("a key that was switched off went to the form")
	}
	openAs(t, g, tab, "alice") // and after a reload
	browser.Do(t, tab, chromedp.KeyEvent("e"))
	if got := browser.Eval[string](t, tab, `document.activeElement.id`); got == "body" {
		t.Error("after a reload the key works again")
	}
}

// policyHolds injects what an attacker would, in a tab where that does not fail the test.
func policyHolds(t *testing.T, chromium context.Context) {
	g := newFakeGateway(t)
	tab, cancel := chromedp.NewContext(chromium)
	t.Cleanup(cancel)
	if err := chromedp.Listen(tab, func(any) {}); err != nil { // opens it for as long as tab lives
		t.Fatal(err)
	}
	openAs(t, g, tab, "alice")
	got := browser.Eval[[]string](t, tab, `(async () => {
		const refused = [];
		document.addEventListener('securitypolicyviolation', (e) => refused.push(e.effectiveDirective));
		const put = (tag, more) => document.body.append(Object.assign(document.createElement(tag), more));
		try { document.body.innerHTML = '<p>'; } catch {}
		put('style', { textContent: 'p { color: red }' });
		put('img', { src: 'http://127.0.0.1:1/x.png' });
		put('iframe', { src: '/plain' });
		put('base', { href: 'http://127.0.0.1:1/' });
		document.querySelector('p').setAttribute('style', 'color: red');
		await fetch('http://127.0.0.1:1/').catch(() => {});
		try { new WebSocket('ws://127.0.0.1:1/'); } catch {}
		await new Promise((f) => setTimeout(f, 100));
		return [...new Set(refused)].sort();
	})()`)
	want := []string{"base-uri", "connect-src", "frame-src", "img-src", "require-trusted-types-for", "style-src-attr", "style-src-elem"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("refused %q, want %q", got, want)
	}
}
