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
		"nobody yet":                         nobodyYet,
		"two users, sent with the form":      twoUsers,
		"drop and come back":                 dropAndComeBack,
		"reload goes on from the cursor":     reload,
		"reset is shown":                     reset,
		"close codes decide":                 closeCodes,
		"draining names the delay":           draining,
		"silence counts as dead":             silence,
		"heartbeat moves the cursor":         heartbeat,
		"data is text, never markup":         dataIsText,
		"refused by the publisher":           refused,
		"command lines":                      commandLines,
		"back-off":                           backoff,
		"the plain dialect":                  plain,
		"narrow screens do not scroll aside": narrow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, browser.Tab(t, chromium))
		})
	}
}

// openAs opens the page as user and waits for its welcome.
func openAs(t *testing.T, g *fakeGateway, tab context.Context, user string) {
	t.Helper()
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/?user="+user))
	browser.Wait(t, tab, `document.getElementById('state').dataset.state === 'open'`)
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

// arrivals are the ids in the list, newest first.
func arrivals(t *testing.T, tab context.Context) []string {
	t.Helper()
	return browser.Eval[[]string](t, tab, `[...document.querySelectorAll('#list .id')].map(e => e.textContent)`)
}

func click(t *testing.T, tab context.Context, css string) {
	t.Helper()
	browser.Do(t, tab, chromedp.Click(chromedp.CSS(css)))
}

func nobodyYet(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	browser.Do(t, tab, chromedp.Navigate(g.server.URL+"/"))
	browser.Wait(t, tab, `!document.getElementById('nobody').hidden && document.getElementById('somebody').hidden`)
	got := browser.Eval[[]string](t, tab, `[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))`)
	if want := []string{"/?user=alice", "/?user=bob"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got links %q, want %q", got, want)
	}
	if got := g.attempts(); len(got) != 0 {
		t.Errorf("got %d connections without a user, want none", len(got))
	}
}

func twoUsers(t *testing.T, alice context.Context) {
	g := newFakeGateway(t)
	bob := browser.Tab(t, alice)
	openAs(t, g, alice, "alice")
	openAs(t, g, bob, "bob")
	for _, button := range []string{`[data-users="alice"]`, `[data-users="bob"]`, `[data-users="alice bob"]`} {
		before := len(g.published())
		click(t, alice, button)
		browser.Wait(t, alice, `document.getElementById('sent').textContent.startsWith('Stored')`)
		eventually(t, func() bool { return len(g.published()) == before+1 })
	}
	waitText(t, alice, "count", "2")
	waitText(t, bob, "count", "2")
	if got, want := arrivals(t, alice), []string{"e3", "e1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("alice sees %q, want %q", got, want)
	}
	if got, want := arrivals(t, bob), []string{"e3", "e2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("bob sees %q, want %q", got, want)
	}
	sent := g.published()[2]
	if want := "events.orders.1042.shipped"; sent.subject != want {
		t.Errorf("got subject %q, want %q", sent.subject, want)
	}
	if got, want := strings.Join(strings.Fields(sent.body), ""), `{"userIds":["alice","bob"],"orderId":1042,"status":"shipped"}`; got != want {
		t.Errorf("got body %s, want %s", got, want)
	}
	waitText(t, alice, "cursor", "0.e.3")
	waitText(t, alice, "session", "s1")
	waitText(t, alice, "resume", "none")
	waitText(t, alice, "live", "order.shipped arrived")
	if got := browser.Eval[string](t, alice, `document.querySelector('.latency').textContent`); !strings.HasSuffix(got, " ms") {
		t.Errorf("got latency %q, want milliseconds", got)
	}
}

func dropAndComeBack(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.event(`{"userId":"alice"}`)
	waitText(t, tab, "cursor", "0.e.1")
	click(t, tab, "#drop")
	waitText(t, tab, "state-text", "idle")
	for range 3 {
		g.event(`{"userIds":["alice","bob"]}`)
	}
	if got := arrivals(t, tab); len(got) != 1 {
		t.Errorf("got %q while away, want only e1", got)
	}
	click(t, tab, "#drop")
	waitText(t, tab, "caught", "3 caught up after ")
	g.event(`{"userId":"alice"}`)
	waitText(t, tab, "count", "5")
	waitText(t, tab, "resume", "complete")
	if got, want := arrivals(t, tab), []string{"e5", "e4", "e3", "e2", "e1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	marked := browser.Eval[[]string](t, tab, `[...document.querySelectorAll('.caught .id')].map(e => e.textContent)`)
	if want := []string{"e4", "e3", "e2"}; !reflect.DeepEqual(marked, want) {
		t.Errorf("marked as caught up: %q, want %q", marked, want)
	}
	if got := g.attempts(); len(got) != 2 || got[0].cursor != "" || got[1].cursor != "0.e.1" {
		t.Errorf("got connections %v, want one without cursor and one with 0.e.1", got)
	}
}

func reload(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.event(`{"userId":"alice"}`)
	waitText(t, tab, "cursor", "0.e.1")
	browser.Do(t, tab, chromedp.Navigate("about:blank"))
	g.event(`{"userId":"alice"}`)
	openAs(t, g, tab, "alice")
	waitText(t, tab, "caught", "1 caught up after ")
	openAs(t, g, tab, "bob") // the same tab, another user: alice's cursor is not bob's
	got := g.attempts()
	if len(got) != 3 || got[1].cursor != "0.e.1" || got[2].cursor != "" {
		t.Errorf("got connections %v, want the second with 0.e.1 and the third, bob's, without", got)
	}
}

func reset(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.say("alice", `{"type":"reset","cursor":"0.f.7"}`)
	waitText(t, tab, "reset", "the position was lost")
	waitText(t, tab, "cursor", "0.f.7")
	click(t, tab, "#drop")
	click(t, tab, "#drop") // 0.f.7 is not of this gateway's log: its welcome says reset
	waitText(t, tab, "resume", "reset")
	waitText(t, tab, "cursor", "0.e.0")
	browser.Wait(t, tab, `!document.getElementById('reset').hidden`)
	browser.Wait(t, tab, `document.querySelectorAll('.mark.bad').length === 2`)
}

func closeCodes(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.close("alice", 1013, "overloaded")
	eventually(t, func() bool { return len(g.attempts()) == 2 })
	browser.Wait(t, tab, `document.getElementById('state').dataset.state === 'open'`)

	g.close("alice", 4429, "too many connections")
	waitText(t, tab, "state-text", "waiting, next try in 1") // 10 s and more
	waitText(t, tab, "why", "closed with 4429 too many connections")

	for _, code := range []ws.StatusCode{1002, 1003, 1007, 1009, 4401, 4403} {
		click(t, tab, "#drop") // whatever the state: after one or two clicks the page connects again
		if text(t, tab, "drop") == "Come back" {
			click(t, tab, "#drop")
		}
		browser.Wait(t, tab, `document.getElementById('state').dataset.state === 'open'`)
		g.close("alice", code, "because")
		waitText(t, tab, "why", fmt.Sprintf("closed with %d because: ", code))
		waitText(t, tab, "state-text", "idle")
	}
	if got := len(g.attempts()); got != 8 {
		t.Errorf("got %d connections, want 8", got)
	}
}

func draining(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	g.say("alice", `{"type":"draining","retryAfterMs":1500}`)
	waitText(t, tab, "live", "This server leaves")
	left := time.Now()
	g.close("alice", 1012, "draining")
	eventually(t, func() bool { return len(g.attempts()) == 2 })
	if got := g.attempts()[1].at.Sub(left); got < 1400*time.Millisecond || got > 4*time.Second {
		t.Errorf("came back after %v, want about 1.5 s", got)
	}
}

func silence(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	g.heartbeat = 100 // and none comes
	openAs(t, g, tab, "alice")
	waitText(t, tab, "why", "no heartbeat")
	eventually(t, func() bool { return len(g.attempts()) == 2 })
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
	waitText(t, tab, "count", "1")
	if got, want := text(t, tab, "cursor"), "0.e.41"; got != want {
		t.Errorf("got cursor %q after an ephemeral notification, want %q", got, want)
	}
}

func dataIsText(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "%3Cb%3Ealice")
	const evil = `"<img src=x onerror=alert(1)>"`
	g.say("<b>alice", `{"type":"notification","cursor":"0.e.1","id":`+evil+`,"kind":`+evil+`,"time":`+evil+`,"data":{"a":`+evil+`}}`)
	waitText(t, tab, "count", "1")
	if got := browser.Eval[int](t, tab, `document.querySelectorAll('#list img, #user b').length`); got != 0 {
		t.Errorf("got %d elements made from data, want none", got)
	}
	waitText(t, tab, "list", "<img src=x onerror=alert(1)>")
	waitText(t, tab, "user", "<b>alice")
}

func refused(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	browser.Do(t, tab, chromedp.SetValue(chromedp.ID("subject"), "orders.1"))
	click(t, tab, `[data-users="bob"]`)
	waitText(t, tab, "sent", `The subject "orders.1" must begin with events.`)
	browser.Do(t, tab, chromedp.SetValue(chromedp.ID("body"), "{"))
	click(t, tab, `[data-users="bob"]`)
	waitText(t, tab, "sent", "The body is not JSON")
	if got := g.published(); len(got) != 0 {
		t.Errorf("got published %v, want nothing", got)
	}
}

func commandLines(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	if got, want := text(t, tab, "nats"), `nats pub events.orders.1042.shipped '{"userId":"alice","orderId":1042,"status":"shipped"}'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	browser.Eval[any](t, tab, `document.getElementById('body').value = '{ "userId": "o\'neil" }'`)
	browser.Do(t, tab, chromedp.SendKeys(chromedp.ID("body"), " "))
	waitText(t, tab, "tidings", `go run . publish events.orders.1042.shipped '{"userId":"o'\''neil"}'`)
}

func backoff(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	got := browser.Eval[[]float64](t, tab, `import('/demo/connection.js').then(({ backoff }) =>
		[backoff(0, () => 1), backoff(3, () => 1), backoff(3, () => 0.5), backoff(3, () => 0), backoff(99, () => 1)])`)
	if want := []float64{500, 4000, 2000, 0, 30000}; !reflect.DeepEqual(got, want) {
		t.Errorf("got delays %v ms, want %v", got, want)
	}
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

func narrow(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	browser.Do(t, tab, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile)(ctx, target)
		return err
	}))
	openAs(t, g, tab, strings.Repeat("a-name-without-end", 7))
	g.event(`{"userId":"` + strings.Repeat("a-name-without-end", 7) + `","long":"` + strings.Repeat("x", 500) + `"}`)
	waitText(t, tab, "count", "1")
	if got := browser.Eval[int](t, tab, `document.documentElement.scrollWidth`); got != 320 {
		t.Errorf("got a page %d px wide on a screen of 320 px", got)
	}
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
