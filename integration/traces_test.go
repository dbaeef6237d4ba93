package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	parentID = "b7ad6b7169203331"
)

// traced publishes an event for alice with headers.
func traced(t *testing.T, js jetstream.JetStream, id string, header nats.Header) {
	t.Helper()
	header.Set("Nats-Msg-Id", id)
	m := &nats.Msg{Subject: "events.orders.1042.shipped", Header: header, Data: []byte(`{"userId":"alice"}`)}
	if _, err := js.PublishMsg(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

func notification(t *testing.T, tab interface{ next() any }, id string) wsclient.Notification {
	t.Helper()
	n, ok := tab.next().(wsclient.Notification)
	if !ok || n.ID != id {
		t.Fatalf("got %+v, want the notification %s", n, id)
	}
	return n
}

// TestTrace: one role a process. The trace of a publisher goes on through both of them, to each gateway that has tabs, and its id is in
// the frame, in the log and among the exemplars.
func TestTrace(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *collectorServer{"HTTP": startCollector, "gRPC": startGRPCCollector} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			nodes := programs.Servers(t, 1)
			s := house.Settings{"NATS_URL": house.URLs(nodes), "LOG_LEVEL": "debug"}
			programs.Start(t, "fanout", s.With(house.Settings{"ROLES": "fanout"})).Ready()
			gates := make([]*house.Tidings, 3)
			for i := range gates {
				gates[i] = programs.Start(t, fmt.Sprint("gateway", i), s.With(house.Settings{"ROLES": "gateway"})).Ready()
			}
			js := house.Connect(t, house.URLs(nodes))
			a1, a2, b1 := open(t, gates[0], "alice", ""), open(t, gates[0], "alice", ""), open(t, gates[1], "alice", "")
			bob := open(t, gates[2], "bob", "")

			parent := "00-" + traceID + "-" + parentID + "-01"
			traced(t, js, "one", nats.Header{"traceparent": {parent}, "tracestate": {"x=y"}, "baggage": {"secret=1"}})
			for _, tab := range []interface{ next() any }{a1, a2, b1} {
				if n := notification(t, tab, "one"); n.TraceParent != parent {
					t.Errorf("the frame has the traceparent %q, want %q", n.TraceParent, parent)
				}
			}
			list := c.trace(traceID, 5)
			process, rules, send := named(t, list, "process events.orders.*.shipped"), named(t, list, "evaluate rules"), named(t, list, "send log")
			var delivers []spanSeen
			for _, s := range list {
				if s.Name == "deliver log" {
					delivers = append(delivers, s)
				}
			}
			if len(delivers) != 2 {
				t.Fatalf("got the spans %v, want one delivery of each gateway with tabs", names(list))
			}
			for _, check := range []struct {
				name      string
				got, want string
			}{
				{"parent of process", process.parent(), parentID},
				{"tracestate of process", process.TraceState, "x=y"},
				{"parent of rules", rules.parent(), process.id()},
				{"parent of send", send.parent(), process.id()},
				{"parent of one delivery", delivers[0].parent(), send.id()},
				{"parent of the other", delivers[1].parent(), send.id()},
				{"service", process.service, "tidings"},
				{"role", process.role + " " + delivers[0].role, "fanout gateway"},
				{"kinds", fmt.Sprint(process.Kind, rules.Kind, send.Kind, delivers[0].Kind), "SPAN_KIND_CONSUMER SPAN_KIND_INTERNAL SPAN_KIND_PRODUCER SPAN_KIND_CONSUMER"},
				{"subject", process.attributes["messaging.destination.name"], "events.orders.1042.shipped"},
				{"event", process.attributes["messaging.message.id"] + " " + delivers[0].attributes["messaging.message.id"], "one one"},
				{"rules", rules.attributes["tidings.rules.matched"], "default"},
			} {
				if check.got != check.want {
					t.Errorf("%s: got %q, want %q", check.name, check.got, check.want)
				}
			}
			if a, b := delivers[0].attributes["tidings.sessions"], delivers[1].attributes["tidings.sessions"]; a+b != "12" && a+b != "21" {
				t.Errorf("delivered to %s and %s sessions, want to 1 and 2", a, b)
			}
			for _, s := range list {
				if s.EndTimeUnixNano < s.StartTimeUnixNano || s.Status.GetCode() == 2 {
					t.Errorf("%s goes from %d to %d, with status %v", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano, s.Status)
				}
				if fmt.Sprint(s.attributes) != strings.ReplaceAll(fmt.Sprint(s.attributes), "secret", "") {
					t.Errorf("%s has the publisher's baggage: %v", s.Name, s.attributes)
				}
			}
			exemplar(t, gates[0])
			if !strings.Contains(gates[0].Stderr(), `"trace_id":"`+traceID+`"`) {
				t.Errorf("the gateway's log has no line of the trace")
			}

			// What the publisher does not sample, and what is no traceparent, makes no spans of that trace; a new trace begins for the latter.
			other := strings.Replace(traceID, "0a", "0b", 1)
			traced(t, js, "unsampled", nats.Header{"traceparent": {"00-" + other + "-" + parentID + "-00"}})
			notification(t, a1, "unsampled")
			for i, bad := range []string{"00-" + other, "ff-" + other + "-" + parentID + "-01", "00-" + strings.Repeat("0", 32) + "-" + parentID + "-01", "\xff"} {
				id := fmt.Sprint("bad", i)
				traced(t, js, id, nats.Header{"traceparent": {bad}})
				if n := notification(t, a1, id); n.TraceParent != "" {
					t.Errorf("%q came to the browser as %q", bad, n.TraceParent)
				}
			}
			house.Eventually(t, house.Patience, "four more traces", func() error {
				roots := 0
				for _, s := range c.all() {
					if s.trace() == other {
						t.Fatalf("%s was not to be traced", s.Name)
					}
					if strings.HasPrefix(s.Name, "process ") && s.parent() == "" {
						roots++
					}
				}
				if roots != 4 {
					return fmt.Errorf("%d", roots)
				}
				return nil
			})
			tell(t, js, "for-bob", "bob")
			bob.expect("for-bob")
		})
	}
}

// exemplar looks for the trace among the gateway's metrics, as Prometheus asks for it.
func exemplar(t *testing.T, d *house.Tidings) {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+d.Address("admin")+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: house.Patience}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`tidings_delivery_seconds_bucket\{kind="orders\.\*\.shipped",le="[^"]+"\} \d+ # \{trace_id="` + traceID + `"\} `)
	if !want.Match(b) {
		t.Errorf("no line of /metrics is like %s", want)
	}
}

// TestCollectorAway: nothing depends on the collector. What it does not take is counted, and said once.
func TestCollectorAway(t *testing.T) {
	c := startCollector(t)
	c.setDown(true)
	d := programs.Start(t, "all", house.Settings{}).Ready()
	js := house.Connect(t, d.NATS())
	alice := open(t, d, "alice", "")
	say := func(i int) {
		t.Helper()
		id := fmt.Sprint("event", i)
		traced(t, js, id, nats.Header{"traceparent": {fmt.Sprintf("00-%032x-%s-01", i+1, parentID)}})
		notification(t, alice, id)
	}
	for i := range 20 {
		say(i)
	}
	house.Eventually(t, house.Patience, "the lost spans are counted", func() error {
		if n := d.Metric("tidings_spans_dropped_total", "export"); n != 20*4 {
			return fmt.Errorf("%v are", n)
		}
		return nil
	})
	if n := strings.Count(d.Stderr(), "the collector does not take traces"); n != 1 {
		t.Errorf("it is said %d times that the collector does not take traces, want once", n)
	}
	c.setDown(false)
	say(20)
	c.trace(fmt.Sprintf("%032x", 21), 4)
	house.Eventually(t, house.Patience, "it is said that it works again", func() error {
		if !strings.Contains(d.Stderr(), "the collector takes traces again") {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}

// TestTraceSettings: what is wrong with OpenTelemetry's variables is said at the start; without an endpoint nothing is traced.
func TestTraceSettings(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "no URL such as http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "want http/protobuf"},
		{"OTEL_TRACES_SAMPLER", "sometimes", "want always_on"},
		{"OTEL_TRACES_SAMPLER_ARG", "2", "want a share from 0 to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(c.name, c.value)
			d := programs.Start(t, "all", house.Settings{})
			d.Exit(house.Patience)
			if code := d.Code(); code != 1 || !strings.Contains(d.Stderr(), c.want) || !strings.Contains(d.Stderr(), c.name) {
				t.Errorf("exit code %d and %s, want 1 and %q", code, d.Stderr(), c.want)
			}
		})
	}
}
