package fanout

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// newEvent is an event as ingest hands it over.
func newEvent(subject, data string) *ingest.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	return &ingest.Event{
		Key:         "0123456789abcdef0123456789abcdef",
		ID:          "e-1",
		Source:      "/shop",
		Type:        strings.TrimPrefix(subject, "events."),
		Time:        at,
		Data:        []byte(data),
		NATSSubject: subject,
		Headers:     map[string]string{"x-tenant": "acme"},
		Extensions:  map[string]string{"region": "eu", "headers": "an extension never hides an attribute"},
		Stored:      at.Add(time.Millisecond),
		Sequence:    7,
	}
}

func parse(t testing.TB, text string) *Rules {
	t.Helper()
	r, err := ParseRules("rules.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rule is a file with one rule for every event and the given fields.
func rule(fields ...string) string {
	return "rules:\n- name: r\n  subject: events.>\n  " + strings.Join(fields, "\n  ") + "\n"
}

func TestExampleFile(t *testing.T) {
	rules, err := LoadRules("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		subject, data string
		change        func(*ingest.Event)
		want          []Notification
	}{
		"the event's own type and data": {
			subject: "events.invoices.7.paid",
			data:    `{"customerId": 1042, "total": 1e2}`,
			want: []Notification{{
				Rule: "invoice-paid", Kind: "invoices.7.paid", Data: []byte(`{"customerId": 1042, "total": 1e2}`),
				Audience: Audience{Users: []string{"1042"}},
			}},
		},
		"when, a list, kind and data": {
			subject: "events.orders.1042.shipped",
			data:    `{"id":1042,"total":9.5,"customerId":"alice","watchers":["carol","bob","alice"]}`,
			want: []Notification{{
				Rule: "order-shipped", Kind: "order.shipped", Data: []byte(`{"orderId":1042,"status":"shipped"}`),
				Audience: Audience{Users: []string{"alice", "bob", "carol"}},
			}},
		},
		"when is false": {
			subject: "events.orders.1042.shipped",
			data:    `{"id":1042,"total":0}`,
		},
		"the actor is left out": {
			subject: "events.documents.d.commented",
			data:    `{"authorId":"bob","members":[{"id":"alice","notify":true},{"id":"bob","notify":true},{"id":"carol","notify":false}]}`,
			want: []Notification{{
				Rule: "comment-added", Kind: "documents.d.commented",
				Data:     []byte(`{"authorId":"bob","members":[{"id":"alice","notify":true},{"id":"bob","notify":true},{"id":"carol","notify":false}]}`),
				Audience: Audience{Users: []string{"alice"}, ExceptUsers: []string{"bob"}},
			}},
		},
		"an absent field, for which there is a value": {
			subject: "events.documents.d.commented",
			data:    `{"authorId":"bob"}`,
			want:    []Notification{{Rule: "comment-added", Audience: Audience{Users: []string{}, ExceptUsers: []string{"bob"}}}},
		},
		"groups": {
			subject: "events.stock.screws.changed",
			data:    `{"left":1,"minimum":2.5,"site":3}`,
			want: []Notification{{
				Rule: "stock-low", Kind: "stock.screws.changed", Data: []byte(`{"left":1,"minimum":2.5,"site":3}`),
				Audience: Audience{Groups: []string{"purchasing", "warehouse-3"}, ExceptGroups: []string{"night-shift"}},
			}},
		},
		"users and groups": {
			subject: "events.incidents.9.opened",
			data:    `{"reporter":"alice","title":"<b>fire</b> & smoke"}`,
			want: []Notification{{
				Rule: "incident", Kind: "incidents.9.opened",
				Data:     []byte(`{"since":"2026-01-02T03:04:05.678901234Z","source":"/shop","title":"<b>fire</b> & smoke"}`),
				Audience: Audience{Users: []string{"alice"}, Groups: []string{"on-call"}},
			}},
		},
		"all": {
			subject: "events.system.maintenance",
			want: []Notification{{
				Rule: "maintenance", Kind: "system.maintenance", Data: []byte("null"),
				Audience: Audience{All: true, ExceptUsers: []string{"probe"}},
			}},
		},
		"tokens, and a header that is absent": {
			subject: "events.chat.alice.message",
			data:    `"hi"`,
			want: []Notification{{
				Rule: "chat", Kind: "chat.message", Data: []byte(`"hi"`), Audience: Audience{Users: []string{"alice"}},
			}},
		},
		"a header": {
			subject: "events.chat.alice.message",
			change:  func(e *ingest.Event) { e.Headers["x-silent"] = "yes" },
		},
		"an extension": {
			subject: "events.chat.alice.message",
			change:  func(e *ingest.Event) { e.Extensions["test"] = "1" },
		},
		"no rule": {subject: "events.weather"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEvent(tt.subject, tt.data)
			if tt.change != nil {
				tt.change(e)
			}
			got, err := rules.Evaluate(e)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("\ngot  %s\nwant %s", show(got), show(tt.want))
			}
		})
	}
}

func show(ns []Notification) string {
	var b strings.Builder
	for _, n := range ns {
		fmt.Fprintf(&b, "%s kind %q data %s %+v; ", n.Rule, n.Kind, n.Data, n.Audience)
	}
	return b.String()
}

func TestAllMatchingRulesInOrder(t *testing.T) {
	rules := parse(t, `
rules:
- {name: b, subject: events.>, users: '"u"'}
- {name: never, subject: events.x.*, users: '"u"'}
- {name: a, subject: "*.x", users: '"u"'}
- {name: c, subject: ">", all: true}
`)
	got, err := rules.Evaluate(newEvent("events.x", "1"))
	if err != nil {
		t.Fatal(err)
	}
	var order string
	for _, n := range got {
		order += n.Rule
	}
	if order != "bac" {
		t.Errorf("got rules %q, want %q", order, "bac")
	}
}

func TestUsers(t *testing.T) {
	tests := map[string]struct {
		expr, data string
		want       []string
		err        string
	}{
		"string":                {`event.data.u`, `{"u":"alice"}`, []string{"alice"}, ""},
		"integer":               {`event.data.u`, `{"u":-42}`, []string{"-42"}, ""},
		"great integer":         {`event.data.u`, `{"u":18446744073709551615}`, []string{"18446744073709551615"}, ""},
		"integers as they are":  {`event.data.u`, `{"u":[9007199254740993, 2]}`, []string{"2", "9007199254740993"}, ""},
		"repeats":               {`event.data.u`, `{"u":["b","a","b",1,"1"]}`, []string{"1", "a", "b"}, ""},
		"keys of a map":         {`event.data.u.map(k, k)`, `{"u":{"b":1,"a":2,"c":3}}`, []string{"a", "b", "c"}, ""},
		"two variables":         {`event.data.u.transformList(k, v, v > 1, k)`, `{"u":{"b":1,"a":2,"c":3}}`, []string{"a", "c"}, ""},
		"nobody":                {`event.data.u`, `{"u":[]}`, []string{}, ""},
		"any UTF-8":             {`event.data.u`, `{"u":["小明"," a,b%.*>","` + strings.Repeat("u", 128) + `"]}`, []string{" a,b%.*>", strings.Repeat("u", 128), "小明"}, ""},
		"extension":             {`event.region`, `{}`, []string{"eu"}, ""},
		"extension by index":    {`event["reg" + "ion"]`, `{}`, []string{"eu"}, ""},
		"header":                {`event.headers["x-tenant"]`, `{}`, []string{"acme"}, ""},
		"subject":               {`subject`, `{}`, []string{"events.t"}, ""},
		"all names":             {`event.map(k, k)`, `{}`, []string{"data", "datacontenttype", "headers", "id", "region", "source", "subject", "time", "type"}, ""},
		"optional":              {`event.data.?a.?b.orValue("nobody")`, `{}`, []string{"nobody"}, ""},
		"has, of null":          {`has(event.data.x) ? "yes" : "no"`, ``, []string{"no"}, ""},
		"cross-type comparison": {`event.data.n > 1.5 && event.data.n == 2u ? "yes" : "no"`, `{"n":2}`, []string{"yes"}, ""},
		"string extension":      {`event.data.u.split("/")[?1].orValue("")`, `{"u":"user/alice"}`, []string{"alice"}, ""},
		"base64":                {`string(base64.decode(event.data.u))`, `{"u":"YWxpY2U="}`, []string{"alice"}, ""},

		"absent field":     {`event.data.u`, `{}`, nil, "no such key: u"},
		"absent data":      {`event.data.u`, ``, nil, "no such key: u"},
		"null":             {`event.data.u`, `{"u":null}`, nil, "got null_type, want a string or an integer"},
		"null in a list":   {`event.data.u`, `{"u":["a",null]}`, nil, "item 1: got null_type"},
		"bool in a list":   {`event.data.u`, `{"u":[true]}`, nil, "item 0: got bool"},
		"double":           {`event.data.u`, `{"u":1.0}`, nil, "got double"},
		"too great":        {`event.data.u`, `{"u":18446744073709551616}`, nil, "got double"},
		"map":              {`event.data.u`, `{"u":{"a":1}}`, nil, "got map"},
		"empty":            {`event.data.u`, `{"u":""}`, nil, "empty user ID"},
		"empty in a list":  {`event.data.u`, `{"u":["a",""]}`, nil, "item 1: bad record: empty user ID"},
		"too long":         {`event.data.u`, `{"u":"` + strings.Repeat("u", 129) + `"}`, nil, "user ID of 129 bytes, at most 128"},
		"index":            {`event.data.u[3]`, `{"u":[]}`, nil, "index out of bounds: 3"},
		"too dear":         {`event.data.u.filter(a, event.data.u.filter(b, event.data.u.exists(c, c == b)).size() > 0)`, `{"u":` + numbersUpTo(300) + `}`, nil, "cost limit exceeded"},
		"number too great": {`event.data.u`, `{"u":1e999}`, nil, "number 1e999 is out of range"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rules := parse(t, rule("users: |", "  "+tt.expr))
			got, err := rules.Evaluate(newEvent("events.t", tt.data))
			if tt.err != "" {
				wantEvalError(t, err, "users", tt.expr, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if users := got[0].Audience.Users; !reflect.DeepEqual(users, tt.want) {
				t.Errorf("got %q, want %q", users, tt.want)
			}
		})
	}
}

func numbersUpTo(n int) string {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	b, _ := json.Marshal(list) // integers have a JSON form
	return string(b)
}

func wantEvalError(t *testing.T, err error, field, expr, text string) {
	t.Helper()
	var x *EvalError
	if !errors.As(err, &x) || !errors.Is(err, ingest.ErrPermanent) {
		t.Fatalf("got %v, want an EvalError that is permanent", err)
	}
	if x.Rule != "r" || x.Field != field || strings.TrimSpace(x.Expression) != expr || !strings.Contains(err.Error(), text) {
		t.Errorf("got %+v, want rule r, field %s, expression %s, %q", x, field, expr, text)
	}
	h := x.DeadLetterHeaders()
	if h["Tidings-Rule"] != "r" || !strings.HasPrefix(h["Tidings-Expression"], field+": ") || strings.ContainsAny(h["Tidings-Expression"], "\r\n") {
		t.Errorf("got headers %q", h)
	}
}

// An event with 100,000 listed users works whatever a rule usually does with them; what compares each with each does not.
func TestGreatAudience(t *testing.T) {
	type member struct {
		ID     int  `json:"id"`
		Active bool `json:"active"`
	}
	members := make([]member, 100_000)
	for i := range members {
		members[i] = member{i, i%2 == 0}
	}
	data, err := json.Marshal(map[string]any{"members": members, "none": []int{}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		users, exclude string
		want           int
		err            string
	}{
		"map":            {`event.data.members.map(m, m.id)`, `event.data.none`, 100_000, ""},
		"filter and map": {`event.data.members.filter(m, m.active).map(m, "user-" + string(m.id))`, `event.data.none`, 50_000, ""},
		"exclude half":   {`event.data.members.map(m, m.id)`, `event.data.members.filter(m, m.active).map(m, m.id)`, 50_000, ""},
		"each with each": {`event.data.members.filter(m, m in event.data.members).map(m, m.id)`, `event.data.none`, 0, "cost limit exceeded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rules := parse(t, rule("users: '"+tt.users+"'", "exclude: {users: '"+tt.exclude+"'}", "data: '1'"))
			start := time.Now()
			got, err := rules.Evaluate(newEvent("events.t", string(data)))
			t.Logf("%s", time.Since(start))
			if tt.err != "" {
				wantEvalError(t, err, "users", tt.users, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := len(got[0].Audience.Users); n != tt.want {
				t.Errorf("got %d users, want %d", n, tt.want)
			}
		})
	}
}

func TestOtherFields(t *testing.T) {
	tests := map[string]struct {
		fields []string
		data   string
		kind   string
		json   string
		field  string // of the error
		err    string
	}{
		"kind":           {[]string{`kind: event.data.k`}, `{"k":"K"}`, "K", `{"k":"K"}`, "", ""},
		"kind a number":  {[]string{`kind: event.data.k`}, `{"k":1}`, "", "", "kind", "got int, want a string"},
		"kind empty":     {[]string{`kind: event.data.k`}, `{"k":""}`, "", "", "kind", `got the string "", want a string that is not empty`},
		"when a string":  {[]string{`when: event.data.k`}, `{"k":"true"}`, "", "", "when", "got string, want true or false"},
		"when absent":    {[]string{`when: event.data.k > 1`}, `{}`, "", "", "when", "no such key: k"},
		"null":           {[]string{`data: 'null'`}, `{}`, "t", `null`, "", ""},
		"integers":       {[]string{`data: event.data.n`}, `{"n":[9007199254740993,-1,18446744073709551615,0]}`, "t", `[9007199254740993,-1,18446744073709551615,0]`, "", ""},
		"doubles":        {[]string{`data: event.data.n`}, `{"n":[1.5,1e100,1.0,-0.25]}`, "t", `[1.5,1e+100,1,-0.25]`, "", ""},
		"no HTML":        {[]string{`data: event.data.n`}, `{"n":"<a href='x'>&\u2028\"\\\n\t\r\u0000"}`, "t", `"<a href='x'>&` + "\u2028" + `\"\\\n\t\r\u0000"`, "", ""},
		"keys in order":  {[]string{`data: '{"b": 1, "a": [true, false], 3: "c"}'`}, `{}`, "t", `{"3":"c","a":[true,false],"b":1}`, "", ""},
		"time":           {[]string{`data: 'event.time + duration("1h")'`}, `{}`, "t", `"2026-01-02T04:04:05.678901234Z"`, "", ""},
		"duration":       {[]string{`data: 'duration("90m500ms")'`}, `{}`, "t", `"5400.5s"`, "", ""},
		"bytes":          {[]string{`data: 'b"\xff\xfe"'`}, `{}`, "t", `"//4="`, "", ""},
		"optional field": {[]string{`data: '{"a": event.data.n, ?"b": event.data.?m}'`}, `{"n":1}`, "t", `{"a":1}`, "", ""},
		"whole event":    {[]string{`data: '{"id": event.id, "type": event.type, "subject": event.subject}'`}, `{}`, "t", `{"id":"e-1","subject":"","type":"t"}`, "", ""},
		"infinite":       {[]string{`data: '1.0 / event.data.n'`}, `{"n":0.0}`, "", "", "data", "+Inf has no JSON form"},
		"a type":         {[]string{`data: '[type(event)]'`}, `{}`, "", "", "data", "no JSON form"},
		"equal keys":     {[]string{`data: '{1: "a", "1": "b"}'`}, `{}`, "", "", "data", `two keys of a map have the text "1"`},
		"not UTF-8":      {nil, "{\"k\":\"\xff\"}", "", "", "data", "not UTF-8"},
		"exclude absent": {[]string{`exclude: {groups: event.data.g}`}, `{}`, "", "", "exclude.groups", "no such key: g"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rules := parse(t, rule(append(tt.fields, `users: '"alice"'`)...))
			got, err := rules.Evaluate(newEvent("events.t", tt.data))
			if tt.err != "" {
				var x *EvalError
				if !errors.As(err, &x) || x.Field != tt.field || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want an EvalError in %s: %s", err, tt.field, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Kind != tt.kind || string(got[0].Data) != tt.json {
				t.Errorf("got %q %s, want %q %s", got[0].Kind, got[0].Data, tt.kind, tt.json)
			}
			if !json.Valid(got[0].Data) {
				t.Errorf("%s is not JSON", got[0].Data)
			}
		})
	}
}

func TestTooManyExceptions(t *testing.T) {
	list := func(n int) string { return `{"l":` + numbersUpTo(n) + `}` }
	tests := map[string]struct {
		fields []string
		data   string
		field  string // of the error, "" for none
	}{
		"users from users":   {[]string{`users: '"u"'`, `exclude: {users: event.data.l}`}, list(wire.MaxExcept + 1), ""},
		"users from all":     {[]string{`all: true`, `exclude: {users: event.data.l}`}, list(wire.MaxExcept + 1), "exclude.users"},
		"users from a group": {[]string{`groups: '"g"'`, `exclude: {users: event.data.l}`}, list(wire.MaxExcept + 1), "exclude.users"},
		"just so many":       {[]string{`all: true`, `exclude: {users: event.data.l}`}, list(wire.MaxExcept), ""},
		"groups":             {[]string{`groups: event.data.l`}, list(wire.MaxExcept + 1), "groups"},
		"excluded groups":    {[]string{`all: true`, `exclude: {groups: event.data.l}`}, list(wire.MaxExcept + 1), "exclude.groups"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, rule(tt.fields...)).Evaluate(newEvent("events.t", tt.data))
			var x *EvalError
			switch {
			case tt.field == "" && err != nil:
				t.Error(err)
			case tt.field != "" && (!errors.As(err, &x) || x.Field != tt.field || !strings.Contains(err.Error(), "4096")):
				t.Errorf("got %v, want an EvalError in %s that names the limit", err, tt.field)
			}
		})
	}
}

// Rules that look only at the envelope never pay for the data: here it is no JSON at all.
func TestDataIsDecodedOnDemand(t *testing.T) {
	rules := parse(t, rule(`when: event.type == "t" && event.headers["x-tenant"] == "acme"`, `users: tokens[1]`))
	if _, err := rules.Evaluate(newEvent("events.t", "{broken")); err != nil {
		t.Errorf("got %v, want the data untouched", err)
	}
	rules = parse(t, rule(`users: event.data.u`))
	if _, err := rules.Evaluate(newEvent("events.t", "{broken")); !errors.Is(err, ingest.ErrPermanent) {
		t.Errorf("got %v, want a permanent error", err)
	}
}
