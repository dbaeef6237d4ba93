package demo

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gobwas/ws"

	"tidings/integration/browser"
)

// TestPages drives the pages in one Chromium, each case in a tab of its own beside a gateway of its own.
func TestPages(t *testing.T) {
	chromium := browser.New(t)
	for name, run := range map[string]func(*testing.T, context.Context){
		"nobody yet":                          nobodyYet,
		"two users, sent with the form":       twoUsers,
		"bell, title, inbox and toasts":       bell,
		"a burst":                             burst,
		"two tabs of one user":                twoTabs,
		"disconnect and come back":            dropAndComeBack,
		"reload goes on where it was":         reload,
		"reset is shown":                      reset,
		"close codes in words":                closeCodes,
		"draining names the delay":            draining,
		"heartbeat moves the cursor":          heartbeat,
		"the wire":                            wire,
		"data is text, never markup":          dataIsText,
		"every example is sent as it says":    sendExamples,
		"refused by the publisher":            refused,
		"nothing arrives here":                nothingHere,
		"command lines":                       commandLines,
		"with the keyboard alone":             keyboard,
		"single keys can be switched off":     keysOff,
		"the plain dialect":                   plain,
		"no scene scrolls aside":              narrow,
		"a long name, long words":             long,
		"text has contrast":                   contrast,
		"the policy refuses what is injected": policyHolds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, browser.Tab(t, chromium))
		})
	}
}

// openAs opens the page as user and waits until it is connected.
func openAs(t *testing.T, g *fakeGateway, tab context.Context, user string) {
	t.Helper()
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/?user="+user))
	waitState(t, tab, "open")
}

func waitState(t *testing.T, tab context.Context, state string) {
	t.Helper()
	browser.Wait(t, tab, fmt.Sprintf(`document.getElementById('state').dataset.state === %q`, state))
}

// waitText waits until the element's text holds want.
func waitText(t *testing.T, tab context.Context, id, want string) {
	t.Helper()
	browser.Wait(t, tab, fmt.Sprintf(`document.getElementById(%q).textContent.includes(%q)`, id, want))
}

func text(t *testing.T, tab context.Context, id string) string {
	t.Helper()
	return browser.Eval[string](t, tab, fmt.Sprintf(`document.getElementById(%q).textContent`, id))
}

// texts are the texts of the elements, in the order of the page.
func texts(t *testing.T, tab context.Context, css string) []string {
	t.Helper()
	return browser.Eval[[]string](t, tab, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent)`, css))
}

// waitTexts waits until as many elements are there as texts are wanted, and compares.
func waitTexts(t *testing.T, tab context.Context, css string, want ...string) {
	t.Helper()
	browser.Wait(t, tab, fmt.Sprintf(`document.querySelectorAll(%q).length === %d`, css, len(want)))
	if got := texts(t, tab, css); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %q, want %q", css, got, want)
	}
}

func click(t *testing.T, tab context.Context, css string) {
	t.Helper()
	browser.Do(t, tab, chromedp.Click(chromedp.CSS(css)))
}

func nobodyYet(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/"))
	browser.Wait(t, tab, `!document.getElementById('nobody').hidden && document.querySelectorAll('[data-somebody]:not([hidden])').length === 0`)
	got := browser.Eval[[]string](t, tab, `[...document.querySelectorAll('#nobody a, nav a')].map(a => a.getAttribute('href'))`)
	if want := []string{"/", "/plain", "/tidings", "/?user=alice", "/?user=bob"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got links %q, want %q", got, want)
	}
	if got := g.attempts(); len(got) != 0 {
		t.Errorf("got %d connections without a user, want none", len(got))
	}
	browser.Do(t, tab, chromedp.SendKeys(chromedp.ID("name"), "carol\r"))
	browser.Wait(t, tab, `document.getElementById('user')?.textContent === 'carol'`)
}

func dropAndComeBack(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.event(`{"userId":"alice"}`)
	waitText(t, tab, "cursor", "0.e.1")
	click(t, tab, "#drop")
	waitText(t, tab, "state-text", "Disconnected")
	waitText(t, tab, "notice-text", "Disconnected by hand.")
	for range 3 {
		g.event(`{"userIds":["alice","bob"]}`)
	}
	if got := texts(t, tab, "#list .id"); len(got) != 1 {
		t.Errorf("got %q while away, want only e1", got)
	}
	click(t, tab, "#drop")
	waitText(t, tab, "caught", "3 caught up after ")
	g.event(`{"userId":"alice"}`)
	waitTexts(t, tab, "#list .id", "e5", "e4", "e3", "e2", "e1")
	waitTexts(t, tab, "#list .caught .id", "e4", "e3", "e2")
	waitText(t, tab, "resume", "complete")
	browser.Wait(t, tab, `document.getElementById('notice').hidden`)
	if got := g.attempts(); len(got) != 2 || got[0].cursor != "" || got[1].cursor != "0.e.1" {
		t.Errorf("got connections %v, want one without cursor and one with 0.e.1", got)
	}
}

func reload(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.event(`{"userId":"alice"}`)
	g.event(`{"userId":"alice"}`)
	waitTexts(t, tab, "#list .id", "e2", "e1")
	click(t, tab, "#list .item:last-child .done")
	waitText(t, tab, "badge", "1")
	browser.Do(t, tab, chromedp.Navigate("about:blank"))
	g.event(`{"userId":"alice"}`)
	openAs(t, g, tab, "alice")
	waitText(t, tab, "caught", "1 caught up after ")
	waitTexts(t, tab, "#list .id", "e3", "e2", "e1")
	waitTexts(t, tab, "#list .unread .id", "e3", "e2")
	openAs(t, g, tab, "bob") // the same tab, another user: what is alice's is not bob's
	if got := texts(t, tab, "#list .id"); len(got) != 0 {
		t.Errorf("bob sees %q of alice", got)
	}
	got := g.attempts()
	if len(got) != 3 || got[1].cursor != "0.e.2" || got[2].cursor != "" {
		t.Errorf("got connections %v, want the second with 0.e.2 and the third, bob's, without", got)
	}
}

func reset(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	if !browser.Eval[bool](t, tab, `document.getElementById('reset').hidden`) {
		t.Error("a reset is shown before there was one")
	}
	g.say("alice", `{"type":"reset","cursor":"0.f.7"}`)
	browser.Wait(t, tab, `!document.getElementById('reset').hidden`)
	waitText(t, tab, "reset", "You were away for too long")
	waitText(t, tab, "cursor", "0.f.7")
	click(t, tab, "#reset-dismiss")
	browser.Wait(t, tab, `document.getElementById('reset').hidden`)
	click(t, tab, "#drop")
	waitState(t, tab, "idle")
	click(t, tab, "#drop") // 0.f.7 is not of this gateway's log: its welcome says reset
	waitText(t, tab, "resume", "reset")
	waitText(t, tab, "cursor", "0.e.0")
	browser.Wait(t, tab, `!document.getElementById('reset').hidden`)
	waitTexts(t, tab, "#list .mark", "Something may be missing here", "Something may be missing here")
	if title := browser.Eval[string](t, tab, `document.title`); title != "alice – Tidings" {
		t.Errorf("got title %q, want one without a count: a mark is nothing to read", title)
	}
	click(t, tab, "#reset-reload")
	browser.Wait(t, tab, `document.readyState === 'complete' && document.getElementById('reset').hidden`)
}

func closeCodes(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	for _, c := range []struct {
		code          ws.StatusCode
		state         string
		light, notice string
	}{
		{1013, "waiting", "Waiting", "The gateway is overloaded. What arrives meanwhile is caught up."},
		{4429, "waiting", "Waiting", "This user has too many connections."},
		{4401, "waiting", "Waiting", "You are signed out: the gateway does not accept who you are."},
		{4403, "idle", "Refused", "The gateway refuses this user"},
		{1009, "idle", "Disconnected", "The connection ended: closed with 1009 because."},
	} {
		openAs(t, g, tab, "alice")
		browser.Eval[bool](t, tab, `(Math.random = () => 0.9, true)`) // the delay is random, and may be too short to be seen
		g.close("alice", c.code, "because")
		waitText(t, tab, "notice-text", c.notice)
		waitText(t, tab, "state-text", c.light)
		waitText(t, tab, "why", fmt.Sprintf("closed with %d because", c.code))
		waitState(t, tab, c.state)
		click(t, tab, "#notice-action")
		waitState(t, tab, "open")
		browser.Wait(t, tab, `document.getElementById('notice').hidden`)
	}
}

func draining(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.say("alice", `{"type":"draining","retryAfterMs":1500}`)
	waitText(t, tab, "notice-text", "This server is leaving. The page comes back in 2 s")
	left := time.Now()
	g.close("alice", 1012, "draining")
	waitText(t, tab, "notice-text", "another one takes over")
	eventually(t, func() bool { return len(g.attempts()) == 2 })
	if got := g.attempts()[1].at.Sub(left); got < 1400*time.Millisecond || got > 4*time.Second {
		t.Errorf("came back after %v, want about 1.5 s", got)
	}
	browser.Wait(t, tab, `document.getElementById('notice').hidden`)
}

func heartbeat(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	waitText(t, tab, "heartbeat", "every 25 s of silence")
	g.say("alice", `{"cursor":"0.e.41"}`)
	waitText(t, tab, "cursor", "0.e.41")
	waitText(t, tab, "heartbeat", "0 s ago")
	waitText(t, tab, "heartbeat", "1 s ago")
	g.say("alice", `{"type":"notification","id":"typing","kind":"typing","time":"2020-01-01T00:00:00Z"}`) // ephemeral: no cursor
	waitText(t, tab, "list", "ephemeral")
	if got, want := text(t, tab, "cursor"), "0.e.41"; got != want {
		t.Errorf("got cursor %q after an ephemeral notification, want %q", got, want)
	}
}

func wire(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.event(`{"userId":"alice"}`)
	g.say("alice", `{"cursor":"0.e.41"}`)
	waitTexts(t, tab, "#wire .type", "heartbeat", "notification", "open", "welcome", "dial")
	waitText(t, tab, "frames", "3")
	rows := texts(t, tab, "#wire code")
	if rows[0] != `{"cursor":"0.e.41"}` || !strings.Contains(rows[1], `"data":{"userId":"alice"}`) || rows[4] != "GET /ws?user=alice, WebSocket tidings.v1" {
		t.Errorf("got %q", rows)
	}
	click(t, tab, "#wire-pause")
	g.event(`{"userId":"alice"}`)
	waitText(t, tab, "badge", "2")
	if got := texts(t, tab, "#wire code"); len(got) != 5 {
		t.Errorf("got %q while paused", got)
	}
	click(t, tab, "#wire-pause")
	click(t, tab, "#wire-clear")
	g.event(`{"userId":"alice","long":"` + strings.Repeat("x", 5000) + `"}`)
	waitTexts(t, tab, "#wire .type", "notification")
	if got := texts(t, tab, "#wire code")[0]; len(got) > 700 || !strings.Contains(got, "characters)") {
		t.Errorf("got a row of %d bytes, want it cut", len(got))
	}
	for range 100 {
		g.event(`{"userId":"alice"}`)
	}
	browser.Wait(t, tab, `document.querySelectorAll('#wire li').length === 60`)
	click(t, tab, "#drop")
	browser.Wait(t, tab, `document.querySelector('#wire li').textContent.includes('closed by the page')`)
}

func plain(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/plain?user=alice"))
	waitText(t, tab, "greeting", plainGreeting)
	waitText(t, tab, "health", "SUCCESS")
	g.event(`{"userId":"bob"}`)
	g.event(`{"userId":"alice","orderId":7}`)
	waitText(t, tab, "list", `"orderId": 7`)
	waitText(t, tab, "count", "1")
	g.close("alice", 4408, "no heartbeat")
	waitText(t, tab, "state-text", "closed with 4408 no heartbeat")
}

// eventually polls until the condition holds.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(browser.Patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so within %v", browser.Patience)
		}
	}
}
