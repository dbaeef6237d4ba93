package wire

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// golden are Records whose bytes lie in testdata. Logs hold such bytes: they are never made anew, a later version adds files.
var golden = map[string]Record{
	"users.record": {
		Kind:         Users,
		EventID:      "5f0c7a52",
		Stored:       time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC),
		Users:        []string{"alice", "bob", "小明", "a b,c%"},
		Notification: []byte(`{"id":"5f0c7a52","kind":"order.shipped","time":"2026-01-02T03:04:05.678Z","data":{"orderId":1042}}`),
	},
	"users-except.record": {
		Kind:         Users,
		EventID:      "e-2",
		Stored:       time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Users:        []string{"alice", "bob"},
		ExceptUsers:  []string{"bob"},
		ExceptGroups: []string{"warehouse", "Lager Süd"},
		Notification: []byte(`{"id":"e-2","kind":"k","time":"2026-01-02T03:04:05.000Z","data":null}`),
	},
	"group.record": {
		Kind:         Group,
		EventID:      "e-3",
		Stored:       time.Unix(0, 1).UTC(),
		Group:        "warehouse",
		ExceptUsers:  []string{"alice"},
		ExceptGroups: []string{"night-shift"},
		Notification: []byte(`{"id":"e-3","kind":"k","time":"1970-01-01T00:00:00.000Z","data":{"text":"\"quoted\" 你好"}}`),
	},
	"all.record": {
		Kind:         All,
		EventID:      "",
		Stored:       time.Unix(0, -1).UTC(),
		Notification: []byte(`{}`),
	},
}

func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.record")
	if err != nil || len(files) != len(golden) {
		t.Fatalf("got %d golden files (%v), want %d", len(files), err, len(golden))
	}
	for name, want := range golden {
		t.Run(name, func(t *testing.T) {
			b := readGolden(t, name)
			v, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			got := v.Record()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("parsed\ngot  %+v\nwant %+v", got, want)
			}
			again, err := got.Append(nil)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("encoded again\ngot  %q (%v)\nwant %q", again, err, b)
			}
		})
	}
}

// Every proper beginning of a Record that ends before its notification does must be refused, never read past its end.
func TestParseCutShort(t *testing.T) {
	for name := range golden {
		b := readGolden(t, name)
		v, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(b) - len(v.Notification) + 2 {
			if _, err := Parse(b[:n:n]); !errors.Is(err, ErrRecord) {
				t.Errorf("%s cut to %d bytes: got %v, want ErrRecord", name, n, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{
		"empty":                    "",
		"later version":            "\x02\x03\x00\x0012345678\x00{}",
		"unknown kind":             "\x01\x09\x00\x0012345678\x00{}",
		"no users":                 "\x01\x01\x00\x00\x0012345678\x00{}",
		"empty user":               "\x01\x01\x01\x00\x00\x0012345678\x00{}",
		"user not UTF-8":           "\x01\x01\x01\x01\xff\x00\x0012345678\x00{}",
		"user too long":            "\x01\x01\x01\x81\x01" + strings.Repeat("u", 129) + "\x00\x0012345678\x00{}",
		"more users than bytes":    "\x01\x01\x05\x01a\x00\x0012345678\x00{}",
		"more users than MaxUsers": "\x01\x01\x81\x10" + strings.Repeat("\x01a", 2049) + "\x00\x0012345678\x00{}",
		"empty group":              "\x01\x02\x00\x00\x0012345678\x00{}",
		"endless length":           "\x01\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"no notification":          "\x01\x03\x00\x0012345678\x00",
		"notification no object":   "\x01\x03\x00\x0012345678\x00[]",
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			if v, err := Parse([]byte(b)); !errors.Is(err, ErrRecord) {
				t.Errorf("got %+v, %v, want ErrRecord", v, err)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	object := []byte("{}")
	tests := map[string]Record{
		"no kind":                  {Notification: object},
		"unknown kind":             {Kind: 4, Notification: object},
		"no users":                 {Kind: Users, Notification: object},
		"too many users":           {Kind: Users, Users: many(MaxUsers+1, 3), Notification: object},
		"empty user":               {Kind: Users, Users: []string{""}, Notification: object},
		"long user":                {Kind: Users, Users: []string{strings.Repeat("u", 129)}, Notification: object},
		"user not UTF-8":           {Kind: Users, Users: []string{"\xff"}, Notification: object},
		"no group":                 {Kind: Group, Notification: object},
		"long group":               {Kind: Group, Group: strings.Repeat("g", 129), Notification: object},
		"bad excepted user":        {Kind: All, ExceptUsers: []string{""}, Notification: object},
		"bad excepted group":       {Kind: All, ExceptGroups: []string{"\xc3"}, Notification: object},
		"too many excepted users":  {Kind: All, ExceptUsers: many(MaxExcept+1, 3), Notification: object},
		"too many excepted groups": {Kind: All, ExceptGroups: many(MaxExcept+1, 3), Notification: object},
		"no notification":          {Kind: All},
		"notification no object":   {Kind: All, Notification: []byte("null")},
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			if b, err := r.Append([]byte("x")); !errors.Is(err, ErrRecord) || string(b) != "x" {
				t.Errorf("got %d bytes, %v, want the bytes as they were and ErrRecord", len(b), err)
			}
		})
	}
}

// many gives n different names of the given length, at least.
func many(n, length int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%0*d", length, i)
	}
	return out
}

func TestRoundTripAtTheLimits(t *testing.T) {
	want := Record{
		Kind:         Users,
		EventID:      strings.Repeat("é", 500),
		Stored:       time.Unix(1<<33, 999999999).UTC(),
		Users:        many(MaxUsers, MaxUserBytes),
		ExceptUsers:  many(MaxExcept, MaxUserBytes),
		ExceptGroups: many(MaxExcept, MaxGroupBytes),
		Notification: []byte(`{"data":"` + strings.Repeat("x", 1<<20) + `"}`),
	}
	b, err := want.Append([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := Parse(b[len("before"):])
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Record(); !reflect.DeepEqual(got, want) {
		t.Error("the parsed Record differs")
	}
	if got := string(v.Users.At(MaxUsers - 1)); got != want.Users[MaxUsers-1] {
		t.Errorf("last user: got %q, want %q", got, want.Users[MaxUsers-1])
	}
	if got := v.Users.At(MaxUsers); got != nil {
		t.Errorf("user behind the last: got %q, want none", got)
	}
	a, err := ParseAudience(v.AudienceBytes)
	if err != nil || !reflect.DeepEqual(a, v.Audience) {
		t.Errorf("the audience alone: it differs, or %v", err)
	}
	if _, err := ParseAudience(append(v.AudienceBytes[:len(v.AudienceBytes):len(v.AudienceBytes)], 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("a byte behind the audience: got %v, want ErrRecord", err)
	}
}

func TestExcepts(t *testing.T) {
	r := Record{Kind: All, ExceptUsers: []string{"alice"}, ExceptGroups: []string{"ops", "dev"}, Notification: []byte("{}")}
	b, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		user   string
		groups []string
		want   bool
	}{
		{"alice", nil, true},
		{"bob", nil, false},
		{"ali", []string{"op"}, false},
		{"bob", []string{"sales", "dev"}, true},
	}
	for _, tt := range tests {
		if got := v.Excepts(tt.user, tt.groups); got != tt.want {
			t.Errorf("Excepts(%q, %q): got %v, want %v", tt.user, tt.groups, got, tt.want)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	b := readGolden(t, "users-except.record")
	var users int
	check(t, "Parse and iteration", func() {
		v, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for range v.Users.All() {
			users++
		}
		for range v.ExceptGroups.All() {
			users++
		}
		if v.Users.Has("carol") || !v.ExceptGroups.Has("warehouse") {
			t.Fatal("Has is wrong")
		}
	})
	c := Cursor{Shard: 3, Epoch: 1767322245678, Seq: 1 << 40}
	dst := make([]byte, 0, 64)
	check(t, "Cursor.Append", func() { dst = c.Append(dst[:0]) })
	check(t, "Shard and Partition", func() { users += Shard("alice", 4) + Partition("alice") })
}

func check(t *testing.T, what string, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(100, f); got != 0 {
		t.Errorf("%s: got %v allocations, want 0", what, got)
	}
}

// FuzzRecord: whatever the bytes, Parse does not panic; and what it accepts, encoded and parsed again, is the same Record
// in the one form that Append gives.
func FuzzRecord(f *testing.F) {
	for name := range golden {
		f.Add(readGolden(f, name))
	}
	f.Add([]byte("\x01\x03\x80\x00\x0012345678\x00{}")) // a length in two bytes where one would do
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("got %v, want an error that wraps ErrRecord", err)
			}
			return
		}
		r := v.Record()
		encoded, err := r.Append(nil)
		if err != nil {
			t.Fatalf("parsed but not encoded: %v", err)
		}
		if len(encoded) > len(b) || len(encoded) == len(b) && !bytes.Equal(encoded, b) {
			t.Fatalf("encoded\ngot  %q\nwant %q, or fewer bytes", encoded, b)
		}
		w, err := Parse(encoded)
		if err != nil || !reflect.DeepEqual(w.Record(), r) {
			t.Fatalf("parsed again: got %+v (%v), want %+v", w.Record(), err, r)
		}
		if a, err := ParseAudience(v.AudienceBytes); err != nil || !reflect.DeepEqual(a, v.Audience) {
			t.Fatalf("the audience alone: got %+v (%v), want %+v", a, err, v.Audience)
		}
	})
}
