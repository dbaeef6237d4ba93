package ingest

import (
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	for _, c := range []struct{ stored, published, aggregate string }{
		{"ev.3.orders.1042.shipped", "events.orders.1042.shipped", "orders.1042"},
		{"ev.15.orders.1042.paid.late", "events.orders.1042.paid.late", "orders.1042"},
		{"events.a", "events.a", "events.a"},
		{"events.a.b", "events.a.b", "events.a.b"},
		{"ev.3", "ev.3", "ev.3"}, // not one of ours, but nothing breaks
		{"", "", ""},
	} {
		if got := Published(c.stored); got != c.published {
			t.Errorf("Published(%q): got %q, want %q", c.stored, got, c.published)
		}
		if got := Aggregate(c.published); got != c.aggregate {
			t.Errorf("Aggregate(%q): got %q, want %q", c.published, got, c.aggregate)
		}
		if got := storedAggregate(c.stored); got != c.aggregate {
			t.Errorf("storedAggregate(%q): got %q, want %q", c.stored, got, c.aggregate)
		}
	}
}

func TestCheckSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"events.orders.1042.shipped": "",
		"events.a":                   "",
		"events.ä.日本.x*y":            "",
		"events.":                    `begin with "events."`,
		"events":                     `begin with "events."`,
		"orders.1.shipped":           `begin with "events."`,
		"events..a":                  "empty part",
		"events.a.":                  "empty part",
		"events.*.a":                 "wildcard *",
		"events.a.>":                 "wildcard >",
		"events.a b":                 "white space",
		"events.a\x00b":              "control character",
		"events.\xff":                "not UTF-8",
		"events." + strings.Repeat("a", maxSubject): "at most 1024",
	} {
		err := CheckSubject(subject)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", subject, err, want)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, s := range []string{"events.orders.1.shipped", "events.a.b", "events.a", "ev.1.a.b.c", "ev.1.a.b", "ev.1.", "ev.", "events.", "events..", "", "events.*.>"} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, p uint8) {
		if got, want := storedAggregate(s), Aggregate(Published(s)); got != want { // of anything
			t.Errorf("storedAggregate(%q) is %q, want %q", s, got, want)
		}
		aggregate := Aggregate(s)
		if !strings.Contains(s, aggregate) {
			t.Errorf("Aggregate(%q) is %q", s, aggregate)
		}
		if CheckSubject(s) != nil {
			return
		}
		// As the stream stores it.
		tokens := strings.Split(s, ".")
		stored := s
		if len(tokens) >= 4 {
			stored = strings.TrimSuffix(filter(int(p)%Partitions), ">") + strings.Join(tokens[1:], ".")
			if want := tokens[1] + "." + tokens[2]; aggregate != want {
				t.Errorf("Aggregate(%q): got %q, want %q", s, aggregate, want)
			}
		} else if aggregate != s {
			t.Errorf("Aggregate(%q): got %q, want all of it", s, aggregate)
		}
		if got := Published(stored); got != s {
			t.Errorf("Published(%q): got %q, want %q", stored, got, s)
		}
	})
}
