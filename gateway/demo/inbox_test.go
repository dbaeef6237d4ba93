package demo

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
)

func title(t *testing.T, tab context.Context) string {
	t.Helper()
	return browser.Eval[string](t, tab, `document.title`)
}

func waitTitle(t *testing.T, tab context.Context, want string) {
	t.Helper()
	browser.Wait(t, tab, fmt.Sprintf(`document.title === %q`, want))
}

func bell(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	if got := title(t, tab); got != "alice – Tidings" {
		t.Errorf("got title %q", got)
	}
	browser.Wait(t, tab, `!document.getElementById('empty').hidden && document.getElementById('badge').hidden`)
	for i := range 3 {
		g.event(fmt.Sprintf(`{"userId":"alice","text":"Order %d is on its way."}`, i+1))
		waitText(t, tab, "badge", fmt.Sprint(i+1))
	}
	waitTitle(t, tab, "(3) alice – Tidings")
	waitTexts(t, tab, "#list .title", "Order 3 is on its way.", "Order 2 is on its way.", "Order 1 is on its way.")
	waitTexts(t, tab, "#list .kind", "order.shipped", "order.shipped", "order.shipped")
	waitText(t, tab, "toasts", "Order 3 is on its way.")
	if got := browser.Eval[string](t, tab, `document.getElementById('bell').getAttribute('aria-label')`); got != "Notifications, 3 unread" {
		t.Errorf("the bell is called %q", got)
	}
	browser.Wait(t, tab, `document.getElementById('empty').hidden`)

	click(t, tab, "#bell")
	browser.Wait(t, tab, `document.getElementById('bell-panel').matches(':popover-open')`)
	waitTexts(t, tab, "#bell-list .title", "Order 3 is on its way.", "Order 2 is on its way.", "Order 1 is on its way.")
	click(t, tab, "#bell-list li:nth-child(2) button") // reads it, and goes there
	browser.Wait(t, tab, `!document.getElementById('bell-panel').matches(':popover-open')`)
	browser.Wait(t, tab, `document.activeElement.textContent.includes('Order 2')`)
	waitTitle(t, tab, "(2) alice – Tidings")
	waitTexts(t, tab, "#list .unread .id", "e3", "e1")

	click(t, tab, "#list .item:first-child .done")
	waitTexts(t, tab, "#list .unread .id", "e1")
	waitText(t, tab, "badge", "1")
	click(t, tab, "#read-all")
	waitTitle(t, tab, "alice – Tidings")
	browser.Wait(t, tab, `document.getElementById('badge').hidden && document.getElementById('read-all').hidden`)
	click(t, tab, "#bell")
	browser.Wait(t, tab, `!document.getElementById('bell-none').hidden`)
	browser.Do(t, tab, chromedp.KeyEvent("\u001b"))

	browser.Wait(t, tab, `document.querySelectorAll('.toast').length === 0`) // they leave by themselves
	click(t, tab, "#clear")
	browser.Wait(t, tab, `!document.getElementById('empty').hidden && document.querySelectorAll('.item').length === 0`)
	click(t, tab, "#first") // what to do next
	waitText(t, tab, "sent", "Here after")
	waitTexts(t, tab, "#list .title", "Your order 1042 is on its way.")
}

// burst: a thousand at once are one toast, a full inbox, and no more.
func burst(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	for range 1000 {
		g.event(`{"userId":"alice"}`)
	}
	browser.Wait(t, tab, `document.querySelector('#list .id')?.textContent === 'e1000'`)
	waitText(t, tab, "badge", "99+")
	waitTitle(t, tab, "(99+) alice – Tidings")
	browser.Wait(t, tab, `document.querySelectorAll('#list .item').length === 100`)
	if n := browser.Eval[int](t, tab, `document.querySelectorAll('.toast').length`); n > 3 {
		t.Errorf("got %d toasts, want 3 at most", n)
	}
	waitText(t, tab, "bell-more", "and 94 more in the inbox")
	openAs(t, g, tab, "alice")
	browser.Wait(t, tab, `document.querySelectorAll('#list .item').length === 100`)
	if got := texts(t, tab, "#list .id"); got[0] != "e1000" || got[99] != "e901" {
		t.Errorf("after a reload the inbox goes from %s to %s, want e1000 to e901", got[0], got[99])
	}
}

// twoTabs: one socket for both, in one of them; each has everything, and what is read in one is read in the other.
func twoTabs(t *testing.T, leader context.Context) {
	g := newFakeGateway(t)
	follower := browser.Tab(t, leader)
	openAs(t, g, leader, "alice")
	openAs(t, g, follower, "alice")
	waitText(t, follower, "state-text", "Open through another tab")
	browser.Wait(t, follower, `!document.getElementById('wire-shared').hidden`)
	g.event(`{"userId":"alice"}`)
	g.event(`{"userId":"alice"}`)
	for _, tab := range []context.Context{leader, follower} {
		waitTexts(t, tab, "#list .unread .id", "e2", "e1")
	}
	waitTexts(t, follower, "#wire .type", "notification", "notification", "open")
	waitTexts(t, follower, "#wire .tab .type", "notification", "notification")
	if got := text(t, leader, "state-text"); got != "Open" {
		t.Errorf("the leading tab says %q, want Open", got)
	}
	click(t, leader, "#list .item:last-child .done")
	waitTexts(t, follower, "#list .unread .id", "e2")
	waitTitle(t, follower, "(1) alice – Tidings")
	if got := g.attempts(); len(got) != 1 {
		t.Errorf("got %d connections, want one for both tabs", len(got))
	}
	click(t, leader, "#drop") // the other takes over
	waitText(t, follower, "transport", "WebSocket")
	browser.Wait(t, follower, `document.getElementById('state-text').textContent === 'Open' && document.getElementById('wire-shared').hidden`)
	g.event(`{"userId":"alice"}`)
	waitTexts(t, follower, "#list .id", "e3", "e2", "e1")
	waitTexts(t, follower, "#wire .in .type", "notification", "welcome")
}
