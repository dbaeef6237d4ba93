package integration

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

const plainGreeting = "来自后台的反馈:连接成功"

// plain opens a tab of the plain dialect and takes its greeting.
func plain(t *testing.T, d *house.Tidings, user string) *wsclient.Tab {
	t.Helper()
	tab := dial(t, d, "/websocket/"+user, wsclient.Options{})
	if got := text(t, tab); got != plainGreeting {
		t.Fatalf("greeted with %q, want %q", got, plainGreeting)
	}
	return tab
}

func text(t *testing.T, tab *wsclient.Tab) string {
	t.Helper()
	b, err := tab.Text(house.Patience)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAllInOne: the binary with nothing but ports and a directory, as `go run .` on a fresh machine. Every way to publish an event
// reaches tabs of both dialects.
func TestAllInOne(t *testing.T) {
	d := programs.Start(t, "all", house.Settings{}).Ready()
	js := house.Connect(t, d.NATS())
	nc := js.Conn()
	alice, bob, old := open(t, d, "alice", ""), open(t, d, "bob", ""), plain(t, d, "alice")
	for _, health := range []string{"SUCCESS", "SUCCESS"} {
		if err := old.SendText(`{"sendType":"HEALTH"}`); err != nil {
			t.Fatal(err)
		}
		if got := text(t, old); got != health {
			t.Fatalf("HEALTH is answered with %q, want %q", got, health)
		}
	}
	tidings := func(stdin string, args ...string) {
		t.Helper()
		c := programs.Command(t, house.Settings{"NATS_URL": d.NATS()}, stdin, args...)
		if code := c.Code(); code != 0 || !strings.HasPrefix(c.Stdout(), "published ") {
			t.Fatalf("%s: exit code %d, %s%s", c.Name, code, c.Stdout(), c.Stderr())
		}
	}
	publish := func(m *nats.Msg) {
		t.Helper()
		if _, err := js.PublishMsg(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		name    string
		publish func()
		want    wsclient.Notification // ID "": any
	}{
		{"plain core publish", func() {
			if err := nc.Publish("events.orders.1.shipped", []byte(`{"userId":"alice","n":1}`)); err != nil {
				t.Fatal(err)
			}
		}, wsclient.Notification{Kind: "orders.1.shipped", Data: []byte(`{"userId":"alice","n":1}`)}},
		{"JetStream", func() {
			publish(&nats.Msg{Subject: "events.orders.1.paid", Data: []byte(`{"userIds":["alice","carol"]}`),
				Header: nats.Header{"Nats-Msg-Id": {"paid-1"}, "traceparent": {trace}}})
		}, wsclient.Notification{ID: "paid-1", Kind: "orders.1.paid", Data: []byte(`{"userIds":["alice","carol"]}`), TraceParent: trace}},
		{"tidings publish, an argument", func() {
			tidings("", "publish", "events.orders.1.packed", `{"userId":"alice"}`)
		}, wsclient.Notification{Kind: "orders.1.packed", Data: []byte(`{"userId":"alice"}`)}},
		{"tidings publish, standard input", func() {
			tidings(`{"userId":"alice","from":"stdin"}`, "publish", "events.orders.1.sent")
		}, wsclient.Notification{Kind: "orders.1.sent", Data: []byte(`{"userId":"alice","from":"stdin"}`)}},
		{"CloudEvents, binary", func() {
			publish(&nats.Msg{Subject: "events.shop.1.x", Data: []byte(`{"n":5}`), Header: nats.Header{
				"ce-specversion": {"1.0"}, "CE-ID": {"b-1"}, "ce-source": {"/shop"}, "ce-type": {"shop.binary"}, "ce-notifyusers": {"alice"},
				"ce-time": {"2026-01-02T03:04:05Z"}}})
		}, wsclient.Notification{ID: "b-1", Kind: "shop.binary", Data: []byte(`{"n":5}`), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		{"CloudEvents, structured", func() {
			publish(&nats.Msg{Subject: "events.shop.1.x", Header: nats.Header{"Content-Type": {"application/cloudevents+json"}},
				Data: []byte(`{"specversion":"1.0","id":"s-1","source":"/shop","type":"shop.structured","notifyusers":"alice","data":{"n":6}}`)})
		}, wsclient.Notification{ID: "s-1", Kind: "shop.structured", Data: []byte(`{"n":6}`)}},
		{"CloudEvents, structured, without a header", func() {
			publish(&nats.Msg{Subject: "events.shop.1.x",
				Data: []byte(`{"specversion":"1.0","id":"s-2","source":"/shop","type":"shop.headless","notifyusers":"alice","data":{"n":7}}`)})
		}, wsclient.Notification{ID: "s-2", Kind: "shop.headless", Data: []byte(`{"n":7}`)}},
		{"the same once more, and then another", func() {
			for _, id := range []string{"s-2", "s-3"} {
				publish(&nats.Msg{Subject: "events.shop.1.x",
					Data: []byte(`{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"shop.headless","notifyusers":"alice","data":{"n":7}}`)})
			}
		}, wsclient.Notification{ID: "s-3", Kind: "shop.headless", Data: []byte(`{"n":7}`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			alice.t = t
			c.publish()
			got, ok := alice.next().(wsclient.Notification)
			if !ok || c.want.ID != "" && got.ID != c.want.ID || got.ID == "" || got.Kind != c.want.Kind || string(got.Data) != string(c.want.Data) ||
				got.TraceParent != c.want.TraceParent || !c.want.Time.IsZero() && !got.Time.Equal(c.want.Time) {
				t.Errorf("got %+v\nwith %s, want %+v\nwith %s", got, got.Data, c.want, c.want.Data)
			}
			var same struct{ Type, ID, Cursor, Kind string }
			if err := json.Unmarshal([]byte(text(t, old)), &same); err != nil {
				t.Fatal(err)
			}
			if same.Type != "notification" || same.ID != got.ID || same.Cursor != got.Cursor || same.Kind != got.Kind {
				t.Errorf("the plain dialect got %+v, want %s at %s", same, got.ID, got.Cursor)
			}
		})
	}
	tell(t, js, "for-bob", "bob")
	bob.expect("for-bob") // and nothing of all that before
}

// TestTokens: with a key, a tab is who its token says.
func TestTokens(t *testing.T) {
	s := house.Settings{"AUTH_HMAC_SECRET": "0123456789abcdef0123456789abcdef", "AUTH_TIMEOUT": "1s"}
	rules := rulesFile(t, "rules:\n- {name: staff, subject: events.staff.>, groups: '[\"staff\"]'}\n")
	d := programs.Start(t, "all", s.With(house.Settings{"RULES": rules})).Ready()
	js := house.Connect(t, d.NATS())
	mint := func(args ...string) string {
		t.Helper()
		c := programs.Command(t, s, "", append([]string{"token"}, args...)...)
		if code := c.Code(); code != 0 {
			t.Fatalf("%s: exit code %d, %s", c.Name, code, c.Stderr())
		}
		return strings.TrimSpace(c.Stdout())
	}
	connect := func(token string) *viewer {
		t.Helper()
		return &viewer{t: t, user: "alice",
			Tab: dial(t, d, "/ws", wsclient.Options{Protocols: []string{"tidings.v1", "bearer." + token}})}
	}
	member, other := connect(mint("--user", "alice", "--groups", "staff,berlin", "--ttl", "1h")), connect(mint("--user", "alice"))
	for _, v := range []*viewer{member, other} {
		if f, ok := v.frame().(wsclient.Welcome); !ok {
			t.Fatalf("got %+v, want a welcome", f)
		}
	}
	if _, err := js.Publish(context.Background(), "events.staff.1.meets", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if f, ok := member.next().(wsclient.Notification); !ok || f.Kind != "staff.1.meets" {
		t.Errorf("the member of staff got %+v, want staff.1.meets", f)
	}
	for name, c := range map[string]struct {
		tab  *wsclient.Tab
		code int
	}{
		"no token":        {dial(t, d, "/ws", wsclient.Options{Protocols: []string{"tidings.v1"}}), 4401},
		"a false token":   {connect(mint("--user", "alice") + "x").Tab, 4401},
		"plain, no token": {dial(t, d, "/websocket/alice", wsclient.Options{}), 4401},
		"plain, of another": {dial(t, d, "/websocket/bob", wsclient.Options{
			Header: map[string][]string{"Cookie": {"tidings_token=" + mint("--user", "alice")}}}), 4403},
		"a token that ends": {connect(mint("--user", "alice", "--ttl", "3s")).Tab, 4401},
	} {
		for {
			f, err := c.tab.Text(house.Patience)
			if err == nil && strings.Contains(string(f), `"welcome"`) || err == nil && strings.HasPrefix(string(f), `{"cursor"`) {
				continue
			}
			if got := wsclient.CloseCode(err); got != c.code {
				t.Errorf("%s: got %q and %v, want a close with %d", name, f, err, c.code)
			}
			break
		}
	}
	if status, _, err := d.Get("/metrics"); status != 200 || err != nil {
		t.Errorf("metrics: %d, %v", status, err)
	}
}

// TestLeaving: after SIGTERM every tab is told to come back elsewhere, and the process ends well and soon.
func TestLeaving(t *testing.T) {
	store := t.TempDir()
	d := programs.Start(t, "first", house.Settings{"NATS_STORE": store}).Ready()
	js := house.Connect(t, d.NATS())
	alice, old := open(t, d, "alice", ""), plain(t, d, "alice")
	tell(t, js, "e-1", "alice")
	alice.expect("e-1")
	text(t, old)
	began := time.Now()
	ended := make(chan int, 1)
	go func() { ended <- d.Terminate(house.Patience) }()
	if f, ok := alice.next().(wsclient.Draining); !ok || f.RetryAfter < 0 || f.RetryAfter > 30*time.Second {
		t.Errorf("got %+v, want draining", f)
	}
	for name, tab := range map[string]*wsclient.Tab{"tidings.v1": alice.Tab, "plain": old} {
		if f, err := tab.Text(house.Patience); wsclient.CloseCode(err) != 1012 {
			t.Errorf("%s: got %q and %v, want a close with 1012", name, f, err)
		}
		tab.Hangup() // as browsers do when the closing handshake is done
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to leave, want 10 s at most", took)
	}
	d = programs.Start(t, "second", house.Settings{"NATS_STORE": store}).Ready()
	js = house.Connect(t, d.NATS())
	tell(t, js, "e-2", "alice")
	alice = open(t, d, "alice", alice.cursor)
	alice.expectResume("complete")
	alice.expect("e-2")
}
