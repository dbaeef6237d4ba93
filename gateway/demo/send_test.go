package demo

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"tidings/integration/browser"
)

func example(t *testing.T, tab context.Context, name string) {
	t.Helper()
	browser.Eval[any](t, tab, fmt.Sprintf(`[...document.querySelectorAll('#examples button')].find(b => b.textContent === %q).click()`, name))
	browser.Wait(t, tab, fmt.Sprintf(`document.querySelector('#examples [aria-pressed="true"]').textContent === %q`, name))
}

func fill(t *testing.T, tab context.Context, id, value string) {
	t.Helper()
	browser.Eval[any](t, tab, fmt.Sprintf(`((field) => {
		field.value = %q;
		field.dispatchEvent(new Event('input', { bubbles: true }));
	})(document.getElementById(%q))`, value, id))
}

func twoUsers(t *testing.T, alice context.Context) {
	g := newFakeGateway(t)
	bob := browser.Tab(t, alice)
	openAs(t, g, alice, "alice")
	openAs(t, g, bob, "bob")
	click(t, alice, "#submit")
	waitText(t, alice, "sent", "Here after")
	example(t, alice, "Several users")
	click(t, alice, "#submit")
	waitText(t, alice, "sent", "Here after")
	click(t, bob, "#submit")
	waitText(t, bob, "sent", "Here after")
	waitTexts(t, alice, "#list .id", "e2", "e1")
	waitTexts(t, bob, "#list .id", "e3", "e2")
	waitText(t, alice, "cursor", "0.e.2")
	waitText(t, alice, "session", "s1")
	waitText(t, alice, "resume", "none")
	if got := browser.Eval[string](t, alice, `document.querySelector('#list .latency').textContent`); !strings.HasSuffix(got, " ms") {
		t.Errorf("got latency %q, want milliseconds", got)
	}
	got := browser.Eval[[]string](t, bob, `[...document.querySelectorAll('[data-other]')].map(a => a.getAttribute('href'))`)
	if want := []string{"/?user=alice", "/?user=alice"}; !reflect.DeepEqual(got, want) {
		t.Errorf("bob has links to %q, want %q", got, want)
	}
}

func sendExamples(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	names := texts(t, tab, "#examples button")
	for _, name := range names {
		example(t, tab, name)
		click(t, tab, "#submit")
		waitText(t, tab, "sent", "Stored by NATS after")
	}
	example(t, tab, "CloudEvent, binary")
	click(t, tab, "#submit")
	waitText(t, tab, "sent", "Stored by NATS after")
	click(t, tab, "#submit")
	eventually(t, func() bool { return len(g.published()) == len(names)+2 })

	sent := g.published()
	id := regexp.MustCompile(`demo-\d+`)
	for i, want := range []published{
		{"events.orders.1042.shipped", `{"userId":"alice","orderId":1042,"text":"Your order 1042 is on its way."}`, map[string]string{}},
		{"events.tickets.77.commented", `{"userIds":["alice","bob"],"ticket":77,"text":"Ada has commented on ticket 77."}`, map[string]string{}},
		{"events.deploys.shop.done", `Shop 2.4 is live.`, map[string]string{"notify-users": "alice, bob"}},
		{"events.orders.1042.paid", `{"specversion":"1.0","id":"ID","source":"/shop","type":"order.paid","notifyusers":"alice","data":{"orderId":1042,"text":"Order 1042 is paid."}}`,
			map[string]string{"Content-Type": "application/cloudevents+json"}},
		{"events.orders.1043.shipped", `{"orderId":1043,"text":"Order 1043 is on its way."}`,
			map[string]string{"ce-specversion": "1.0", "ce-id": "ID", "ce-source": "/shop", "ce-type": "order.shipped", "ce-notifyusers": "alice,bob", "Content-Type": "application/json"}},
		{"events.announcements.maintenance", `{"text":"Maintenance tonight at 22:00."}`, map[string]string{}},
	} {
		got := sent[i]
		if h := got.headers["ce-id"]; h != "" {
			got.headers["ce-id"] = id.ReplaceAllString(h, "ID")
		}
		body := id.ReplaceAllString(got.body, "ID")
		if got.body = strings.TrimSpace(regexp.MustCompile(`\n\s*|(: )`).ReplaceAllStringFunc(body, func(s string) string { return strings.TrimSpace(s) })); !sameText(got.body, want.body) {
			t.Errorf("%s: got body %s, want %s", names[i], got.body, want.body)
		}
		if got.subject != want.subject || !reflect.DeepEqual(got.headers, want.headers) {
			t.Errorf("%s: got %q with %q, want %q with %q", names[i], got.subject, got.headers, want.subject, want.headers)
		}
	}
	if a, b := sent[len(sent)-2].headers["ce-id"], sent[len(sent)-1].headers["ce-id"]; a == b || !id.MatchString(b) {
		t.Errorf("the same CloudEvent was sent twice as %q and %q: the second would be taken for the first", a, b)
	}
}

// sameText compares but for white space, which the form's JSON has more of.
func sameText(a, b string) bool {
	strip := func(s string) string { return strings.Join(strings.Fields(s), "") }
	return strip(a) == strip(b)
}

func refused(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	fill(t, tab, "subject", "orders.1")
	click(t, tab, "#submit")
	waitText(t, tab, "sent", `The subject "orders.1" must begin with events.`)
	fill(t, tab, "headers", "a: b\nno colon")
	click(t, tab, "#submit")
	waitText(t, tab, "sent", "Line 2 of the headers is not “Name: value”.")
	if got := browser.Eval[string](t, tab, `document.getElementById('sent').dataset.good`); got != "false" {
		t.Errorf("an error is shown as good=%q", got)
	}
	if got := g.published(); len(got) != 0 {
		t.Errorf("got published %v, want nothing", got)
	}
	browser.Eval[any](t, tab, `window.fetch = () => Promise.reject(new TypeError('gone'))`)
	fill(t, tab, "headers", "")
	click(t, tab, "#submit")
	waitText(t, tab, "sent", "The gateway does not answer: the event may not be stored.")
}

func nothingHere(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	example(t, tab, "Everyone")
	click(t, tab, "#submit")
	waitText(t, tab, "sent", "It does not name alice, so nothing arrived here.")
	example(t, tab, "Header") // the fake looks into bodies only, as rules might
	click(t, tab, "#submit")
	waitText(t, tab, "sent", "with a rules file, the rules decide whom it concerns")
	click(t, tab, "#drop")
	waitState(t, tab, "idle")
	example(t, tab, "One user")
	click(t, tab, "#submit")
	waitText(t, tab, "sent", "This tab is not connected; it catches up when it is.")
}

func commandLines(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "alice")
	body := `{"userId":"alice","orderId":1042,"text":"Your order 1042 is on its way."}`
	if got, want := text(t, tab, "nats"), `nats pub events.orders.1042.shipped '`+body+`'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := text(t, tab, "tidings"), `go run . publish events.orders.1042.shipped '`+body+`'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	fill(t, tab, "body", `{ "userId": "o'neil" }`)
	waitText(t, tab, "tidings", `go run . publish events.orders.1042.shipped '{"userId":"o'\''neil"}'`)
	example(t, tab, "Header")
	if got, want := text(t, tab, "nats"), `nats pub events.deploys.shop.done 'Shop 2.4 is live.' -H 'notify-users:alice, bob'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	browser.Wait(t, tab, `document.getElementById('tidings-line').hidden && !document.getElementById('tidings-none').hidden`)
	click(t, tab, `[data-copy="nats"]`)
	browser.Wait(t, tab, `['Copied', 'Selected'].includes(document.querySelector('[data-copy="nats"]').textContent)`)
}

func dataIsText(t *testing.T, tab context.Context) {
	g := newFakeGateway(t)
	openAs(t, g, tab, "%3Cb%3Ealice")
	const evil = `"<img src=x onerror=alert(1)>"`
	g.say("<b>alice", `{"type":"notification","cursor":"0.e.1","id":`+evil+`,"kind":`+evil+`,"time":`+evil+`,"traceparent":`+evil+`,"data":{"a":`+evil+`,"text":`+evil+`}}`)
	g.say("<b>alice", `{"type":"notification","cursor":"0.e.2","id":"2","kind":`+evil+`,"time":"2026-01-01T00:00:00Z","data":`+evil+`}`)
	g.say("<b>alice", `{"type":`+evil+`,"cursor":`+evil+`}`)
	waitText(t, tab, "badge", "2")
	click(t, tab, "#bell")
	for _, id := range []string{"list", "bell-list", "toasts", "wire"} {
		waitText(t, tab, id, "<img src=x onerror=alert(1)>")
	}
	if got := browser.Eval[int](t, tab, `document.querySelectorAll('main img, .panel img, .toasts img, b').length`); got != 0 {
		t.Errorf("got %d elements made from data, want none", got)
	}
	waitText(t, tab, "user", "<b>alice")
	g.close("<b>alice", 4000, "<img src=x onerror=alert(1)>")
	waitText(t, tab, "notice-text", "<img src=x onerror=alert(1)>")
	for _, frame := range []string{`{"type":"notification","cursor":"0.e.3","id":7,"kind":null,"time":null}`, `{"type":"notification","cursor":"0.e.4"}`} {
		waitState(t, tab, "open")
		g.say("<b>alice", frame) // what no gateway says: it is shown as it is, and nothing breaks
	}
	g.say("<b>alice", `{"type":"notification","cursor":"0.e.5","id":"last","kind":"test","time":"2026-01-01T00:00:00Z"}`)
	waitText(t, tab, "list", "last")
}
