package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// viewer is one tab that a test looks at, frame by frame.
type viewer struct {
	*wsclient.Tab
	t       *testing.T
	user    string
	welcome wsclient.Welcome
	cursor  string
}

// open opens a tab of development mode and takes its welcome.
func open(t *testing.T, d *house.Tidings, user, cursor string) *viewer {
	t.Helper()
	query := url.Values{"user": {user}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	v := &viewer{Tab: dial(t, d, "/ws?"+query.Encode(), wsclient.Options{Protocols: []string{"tidings.v1"}}), t: t, user: user}
	var ok bool
	if v.welcome, ok = v.frame().(wsclient.Welcome); !ok {
		t.Fatalf("%s is not welcomed", user)
	}
	v.cursor = v.welcome.Cursor
	return v
}

func dial(t *testing.T, d *house.Tidings, path string, o wsclient.Options) *wsclient.Tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), house.Patience)
	defer cancel()
	tab, err := wsclient.Dial(ctx, "ws://"+d.Address("browsers")+path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tab.Hangup)
	return tab
}

func (v *viewer) frame() any {
	v.t.Helper()
	f, err := v.Next(house.Patience)
	if err != nil {
		v.t.Fatalf("%s waits for a frame: %v", v.user, err)
	}
	return f
}

// next is the next frame that is no heartbeat; the viewer's cursor goes with it.
func (v *viewer) next() any {
	v.t.Helper()
	for {
		switch f := v.frame().(type) {
		case wsclient.Heartbeat:
			v.cursor = f.Cursor
		case wsclient.Reset:
			v.cursor = f.Cursor
			return f
		case wsclient.Notification:
			v.cursor = f.Cursor
			return f
		default:
			return f
		}
	}
}

// expect takes notifications of these events, in this order and nothing else.
func (v *viewer) expect(ids ...string) {
	v.t.Helper()
	for _, id := range ids {
		if n, ok := v.next().(wsclient.Notification); !ok || n.ID != id {
			v.t.Fatalf("%s got %+v, want %s", v.user, n, id)
		}
	}
}

// expectReset takes a reset frame, and nothing else.
func (v *viewer) expectReset() {
	v.t.Helper()
	if f, ok := v.next().(wsclient.Reset); !ok {
		v.t.Fatalf("%s got %+v, want a reset", v.user, f)
	}
}

func (v *viewer) expectResume(want string) {
	v.t.Helper()
	if v.welcome.Resume != want {
		v.t.Fatalf("%s is welcomed with resume %q, want %q", v.user, v.welcome.Resume, want)
	}
}

// tell publishes an event for users, with its id, and tries again until it is acknowledged.
func tell(t *testing.T, js jetstream.JetStream, id string, users ...string) {
	t.Helper()
	tellLong(t, js, id, 0, users...)
}

// tellLong is tell, with so many more bytes.
func tellLong(t *testing.T, js jetstream.JetStream, id string, size int, users ...string) {
	t.Helper()
	m := nats.NewMsg("events.test.1.told")
	m.Header.Set(nats.MsgIdHdr, id)
	list, _ := json.Marshal(users) // strings
	m.Data = fmt.Appendf(nil, `{"userIds":%s,"pad":"%*s"}`, list, size, "")
	house.Eventually(t, house.Patience, id+" is stored", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := js.PublishMsg(ctx, m)
		return err
	})
}

// ids are prefix-from … prefix-to.
func ids(prefix string, from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprintf("%s-%d", prefix, i))
	}
	return list
}
