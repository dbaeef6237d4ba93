package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidings/fanout/wire"
	"tidings/ingest"
)

func newFan(t *testing.T, n *node, rules *Rules, shards int) (*Fan, *prometheus.Registry) {
	t.Helper()
	js := n.connect()
	reg := prometheus.NewRegistry()
	if err := EnsureLog(context.Background(), js, logConfig(shards), false); err != nil {
		t.Fatal(err)
	}
	return New(rules, NewPublisher(js, logConfig(shards), quiet(), reg), quiet(), reg), reg
}

func TestHandle(t *testing.T) {
	rules := parse(t, `
rules:
- {name: users, subject: events.order.>, users: event.data.u}
- {name: group, subject: events.order.both, groups: '["ops"]', kind: '"order"', data: event.data.n}
- {name: broken, subject: events.order.broken, all: true, data: event.data.absent}
`)
	n := startNode(t)
	fan, reg := newFan(t, n, rules, 2)
	ctx := context.Background()
	e := newEvent("events.order.both", `{"u":["alice","bob"],"n":7}`)
	if err := fan.Handle(ctx, e); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ subject, data string }{
		{"events.weather", `{}`},           // unmatched
		{"events.order.users", `{"u":[]}`}, // nobody
	} {
		if err := fan.Handle(ctx, newEvent(tt.subject, tt.data)); err != nil {
			t.Errorf("%s: %v", tt.subject, err)
		}
	}
	if err := fan.Handle(ctx, newEvent("events.order.broken", `{"u":"alice"}`)); !errors.Is(err, ingest.ErrPermanent) {
		t.Errorf("got %v, want a permanent error", err)
	}

	body := func(kind, data string) []byte {
		return []byte(`{"id":"e-1","kind":"` + kind + `","time":"2026-01-02T03:04:05.678Z","data":` + data + `}`)
	}
	record := func(r wire.Record, id string, shard int, kind, data string) stored {
		r.EventID, r.Stored, r.Notification = "e-1", e.Stored, body(kind, data)
		return stored{r, shard, e.Key + "." + id}
	}
	group := "g" + groupHash("ops")
	want := []stored{ // alice lives in shard 1, bob in shard 0; nothing of the event with the broken rule
		record(wire.Record{Kind: wire.Users, Users: []string{"bob"}}, "users.0.0", 0, "order.both", string(e.Data)),
		record(wire.Record{Kind: wire.Group, Group: "ops"}, "group.0."+group, 0, "order", "7"),
		record(wire.Record{Kind: wire.Users, Users: []string{"alice"}}, "users.1.0", 1, "order.both", string(e.Data)),
		record(wire.Record{Kind: wire.Group, Group: "ops"}, "group.1."+group, 1, "order", "7"),
	}
	if got := readLog(t, n.connect(), 2); !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP tidings_events_fanned_total Events handled: delivered to the log, unmatched by any rule, reaching nobody, or failed (error).
# TYPE tidings_events_fanned_total counter
tidings_events_fanned_total{result="delivered"} 1
tidings_events_fanned_total{result="error"} 1
tidings_events_fanned_total{result="nobody"} 1
tidings_events_fanned_total{result="unmatched"} 1
# HELP tidings_records_total Records acknowledged by the log, by kind of audience; one that was there already is counted again.
# TYPE tidings_records_total counter
tidings_records_total{kind="all"} 0
tidings_records_total{kind="group"} 2
tidings_records_total{kind="users"} 2
`), "tidings_events_fanned_total", "tidings_records_total")
	if err != nil {
		t.Error(err)
	}
}

// One event, 100,000 listed users: each of them once in the log, in chunks.
func TestHundredThousandUsers(t *testing.T) {
	type member struct {
		ID string `json:"id"`
	}
	var members []member
	for i := range 100_000 {
		members = append(members, member{fmt.Sprintf("user-%06d", i)})
	}
	data, err := json.Marshal(map[string]any{"members": members, "text": "hello"})
	if err != nil {
		t.Fatal(err)
	}
	rules := parse(t, rule("users: event.data.members.map(m, m.id)", "data: event.data.text"))
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			n := startNode(t)
			fan, _ := newFan(t, n, rules, shards)
			if err := fan.Handle(context.Background(), newEvent("events.big", string(data))); err != nil {
				t.Fatal(err)
			}
			times := map[string]int{}
			records := readLog(t, n.connect(), shards)
			for _, r := range records {
				if len(r.Users) > wire.MaxUsers || !bytes.Contains(r.Notification, []byte(`"data":"hello"}`)) {
					t.Errorf("%s: %d users, %s", r.id, len(r.Users), r.Notification)
				}
				for _, u := range r.Users {
					times[u]++
					if s := wire.Shard(u, shards); s != r.shard {
						t.Fatalf("user %s of shard %d is in shard %d", u, s, r.shard)
					}
				}
			}
			for _, m := range members {
				if times[m.ID] != 1 {
					t.Fatalf("user %s is in the log %d times, want once", m.ID, times[m.ID])
				}
			}
			if len(times) != len(members) || len(records) > 100_000/wire.MaxUsers+1+shards {
				t.Errorf("got %d users in %d Records", len(times), len(records))
			}
		})
	}
}

// A notification near max_payload goes through a real server, for many users with long names.
func TestNearMaxPayload(t *testing.T) {
	n := startNode(t)
	rules := parse(t, rule("users: event.headers[\"list\"].split(\",\")"))
	fan, _ := newFan(t, n, rules, 1)
	var users []string
	for i := range wire.MaxUsers {
		users = append(users, fmt.Sprintf("%0128d", i))
	}
	e := newEvent("events.big", `"`+strings.Repeat("x", 900_000)+`"`)
	e.Headers["list"] = strings.Join(users, ",")
	if err := fan.Handle(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, r := range readLog(t, n.connect(), 1) {
		total += len(r.Users)
	}
	if total != len(users) {
		t.Errorf("got %d users in the log, want %d", total, len(users))
	}
	e.Data = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	if err := fan.Handle(context.Background(), e); !errors.Is(err, ingest.ErrPermanent) || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("got %v, want a permanent error that names max_payload", err)
	}
}

func TestGroupAndAllOncePerShard(t *testing.T) {
	n := startNode(t)
	rules := parse(t, "rules:\n- {name: g, subject: events.>, groups: '[\"a\", \"b\"]', exclude: {users: '[\"alice\", \"bob\"]'}}\n- {name: all, subject: events.>, all: true}\n")
	const shards = 4
	fan, _ := newFan(t, n, rules, shards)
	if err := fan.Handle(context.Background(), newEvent("events.x", `{}`)); err != nil {
		t.Fatal(err)
	}
	got, want := map[string]int{}, map[string]int{}
	for _, r := range readLog(t, n.connect(), shards) {
		got[fmt.Sprintf("%d %s %q %q %q", r.shard, r.Kind, r.Group, r.ExceptUsers, r.ExceptGroups)]++
	}
	for s, except := range [][]string{{"bob"}, nil, nil, {"alice"}} {
		want[fmt.Sprintf(`%d group "a" %q []`, s, except)] = 1
		want[fmt.Sprintf(`%d group "b" %q ["a"]`, s, except)] = 1
		want[fmt.Sprintf(`%d all "" [] []`, s)] = 1
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
}

func BenchmarkOneUserRule(b *testing.B) {
	rules := parse(b, rule("when: event.data.total > 0", "users: event.data.customerId", `kind: '"order.shipped"'`, `data: '{"orderId": event.data.id, "status": "shipped"}'`))
	benchmark(b, rules, `{"id":1042,"total":9.5,"customerId":"alice","items":[{"sku":"a","n":1},{"sku":"b","n":2}]}`)
}

func BenchmarkDefaultAudience(b *testing.B) {
	benchmark(b, nil, `{"userId":"alice","id":1042,"total":9.5,"items":[{"sku":"a","n":1},{"sku":"b","n":2}]}`)
}

// benchmark measures everything but NATS: from an Event to the Records' bytes.
func benchmark(b *testing.B, rules *Rules, data string) {
	e := newEvent("events.orders.1042.shipped", data)
	b.ReportAllocs()
	for b.Loop() {
		ns, err := rules.Evaluate(e)
		if err != nil {
			b.Fatal(err)
		}
		entries, err := records(e, &ns[0], 1, maxPayload)
		if err != nil || len(entries) != 1 {
			b.Fatalf("got %d entries, %v", len(entries), err)
		}
	}
}
