package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
	"tidings/integration/house"
)

// TestBrowser: what people see who follow the README, with a real Chromium at the real binary.
func TestBrowser(t *testing.T) {
	chromium := browser.New(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"two users and the form", formInBrowser},
		{"everyone, with rules", everyoneInBrowser},
		{"drop and come back", comeBackInBrowser},
		{"kill -9 and restart", restartInBrowser},
		{"the plain page", plainPageInBrowser},
		{"nothing but new WebSocket", bareSocketInBrowser},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, browser.Tab(t, chromium)) })
	}
}

// visit opens the start page as user and waits until it is connected.
func visit(t *testing.T, page context.Context, d *house.Tidings, user string) {
	t.Helper()
	browser.Do(t, page, chromedp.Navigate("http://"+d.Address("browsers")+"/?user="+user))
	waitState(t, page, "open")
}

func waitState(t *testing.T, page context.Context, state string) {
	t.Helper()
	browser.Wait(t, page, fmt.Sprintf(`document.getElementById('state').dataset.state === %q`, state))
}

func click(t *testing.T, page context.Context, css string) {
	t.Helper()
	browser.Do(t, page, chromedp.Click(chromedp.CSS(css)))
}

// shown are the texts of the elements, oldest first: the page has the newest on top.
func shown(t *testing.T, page context.Context, css string) []string {
	t.Helper()
	list := browser.Eval[[]string](t, page, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent)`, css))
	slices.Reverse(list)
	return list
}

// waitShown waits until as many elements are there as texts are wanted, and compares.
func waitShown(t *testing.T, page context.Context, css string, want ...string) {
	t.Helper()
	browser.Wait(t, page, fmt.Sprintf(`document.querySelectorAll(%q).length >= %d`, css, len(want)))
	if got := shown(t, page, css); !slices.Equal(got, want) {
		t.Errorf("%s: the page shows %q, want %q", css, got, want)
	}
}

// formInBrowser sends every example, and each arrives where it says.
func formInBrowser(t *testing.T, alice context.Context) {
	d := programs.Start(t, "all", nil).Ready()
	bob := browser.Tab(t, alice)
	visit(t, alice, d, "alice")
	visit(t, bob, d, "bob")
	for _, c := range []struct {
		example, kind, words string
		bob                  bool
	}{
		{"One user", "orders.1042.shipped", "Your order 1042 is on its way.", false},
		{"Several users", "tickets.77.commented", "Ada has commented on ticket 77.", true},
		{"Header", "deploys.shop.done", "Shop 2.4 is live.", true},
		{"CloudEvent", "order.paid", "Order 1042 is paid.", false},
		{"CloudEvent, binary", "order.shipped", "Order 1043 is on its way.", true},
	} {
		for range 2 { // the second is an event of its own
			send(t, alice, c.example)
			browser.Wait(t, alice, `/^Stored by NATS after \d+ ms. Here after \d+ ms.$/.test(document.getElementById('sent').textContent)`)
			for page, concerned := range map[context.Context]bool{alice: true, bob: c.bob} {
				if concerned {
					browser.Wait(t, page, fmt.Sprintf(`document.querySelector('#list .item .title')?.textContent === %q`, c.words))
					browser.Wait(t, page, fmt.Sprintf(`document.querySelector('#list .item .kind').textContent === %q`, c.kind))
				}
			}
		}
	}
	send(t, alice, "Everyone") // there are no rules, so it names nobody
	browser.Wait(t, alice, `document.getElementById('sent').textContent.includes('does not name alice')`)
	tell(t, house.Connect(t, d.NATS()), "last", "alice", "bob")
	for page, want := range map[context.Context]int{alice: 11, bob: 7} {
		browser.Wait(t, page, `document.querySelector('#list .id')?.textContent === 'last'`)
		browser.Wait(t, page, fmt.Sprintf(`document.title.startsWith('(%d) ')`, want))
		if n := len(shown(t, page, "#list .id")); n != want {
			t.Errorf("got %d arrivals, want %d", n, want)
		}
	}
	browser.Wait(t, alice, `/^0\.\w+\.\d+$/.test(document.getElementById('cursor').textContent)`)
}

// everyoneInBrowser: with the rule that the page speaks of, its last example reaches everybody.
func everyoneInBrowser(t *testing.T, alice context.Context) {
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte("rules:\n  - name: announcement\n    subject: events.announcements.*\n    all: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := programs.Start(t, "all", house.Settings{"RULES": rules}).Ready()
	bob := browser.Tab(t, alice)
	visit(t, alice, d, "alice")
	visit(t, bob, d, "bob")
	send(t, alice, "Everyone")
	for _, page := range []context.Context{alice, bob} {
		waitShown(t, page, "#list .title", "Maintenance tonight at 22:00.")
	}
	send(t, alice, "One user") // no rule is for it
	browser.Wait(t, alice, `document.getElementById('sent').textContent.includes('the rules decide whom it concerns')`)
}

// send fills the form with an example, and sends it.
func send(t *testing.T, page context.Context, example string) {
	t.Helper()
	browser.Eval[any](t, page, fmt.Sprintf(`[...document.querySelectorAll('#examples button')].find((b) => b.textContent === %q).click()`, example))
	browser.Eval[any](t, page, `document.getElementById('submit').click()`)
}

func comeBackInBrowser(t *testing.T, page context.Context) {
	d := programs.Start(t, "all", nil).Ready()
	js := house.Connect(t, d.NATS())
	visit(t, page, d, "alice")
	tell(t, js, "e-1", "alice")
	waitShown(t, page, "#list .id", "e-1")
	click(t, page, "#drop")
	waitState(t, page, "idle")
	for _, id := range ids("e", 2, 4) {
		tell(t, js, id, "alice")
		tell(t, js, id+"-for-bob", "bob")
	}
	inLog(t, d, 7)
	click(t, page, "#drop")
	browser.Wait(t, page, `document.getElementById('caught').textContent.startsWith('3 caught up after ')`)
	tell(t, js, "e-5", "alice")
	waitShown(t, page, "#list .id", ids("e", 1, 5)...)
	waitShown(t, page, "#list .caught .id", ids("e", 2, 4)...)
	browser.Wait(t, page, `document.getElementById('resume').textContent === 'complete'`)
}

// inLog waits until the log has n records.
func inLog(t *testing.T, d *house.Tidings, n float64) {
	t.Helper()
	house.Eventually(t, house.Patience, "the records are in the log", func() error {
		if got := d.Metric("tidings_records_total"); got != n {
			return fmt.Errorf("%v of %v", got, n)
		}
		return nil
	})
}

// restartInBrowser kills the whole house right behind an acknowledged event. The page comes back by itself.
func restartInBrowser(t *testing.T, page context.Context) {
	settings := house.Settings{"NATS_STORE": t.TempDir()}
	d := programs.Start(t, "before", settings).Ready()
	settings = settings.With(house.Settings{"LISTEN": d.Address("browsers"), "NATS_LISTEN": d.Address("nats"), "ADMIN_LISTEN": d.Address("admin")})
	js := house.Connect(t, d.NATS())
	visit(t, page, d, "alice")
	tell(t, js, "e-1", "alice")
	waitShown(t, page, "#list .id", "e-1")
	browser.Eval[any](t, page, `window.stillHere = true`)
	for _, id := range ids("e", 2, 20) {
		tell(t, js, id, "alice")
	}
	d.Kill()
	waitState(t, page, "waiting")
	browser.Wait(t, page, `/^Waiting \d+ s$/.test(document.getElementById('state-text').textContent)`)
	browser.Wait(t, page, `document.getElementById('notice-text').textContent === 'The gateway does not answer. What arrives meanwhile is caught up.'`)
	programs.Start(t, "after", settings).Ready()
	for _, id := range ids("e", 21, 25) {
		tell(t, js, id, "alice")
	}
	waitState(t, page, "open")
	browser.Wait(t, page, `document.getElementById('resume').textContent === 'complete' && document.getElementById('notice').hidden`)
	tell(t, js, "e-26", "alice")
	waitShown(t, page, "#list .id", ids("e", 1, 26)...)
	if !browser.Eval[bool](t, page, `window.stillHere === true`) {
		t.Error("the page was loaded again, and did not come back by itself")
	}
}

func plainPageInBrowser(t *testing.T, page context.Context) {
	d := programs.Start(t, "all", nil).Ready()
	js := house.Connect(t, d.NATS())
	browser.Do(t, page, chromedp.Navigate("http://"+d.Address("browsers")+"/plain?user=alice"))
	browser.Wait(t, page, `document.getElementById('greeting').textContent === '来自后台的反馈:连接成功'`)
	browser.Wait(t, page, `document.getElementById('health').textContent.startsWith('SUCCESS')`)
	tell(t, js, "for-bob", "bob")
	tell(t, js, "e-1", "alice")
	browser.Wait(t, page, `document.getElementById('count').textContent === '1'`)
	var got struct{ Type, ID, Kind string }
	if err := json.Unmarshal([]byte(shown(t, page, "#list pre")[0]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "notification" || got.ID != "e-1" || got.Kind != "test.1.told" {
		t.Errorf("the page shows %+v, want the notification e-1", got)
	}
}

// bareSocketInBrowser is what the small wrappers do, in a page without any script of ours.
func bareSocketInBrowser(t *testing.T, page context.Context) {
	d := programs.Start(t, "all", nil).Ready()
	js := house.Connect(t, d.NATS())
	address := d.Address("browsers")
	browser.Do(t, page, chromedp.Navigate("http://"+address+"/demo/icon.svg")) // of the same origin, and nothing else
	browser.Eval[any](t, page, fmt.Sprintf(`(() => {
		got = [];
		socket = new WebSocket("ws://%s/websocket/" + encodeURIComponent("爱丽丝 & co"));
		socket.onopen = () => socket.send('{"sendType":"HEALTH"}');
		socket.onmessage = (e) => got.push(e.data);
		socket.onclose = (e) => got.push("closed " + e.code);
	})()`, address))
	received := func(n int) []string {
		t.Helper()
		house.Eventually(t, browser.Patience, "the page has its frames", func() error {
			if got := browser.Eval[[]string](t, page, `got`); len(got) < n {
				return fmt.Errorf("it has %q, want %d", got, n)
			}
			return nil
		})
		return browser.Eval[[]string](t, page, `got`)
	}
	if got, want := received(2), []string{"来自后台的反馈:连接成功", "SUCCESS"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	browser.Eval[any](t, page, `got.length = 0`)
	tell(t, js, "for-alice", "alice")
	tell(t, js, "e-1", "爱丽丝 & co")
	first := received(1)[0]
	if !strings.HasPrefix(first, `{"type":"notification",`) || !strings.Contains(first, `"id":"e-1"`) {
		t.Errorf("got %q, want the notification e-1", first)
	}
	browser.Eval[any](t, page, `socket.send('{"sendType":"HEALTH"}')`)
	if got := received(2)[1]; got != "SUCCESS" {
		t.Errorf("got %q after HEALTH, want SUCCESS", got)
	}
	if code := d.Terminate(house.Patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := received(3)[2]; got != "closed 1012" {
		t.Errorf("got %q when the server left, want closed 1012", got)
	}
}
