package integration

import (
	"context"
	"encoding/json"
	"fmt"
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

func formInBrowser(t *testing.T, alice context.Context) {
	d := programs.Start(t, "all", nil).Ready()
	bob := browser.Tab(t, alice)
	visit(t, alice, d, "alice")
	visit(t, bob, d, "bob")
	for _, to := range []string{"alice", "bob", "alice bob"} {
		browser.Eval[any](t, alice, fmt.Sprintf(`document.getElementById('body').value = JSON.stringify({ to: %q })`, to))
		click(t, alice, fmt.Sprintf("[data-users=%q]", to))
		browser.Wait(t, alice, `document.getElementById('sent').dataset.good === 'true'`)
		browser.Eval[any](t, alice, `document.getElementById('sent').dataset.good = ''`)
	}
	tell(t, house.Connect(t, d.NATS()), "last", "alice", "bob")
	for page, want := range map[context.Context][]string{alice: {"alice", "alice bob"}, bob: {"bob", "alice bob"}} {
		browser.Wait(t, page, `document.querySelector('#list .id')?.textContent === 'last'`)
		var got []string
		for _, data := range shown(t, page, "#list pre")[:len(want)] {
			var sent struct{ To string }
			if err := json.Unmarshal([]byte(data), &sent); err != nil {
				t.Fatalf("the page shows %q: %v", data, err)
			}
			got = append(got, sent.To)
		}
		if n := len(shown(t, page, "#list .id")); !slices.Equal(got, want) || n != len(want)+1 {
			t.Errorf("got %d arrivals, those of the form were sent to %q, want %q", n, got, want)
		}
	}
	if got := shown(t, alice, "#list .kind"); got[0] != "orders.1042.shipped" {
		t.Errorf("got kind %q, want orders.1042.shipped", got[0])
	}
	browser.Wait(t, alice, `/^0\.\w+\.\d+$/.test(document.getElementById('cursor').textContent)`)
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
	browser.Wait(t, page, `['waiting', 'connecting'].includes(document.getElementById('state').dataset.state)`)
	programs.Start(t, "after", settings).Ready()
	for _, id := range ids("e", 21, 25) {
		tell(t, js, id, "alice")
	}
	waitState(t, page, "open")
	browser.Wait(t, page, `document.getElementById('resume').textContent === 'complete'`)
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
