package inquiry

import (
	"strings"
	"testing"
	"time"

	"tidings/gateway/ask"
)

// TestFate: what became of record 10 of epoch 7, stored at second 100, at one session.
func TestFate(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0).UTC() }
	record := Record{Sequence: 10, Epoch: 7, Stored: at(100), For: "users"}
	group := Record{Sequence: 10, Epoch: 7, Stored: at(100), For: "group", Group: "sales", ExceptGroups: []string{"interns"}}
	began := func(word string, to uint64) *ask.Moment {
		return &ask.Moment{What: ask.Began, At: at(50), Word: word, Epoch: 7, To: to}
	}
	ended := func(to uint64) *ask.Moment {
		return &ask.Moment{What: ask.Closed, At: at(200), Word: "slow", Epoch: 7, To: to}
	}
	open := func(pos uint64, groups ...string) *ask.Session {
		return &ask.Session{State: "live", Position: pos, Epoch: 7, Groups: groups}
	}
	reset := func(from, to uint64) []*ask.Moment {
		return []*ask.Moment{{What: ask.Reset, At: at(150), Word: "trimmed", Epoch: 7, From: from, To: to}}
	}
	all, forgetful := ask.Gateway{Head: 20}, ask.Gateway{Head: 20, Remembers: at(99)}
	young := ask.Gateway{Head: 20, Remembers: at(120)}
	for _, c := range []struct {
		name   string
		story  sessionStory
		record *Record
		want   fate
		says   string
	}{
		{"live", sessionStory{pod: &all, open: open(10), began: began("none", 3)}, &record, fateGiven, "up to position 10"},
		{"resumed in front of it", sessionStory{pod: &all, open: open(12), began: began("complete", 9)}, &record, fateGiven, ""},
		{"ended after it", sessionStory{pod: &all, ended: ended(11), began: began("none", 3)}, &record, fateGiven, ""},
		{"ended before it", sessionStory{pod: &all, ended: ended(9), began: began("none", 3)}, &record, fateBefore, "position 9"},
		{"on its way", sessionStory{pod: &all, open: open(9), began: began("none", 3)}, &record, fateWaiting, "does not have it yet"},
		{"came with a cursor at it", sessionStory{pod: &all, open: open(10), began: began("complete", 10)}, &record, fateCovered, "had it before"},
		{"opened at it", sessionStory{pod: &all, open: open(10), began: began("none", 10)}, &record, fateLater, "without a cursor"},
		{"reset at its beginning", sessionStory{pod: &all, open: open(12), began: began("reset", 12)}, &record, fateReset, "told to reload"},
		{"reset over it", sessionStory{pod: &all, open: open(15), began: began("none", 3), reset: reset(5, 12)}, &record, fateReset, "cause: trimmed"},
		{"reset before it", sessionStory{pod: &all, open: open(15), began: began("none", 3), reset: reset(5, 9)}, &record, fateGiven, ""},
		{"reset after it", sessionStory{pod: &all, open: open(15), began: began("none", 3), reset: reset(10, 14)}, &record, fateGiven, ""},
		{"began before the memory, and the record came after that", sessionStory{pod: &forgetful, open: open(15)}, &record, fateGiven, ""},
		{"began before the memory, and the record may have come before it", sessionStory{pod: &young, open: open(15)}, &record, fatePassed, "forgotten"},
		{"another log", sessionStory{pod: &all, open: &ask.Session{Position: 15, Epoch: 8}}, &record, fateOtherLog, "made anew"},
		{"nothing but a beginning", sessionStory{pod: &all, began: began("none", 3)}, &record, fateNone, ""},
		{"in the group", sessionStory{pod: &all, open: open(10, "sales"), began: began("none", 3)}, &group, fateGiven, ""},
		{"not in the group", sessionStory{pod: &all, open: open(10, "other"), began: began("none", 3)}, &group, fateOutside, `not in the group "sales"`},
		{"in an excepted group", sessionStory{pod: &all, open: open(10, "sales", "interns"), began: began("none", 3)}, &group, fateOutside, `"interns"`},
		{"ended, and nobody knows its groups", sessionStory{pod: &all, ended: ended(11), began: began("none", 3)}, &group, fateGiven, "which is not remembered"},
	} {
		got, step := c.story.of(c.record)
		if got != c.want || !strings.Contains(step.Text, c.says) {
			t.Errorf("%s: got %d, %q, want %d, %q", c.name, got, step.Text, c.want, c.says)
		}
	}
	best, steps := fates(&record, []*sessionStory{
		{pod: &all, id: "a", ended: ended(9), began: began("none", 3)},
		{pod: &all, id: "b", open: open(10), began: began("none", 3)},
	})
	if best != fateGiven || len(steps) != 2 || !strings.Contains(steps[0].Text, "Session b") || !strings.Contains(steps[1].Details[0], "reason: slow") {
		t.Errorf("got %d, %+v, want the best first", best, steps)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		args string
		ok   bool
		want options
	}{
		{"trace e-1", true, options{what: "e-1", limit: DefaultLimit, patience: DefaultPatience}},
		{"trace e-1 --user alice --json", true, options{what: "e-1", user: "alice", json: true, limit: DefaultLimit, patience: DefaultPatience}},
		{"trace --user=alice e-1 --limit 5 --timeout 1s", true, options{what: "e-1", user: "alice", limit: 5, patience: time.Second}},
		{"who alice --last 3", true, options{what: "alice", last: 3, limit: DefaultLimit, patience: DefaultPatience}},
		{"trace", false, options{}},
		{"trace a b", false, options{}},
		{"who alice --user bob", false, options{}},
		{"trace e --limit 0", false, options{}},
		{"trace e --timeout 0s", false, options{}},
		{"trace e --timeout 2h", false, options{}},
	} {
		got, err := parseOptions(strings.Fields(c.args))
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%s: got %+v, %v", c.args, got, err)
		}
	}
}

// TestPrintable: an event must not command the terminal of whoever looks.
func TestPrintable(t *testing.T) {
	var b strings.Builder
	if err := show(&b, false, nil, []Step{{yes, "a\x1b[31mb\u202e", []string{"c\nd"}}}, "e\r"); err != nil {
		t.Fatal(err)
	}
	if want := "✓ a\uFFFD[31mb\uFFFD\n    c d\n\n→ e \n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
