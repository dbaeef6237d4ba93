package k8s

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout"
	"tidings/ingest"
	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// The overlay of a laptop, run here: NATS with its configuration, both Deployments from the image, an event to a browser, and the end.
func TestLocalOverlayDelivers(t *testing.T) {
	all := render(t, "local")
	servers := startNATS(t, all)
	pods := tidings(t, all)
	fan := start(t, all, pods["fanout"], servers, nil).probe()
	gate := start(t, all, pods["gateway"], servers, nil).probe()

	tab, err := wsclient.Dial(t.Context(), "ws://"+gate.address("http")+"/ws", wsclient.Options{
		Header:    http.Header{"Authorization": {"Bearer " + token(t, all, pods["gateway"], "alice")}},
		Protocols: []string{"tidings.v1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Hangup()
	welcomed(t, tab)
	publish(t, "nats://publisher:for-this-laptop-only@"+servers[0], "events.orders.1042.shipped", `{"userId":"alice","orderId":1042}`)
	frame, err := tab.Next(house.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := frame.(wsclient.Notification); !ok || !strings.Contains(string(got.Data), "1042") {
		t.Errorf("got %#v, want the notification of order 1042", frame)
	}
	scrapesHave(t, gate, fan)
	gate.stop()
	fan.stop()
}

// The overlay of production, with three nodes of NATS and three copies of each stream. Its identity provider is here too.
func TestProductionOverlayIsReady(t *testing.T) {
	all := render(t, "production")
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) }))
	defer provider.Close()
	servers := startNATS(t, all)
	pods := tidings(t, all)
	start(t, all, pods["fanout"], servers, nil).probe()
	start(t, all, pods["gateway"], servers, map[string]string{"TIDINGS_AUTH_JWKS_URL": provider.URL}).probe()
	js := stream(t, "nats://publisher:for-this-laptop-only@"+servers[0])
	for _, name := range []string{"EVENTS", "LOG_0", "DLQ"} {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%s has %d copies, want 3", name, n)
		}
	}
}

// The rules that the manifests bring are rules.
func TestRulesAreRead(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		w := tidings(t, all)["fanout"]
		dir := t.TempDir()
		volumes(t, all, w, dir)
		if _, err := fanout.LoadRules(dir + environment(t, all, w)["TIDINGS_RULES"]); err != nil {
			t.Error(err)
		}
	})
}

func token(t *testing.T, all rendered, w workload, user string) string {
	t.Helper()
	cmd := exec.Command(binary(t), "token", "--user", user)
	cmd.Env = []string{"TIDINGS_AUTH_HMAC_SECRET=" + environment(t, all, w)["TIDINGS_AUTH_HMAC_SECRET"]}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func welcomed(t *testing.T, tab *wsclient.Tab) {
	t.Helper()
	frame, err := tab.Next(house.Patience)
	if _, ok := frame.(wsclient.Welcome); err != nil || !ok {
		t.Fatalf("got %#v, %v, want a welcome", frame, err)
	}
}

func publish(t *testing.T, at, subject, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), house.Patience)
	defer cancel()
	if err := ingest.Publish(ctx, stream(t, at), subject, json.RawMessage(body), nil); err != nil {
		t.Fatal(err)
	}
}

func stream(t *testing.T, at string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// scrapesHave compares what the processes show with what the rooms register: all that has no label must be there, by its name.
func scrapesHave(t *testing.T, pods ...*container) {
	t.Helper()
	var names []string
	for _, p := range pods {
		names = append(names, p.metrics()...)
	}
	all, err := exposed()
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range all {
		if strings.HasPrefix(name, "tidings_") && len(labels) == 0 && !slices.Contains(names, name) {
			t.Errorf("the processes do not show %s", name)
		}
	}
}
