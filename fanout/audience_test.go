package fanout

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/fanout/wire"
	"tidings/ingest"
)

func TestDefaultAudience(t *testing.T) {
	tests := map[string]struct {
		header, extension string // "" for none
		data              string
		want              []string
		field, err        string
	}{
		"userId":                 {"", "", `{"userId":"alice"}`, []string{"alice"}, "", ""},
		"userId an integer":      {"", "", `{"userId":42}`, []string{"42"}, "", ""},
		"userIds":                {"", "", `{"userIds":["bob",7,"alice","bob"]}`, []string{"7", "alice", "bob"}, "", ""},
		"both":                   {"", "", `{"userId":"alice","userIds":["bob","alice"]}`, []string{"alice", "bob"}, "", ""},
		"null":                   {"", "", `{"userId":null}`, nil, "", ""},
		"none":                   {"", "", `{"user":"alice"}`, nil, "", ""},
		"another case":           {"", "", `{"userid":"alice","USERIDS":["bob"]}`, nil, "", ""},
		"deeper":                 {"", "", `{"data":{"userId":"alice"}}`, nil, "", ""},
		"no object":              {"", "", `["alice"]`, nil, "", ""},
		"no data":                {"", "", ``, nil, "", ""},
		"header":                 {"alice, bob ,,carol", "dora", `{"userId":"emil"}`, []string{"alice", "bob", "carol"}, "", ""},
		"header, percent":        {"a%2Cb,100%25,%E5%B0%8F%E6%98%8E,a+b,%20x%20", "", `{}`, []string{" x ", "100%", "a+b", "a,b", "小明"}, "", ""},
		"header, array":          {` ["a,b", 3, "%41"]`, "", `{}`, []string{"%41", "3", "a,b"}, "", ""},
		"header, nobody":         {" ", "", `{"userId":"alice"}`, nil, "", ""},
		"extension":              {"", "dora,%61", `{"userId":"emil"}`, []string{"a", "dora"}, "", ""},
		"header, broken escape":  {"alice,b%zz", "", `{}`, nil, "notify-users", `user ID "b%zz" is not percent-encoded: invalid URL escape`},
		"header, not UTF-8":      {"%ff", "", `{}`, nil, "notify-users", "not UTF-8"},
		"header, too long":       {strings.Repeat("u", 129), "", `{}`, nil, "notify-users", "129 bytes"},
		"header, broken array":   {`["a",`, "", `{}`, nil, "notify-users", "not a JSON array"},
		"header, behind array":   {`["a"] b`, "", `{}`, nil, "notify-users", "not a JSON array"},
		"header, array of lists": {`[["a"]]`, "", `{}`, nil, "notify-users", "item 0: got list"},
		"extension, empty item":  {"", `[""]`, `{}`, nil, "notifyusers", "empty user ID"},
		"userId a list of bools": {"", "", `{"userIds":[true]}`, nil, "data.userIds", "item 0: got bool"},
		"userId an object":       {"", "", `{"userId":{}}`, nil, "data.userId", "got map"},
		"userId empty":           {"", "", `{"userId":""}`, nil, "data.userId", "empty user ID"},
		"userId a fraction":      {"", "", `{"userId":1.5}`, nil, "data.userId", "got double"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEvent("events.orders.1.shipped", tt.data)
			if tt.header != "" {
				e.Headers["notify-users"] = tt.header
			}
			if tt.extension != "" {
				e.Extensions["notifyusers"] = tt.extension
			}
			got, err := (*Rules)(nil).Evaluate(e)
			if tt.err != "" {
				var x *EvalError
				if !errors.As(err, &x) || !errors.Is(err, ingest.ErrPermanent) || x.Rule != DefaultRule || x.Field != tt.field || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want a permanent EvalError in %s: %s", err, tt.field, tt.err)
				}
				return
			}
			if err != nil || len(got) != 1 {
				t.Fatalf("got %d notifications, %v, want 1", len(got), err)
			}
			if !reflect.DeepEqual(got[0].Audience.Users, tt.want) && len(got[0].Audience.Users)+len(tt.want) > 0 {
				t.Errorf("got %q, want %q", got[0].Audience.Users, tt.want)
			}
			if len(tt.want) > 0 && (got[0].Kind != "orders.1.shipped" || string(got[0].Data) != tt.data) {
				t.Errorf("got %s, want the event's own type and data", show(got))
			}
		})
	}
}

// The header of an event may have any length; what goes to the DLQ beside the event stays short.
func TestLongHeaderInTheError(t *testing.T) {
	e := newEvent("events.t", "")
	e.Headers["notify-users"] = strings.Repeat("é", 100_000) + "%"
	_, err := (*Rules)(nil).Evaluate(e)
	var x *EvalError
	if !errors.As(err, &x) {
		t.Fatalf("got %v, want an EvalError", err)
	}
	if h := x.DeadLetterHeaders()["Tidings-Expression"]; len(h) > mostHeader+3 || !utf8.ValidString(h) || !strings.HasPrefix(h, "notify-users: é") {
		t.Errorf("got %d bytes in the header: %.40s", len(h), h)
	}
	if len(err.Error()) > mostHeader {
		t.Errorf("got an error of %d bytes", len(err.Error()))
	}
}

// FuzzNotifyUsers: whatever the header says, the result is an error, or valid IDs, sorted and each once, that survive being
// written as a JSON array and read again.
func FuzzNotifyUsers(f *testing.F) {
	for _, s := range []string{"", "alice", "alice, bob", "a%2Cb,,%25", `["a",1,"é"]`, "[", "[1e9]", `[18446744073709551615]`, "%", "\xff", "[] x", " [\"a\"] "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		users, err := parseUsers(s)
		if err != nil {
			return
		}
		for i, u := range users {
			if err := wire.CheckUser(u); err != nil || i > 0 && users[i-1] >= u {
				t.Fatalf("got %q (%v)", users, err)
			}
		}
		array, err := json.Marshal(users)
		if err != nil {
			t.Fatal(err)
		}
		if users == nil {
			return
		}
		again, err := parseUsers(string(array))
		if err != nil || len(again)+len(users) > 0 && !reflect.DeepEqual(again, users) {
			t.Fatalf("%s: got %q (%v), want %q", array, again, err, users)
		}
	})
}
