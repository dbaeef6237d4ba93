package fanout

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/fanout/wire"
	"tidings/ingest"
)

const maxPayload = 1 << 20 // the default of nats-server

func TestNotificationBytes(t *testing.T) {
	e := newEvent("events.t", "")
	e.ID, e.TraceParent = "a\"b<&>\x01é\xff", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	e.Time = time.Date(2026, 1, 2, 3, 4, 5, 670_000_000, time.FixedZone("", 3600))
	n := Notification{Kind: "小\\", Data: []byte(`{"a":<raw>}`)}
	want := `{"id":"a\"b<&>\u0001é` + "\ufffd" + `","kind":"小\\","time":"2026-01-02T02:04:05.670Z","data":{"a":<raw>},"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
	if got := string(n.encode(e)); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	e.TraceParent = ""
	n.Data = []byte("null")
	want = want[:strings.Index(want, `,"data"`)] + `,"data":null}`
	if got := string(n.encode(e)); got != want {
		t.Errorf("without trace\ngot  %s\nwant %s", got, want)
	}
}

// decode parses the Records of entries, and checks what must hold for each of them.
func decode(t *testing.T, entries []Entry, shards int) []wire.Record {
	t.Helper()
	ids := map[string]bool{}
	records := make([]wire.Record, len(entries))
	for i, e := range entries {
		v, err := wire.Parse(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		r := v.Record()
		records[i] = r
		if !json.Valid(r.Notification) {
			t.Errorf("%s: the notification is not JSON: %.100s", e.MsgID, r.Notification)
		}
		if ids[e.MsgID] || len(e.MsgID) > 140 {
			t.Errorf("id %s comes twice, or is longer than 140 bytes", e.MsgID)
		}
		ids[e.MsgID] = true
		if len(e.Body)+headerRoom > maxPayload {
			t.Errorf("%s: a Record of %d bytes", e.MsgID, len(e.Body))
		}
		if e.Kind != r.Kind || e.Subject != wantSubject(r, e.Shard) {
			t.Errorf("%s: got kind %s on %s, want %s on %s", e.MsgID, e.Kind, e.Subject, r.Kind, wantSubject(r, e.Shard))
		}
		for _, u := range append(r.Users, r.ExceptUsers...) {
			if s := wire.Shard(u, shards); s != e.Shard {
				t.Errorf("%s: user %q of shard %d is in shard %d", e.MsgID, u, s, e.Shard)
			}
		}
	}
	return records
}

func wantSubject(r wire.Record, shard int) string {
	if r.Kind != wire.Users {
		return wire.MixedSubject(shard)
	}
	p := wire.Partition(r.Users[0])
	for _, u := range r.Users {
		if wire.Partition(u) != p {
			return wire.MixedSubject(shard)
		}
	}
	return wire.Subject(shard, p)
}

func TestIDsAndSubjects(t *testing.T) {
	n := &Notification{Rule: "r", Kind: "k", Data: []byte("1"), Audience: Audience{
		Users: []string{"alice", "bob"}, Groups: []string{"ops"}, // alice: shard 3 of 4, partition 13; bob: shard 0, partition 12
	}}
	const key = "0123456789abcdef0123456789abcdef"
	tests := map[string]struct {
		audience Audience
		shards   int
		want     []string // subject and id
	}{
		"one user":               {Audience{Users: []string{"alice"}}, 1, []string{"log.0.13 r.0.0"}},
		"two users, one shard":   {Audience{Users: []string{"alice", "bob"}}, 1, []string{"log.0.m r.0.0"}},
		"two users, four shards": {Audience{Users: []string{"alice", "bob"}}, 4, []string{"log.0.12 r.0.0", "log.3.13 r.3.0"}},
		"a group, two shards":    {Audience{Groups: []string{"ops"}}, 2, []string{"log.0.m r.0.ga92c36e66a25ee99ff86", "log.1.m r.1.ga92c36e66a25ee99ff86"}},
		"all":                    {Audience{All: true, Users: []string{"alice"}}, 2, []string{"log.0.m r.0.a", "log.1.m r.1.a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n.Audience = tt.audience
			entries, err := records(newEvent("events.t", "1"), n, tt.shards, maxPayload)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.Subject+" "+strings.TrimPrefix(e.MsgID, key+"."))
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the audience: each session gets exactly one Record of a rule if it belongs to the audience, and none otherwise.
func TestDisjoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	users, groups := nameList("user", 12), nameList("group", 5)
	for range 2000 {
		a := Audience{
			Users:        pick(rng, users),
			Groups:       pick(rng, groups),
			All:          rng.IntN(6) == 0,
			ExceptUsers:  pick(rng, users),
			ExceptGroups: pick(rng, groups),
		}
		listed := a.Users
		a.Users = append([]string(nil), a.Users...)
		wantGroups := a.Groups
		a.Groups = append([]string(nil), a.Groups...)
		a.subtract()
		shards := 1 + rng.IntN(4)
		n := &Notification{Rule: "r", Kind: "k", Data: []byte("1"), Audience: a}
		entries, err := records(newEvent("events.t", "1"), n, shards, maxPayload)
		if err != nil {
			t.Fatal(err)
		}
		decode(t, entries, shards)
		for _, user := range users {
			member := pick(rng, groups) // of this session
			want := 0
			if (a.All || has(listed, user) || overlap(wantGroups, member)) && !has(a.ExceptUsers, user) && !overlap(a.ExceptGroups, member) {
				want = 1
			}
			if got := received(t, entries, wire.Shard(user, shards), user, member); got != want {
				t.Fatalf("%+v, session of %s in %q: got %d Records, want %d", a, user, member, got, want)
			}
		}
	}
}

// received counts the Records that a gateway would give to a session.
func received(t *testing.T, entries []Entry, shard int, user string, groups []string) int {
	n := 0
	for _, e := range entries {
		v, err := wire.Parse(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		in := v.Kind == wire.All || v.Kind == wire.Users && v.Users.Has(user) || v.Kind == wire.Group && has(groups, string(v.Group))
		if e.Shard == shard && in && !v.Excepts(user, groups) {
			n++
		}
	}
	return n
}

func nameList(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%02d", prefix, i)
	}
	return out
}

// pick gives a random part of list, in order.
func pick(rng *rand.Rand, list []string) (out []string) {
	odds := rng.IntN(4)
	for _, s := range list {
		if rng.IntN(4) < odds {
			out = append(out, s)
		}
	}
	return out
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func overlap(a, b []string) bool {
	for _, s := range a {
		if has(b, s) {
			return true
		}
	}
	return false
}

// Great audiences and great notifications share the room of a message: chunks shrink as the notification grows.
func TestChunks(t *testing.T) {
	long := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = fmt.Sprintf("%0128d", i)
		}
		return out
	}
	tests := map[string]struct {
		users       []string
		data        int // bytes
		shards      int
		least, most int // Records
	}{
		"exactly one":        {nameList("u", wire.MaxUsers), 10, 1, 1, 1},
		"one more":           {nameList("u", wire.MaxUsers+1), 10, 1, 2, 2},
		"100,000":            {nameList("u", 100_000), 10, 1, 49, 49},
		"100,000, 4 shards":  {nameList("u", 100_000), 10, 4, 49, 53},
		"long names":         {long(wire.MaxUsers), 10, 1, 1, 1},
		"900 kB":             {long(wire.MaxUsers), 900_000, 1, 2, 2},
		"1,040 kB, one user": {[]string{"alice"}, 1_040_000, 1, 1, 1},
		"1,040 kB, some":     {long(300), 1_040_000, 1, 5, 6},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := &Notification{Rule: strings.Repeat("r", 64), Kind: "k", Data: []byte(`"` + strings.Repeat("x", tt.data) + `"`), Audience: Audience{Users: tt.users}}
			entries, err := records(newEvent("events.t", ""), n, tt.shards, maxPayload)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) < tt.least || len(entries) > tt.most {
				t.Errorf("got %d Records, want %d to %d", len(entries), tt.least, tt.most)
			}
			times := map[string]int{}
			for _, r := range decode(t, entries, tt.shards) {
				for _, u := range r.Users {
					times[u]++
				}
			}
			for _, u := range tt.users {
				if times[u] != 1 {
					t.Fatalf("user %s is listed %d times, want once", u, times[u])
				}
			}
		})
	}
}

func TestTooBig(t *testing.T) {
	data := []byte(`"` + strings.Repeat("x", maxPayload) + `"`)
	for name, a := range map[string]Audience{
		"users": {Users: []string{"alice"}},
		"group": {Groups: []string{"ops"}},
		"all":   {All: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := records(newEvent("events.t", ""), &Notification{Rule: "r", Kind: "k", Data: data, Audience: a}, 1, maxPayload)
			if !errors.Is(err, ingest.ErrPermanent) || !strings.Contains(err.Error(), "max_payload 1048576") {
				t.Errorf("got %v, want a permanent error that names max_payload", err)
			}
		})
	}
}

// The same event and rules give the same Records, byte for byte, in whatever order a map's keys come: half of them may be stored.
func TestDeterministic(t *testing.T) {
	rules := parse(t, `
rules:
- {name: a, subject: events.>, users: 'event.data.m.map(k, k)', groups: 'event.data.m.map(k, "g" + k)', data: 'event.data', exclude: {users: 'event.data.m.filter(k, event.data.m[k] > 90)'}}
- {name: b, subject: events.>, all: true, exclude: {groups: 'event.data.m.map(k, k)'}}
`)
	m := map[string]int{}
	for i := range 100 {
		m[fmt.Sprint("k", i)] = i
	}
	data, err := json.Marshal(map[string]any{"m": m})
	if err != nil {
		t.Fatal(err)
	}
	var first []Entry
	for range 20 {
		ns, err := rules.Evaluate(newEvent("events.t", string(data)))
		if err != nil {
			t.Fatal(err)
		}
		var entries []Entry
		for i := range ns {
			es, err := records(newEvent("events.t", string(data)), &ns[i], 3, maxPayload)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, es...)
		}
		if first == nil {
			first = entries
		}
		if !reflect.DeepEqual(entries, first) {
			t.Fatal("the Records differ from one time to the next")
		}
	}
}
