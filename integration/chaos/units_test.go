//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// bench is a world and the ledger of one tab in it, without any process.
type bench struct {
	w      *world
	frames *frames
	ledger
	found []fault
	mine  []*event // all events of the tab's user, in order
}

func newBench(t *testing.T) *bench {
	b := &bench{w: newWorld(40, rand.New(rand.NewPCG(1, 2)))}
	b.frames = newFrames(b.w)
	b.user = 7
	b.report = func(f fault, _ string) { b.found = append(b.found, f) }
	for range 1000 {
		if e := b.w.next(); b.w.concerns(e, b.user) {
			b.mine = append(b.mine, e)
		}
	}
	if len(b.mine) < 50 {
		t.Fatalf("%d events are for the user, want more to judge by", len(b.mine))
	}
	return b
}

// text is the frame of an event, at a place of the log.
func (b *bench) text(e *event, seq uint64) []byte {
	return fmt.Appendf(nil, `{"type":"notification","cursor":"0.abc.%d","id":%q,"kind":"k","time":"2026-01-01T00:00:00Z","data":%s}`, seq, e.id(), b.w.message(e).Data)
}

func (b *bench) give(e *event, seq uint64) {
	f := b.frames.parse(b.text(e, seq))
	if f.wrong != "" {
		b.report(strange, f.wrong)
		return
	}
	b.arrive(b.w, f)
}

// TestJudgeFindsFaults: what a tab must not see is found, and called by its name; what it must see is not.
func TestJudgeFindsFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		give func(*bench)
		want []fault
		lost int
	}{
		{"all as it must be", func(b *bench) {
			for i, e := range b.mine {
				b.give(e, uint64(i+1))
			}
		}, nil, 0},
		{"one lost in the middle", func(b *bench) {
			for i, e := range b.mine {
				if i != 20 {
					b.give(e, uint64(i+1))
				}
			}
		}, nil, 1},
		{"the last three lost", func(b *bench) {
			for i, e := range b.mine[:len(b.mine)-3] {
				b.give(e, uint64(i+1))
			}
		}, nil, 3},
		{"nothing given", func(*bench) {}, nil, -1},
		{"one repeated, from another place of the log", func(b *bench) {
			for i, e := range b.mine {
				b.give(e, uint64(i+1))
			}
			b.give(b.mine[20], uint64(len(b.mine)+1))
		}, []fault{strange, repeated}, 0},
		{"one repeated, from the same place", func(b *bench) {
			for i, e := range b.mine {
				b.give(e, uint64(i+1))
				if i == 20 {
					b.give(e, uint64(i+1))
				}
			}
		}, []fault{strange, repeated}, 0},
		{"two of an aggregate the wrong way round", func(b *bench) {
			first, second := b.pair()
			seq := uint64(0)
			for i, e := range b.mine {
				switch i {
				case first:
					e = b.mine[second]
				case second:
					e = b.mine[first]
				}
				seq++
				b.give(e, seq)
			}
		}, []fault{disordered}, 0},
		{"one for somebody else", func(b *bench) {
			for _, e := range b.w.between(0, b.w.count()) {
				if !b.w.concerns(e, b.user) {
					b.give(e, 1)
					break
				}
			}
			for i, e := range b.mine {
				b.give(e, uint64(i+2))
			}
		}, []fault{strange}, 0},
		{"one where another tab did not find it", func(b *bench) {
			b.mine[5].place.Store(1000)
			for i, e := range b.mine {
				b.give(e, uint64(i+1))
			}
		}, []fault{strange}, 0},
		{"an event that never was", func(b *bench) {
			for i, e := range b.mine {
				b.give(e, uint64(i+1))
			}
			f := b.frames.parse([]byte(`{"type":"notification","cursor":"0.abc.5000","id":"e-5000","data":{}}`))
			if f.wrong != "" {
				b.report(strange, f.wrong)
			}
		}, []fault{strange}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.give(b)
			if !slices.Equal(b.found, c.want) {
				t.Errorf("found %v, want %v", b.found, c.want)
			}
			var expected []int32
			for _, e := range b.mine {
				expected = append(expected, e.index)
			}
			want := c.lost
			if want < 0 {
				want = len(b.mine)
			}
			if got := b.missing(expected); len(got) != want {
				t.Errorf("%d are missing (%v), want %d", len(got), got, want)
			}
		})
	}
}

// pair is the places of two events in a row of one aggregate.
func (b *bench) pair() (first, second int) {
	last := map[int32]int{}
	for i, e := range b.mine {
		if before, had := last[e.aggregate]; had {
			return before, i
		}
		last[e.aggregate] = i
	}
	return 0, 0
}

func TestJudgeReadsTheData(t *testing.T) {
	b := newBench(t)
	e := b.mine[0]
	other := strings.Replace(string(b.text(e, 1)), fmt.Sprintf(`"n":%d`, e.n), fmt.Sprintf(`"n":%d`, e.n+1), 1)
	if f := b.frames.parse([]byte(other)); !strings.Contains(f.wrong, "data that are not its own") {
		t.Errorf("an event with another's data is taken: %q", f.wrong)
	}
	if f := b.frames.parse([]byte(`{"type":"notification","cursor":"x"`)); f.wrong == "" {
		t.Error("half a frame is taken")
	}
}

// TestJudgeFindsALogThatGoesBack: a heartbeat may not lead back, nor into another log.
func TestJudgeFindsALogThatGoesBack(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		text string
		want int
	}{{"0.abc.10", 0}, {"0.abc.10", 0}, {"0.abc.9", 1}, {"0.abd.11", 2}, {"1.abd.11", 3}} {
		f := b.frames.parse([]byte(`{"cursor":"` + c.text + `"}`))
		if b.move(f, false); len(b.found) != c.want {
			t.Errorf("after %s: %d faults, want %d", c.text, len(b.found), c.want)
		}
	}
}

// TestConcernsIsAudience: the two ways to say whom an event is for agree, with what the event itself says.
func TestConcernsIsAudience(t *testing.T) {
	b := newBench(t)
	forms := map[string]int{}
	for _, e := range b.w.between(0, b.w.count()) {
		forms[e.form]++
		var listed []int32
		for u := range b.w.audience(e) {
			listed = append(listed, u)
		}
		var d eventData
		if err := json.Unmarshal(b.w.message(e).Data, &d); err != nil {
			t.Fatal(err)
		}
		for u, who := range b.w.users {
			in := b.w.concerns(e, int32(u))
			if slices.Contains(listed, int32(u)) != in {
				t.Fatalf("%s (%s): user %d is listed %v, concerned %v", e.id(), e.form, u, !in, in)
			}
			member := slices.ContainsFunc(who.teams, func(n int32) bool { return slices.Contains(d.Teams, teamName(n)) })
			said := (e.form == "everyone" || member || slices.Contains(d.Users, who.id)) && !slices.Contains(d.Except, who.id)
			if said != in {
				t.Fatalf("%s (%s): its data are for %s %v, concerned %v", e.id(), e.form, who.id, said, in)
			}
		}
	}
	if len(forms) != 3 {
		t.Errorf("got only events of the forms %v", forms)
	}
}

func TestPeakOfRates(t *testing.T) {
	began := time.Now()
	r := &rates{began: began}
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	for _, ms := range []int{0, 50, 1050, 1150, 1950, 2060, 5000} {
		r.add(at(ms))
	}
	for _, c := range []struct{ from, to, want int }{
		{0, 6000, 3}, {0, 900, 2}, {1100, 1999, 2}, {3000, 6000, 1}, {6000, 9000, 0}, {4950, 9000, 1},
	} {
		if got := r.peak(at(c.from), at(c.to)); got != c.want {
			t.Errorf("from %d to %d ms: peak %d, want %d", c.from, c.to, got, c.want)
		}
	}
}

func TestBalancerTakesTheEmptiest(t *testing.T) {
	b := &balancer{gates: []*gate{{index: 0}, {index: 1}, {index: 2}}}
	if g := b.pick(nil); g != nil {
		t.Errorf("took gateway %d, and none is ready", g.index)
	}
	b.gates[0].ready.Store(true)
	b.gates[1].ready.Store(true)
	for range 10 {
		b.pick(nil)
	}
	if got := b.loads(); !slices.Equal(got, []int{5, 5, 0}) {
		t.Errorf("10 tabs went to %v, want 5, 5 and none to the one that is not ready", got)
	}
	if g := b.pick(b.gates[0]); g != b.gates[1] {
		t.Error("took the gateway that is to be avoided")
	}
	b.gates[1].ready.Store(false)
	if g := b.pick(b.gates[0]); g != b.gates[0] {
		t.Error("did not take the only one that is ready")
	}
}

// TestValves: what is cut off gets nothing and is told nothing, and has all of it when the cut is mended.
func TestValves(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	v := &valves{t: t}
	url := v.urls("nats://" + server.Addr().String())
	near, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	want := func(from, to net.Conn, text string, arrives bool) {
		t.Helper()
		if text != "" {
			if _, err := from.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		patience := 10 * time.Second
		if !arrives {
			patience = 200 * time.Millisecond
		}
		to.SetReadDeadline(time.Now().Add(patience))
		got := make([]byte, 5)
		if n, err := to.Read(got); (n > 0) != arrives || arrives && string(got[:n]) != "hello" {
			t.Errorf("read %q, %v; arrives: want %v", got[:n], err, arrives)
		}
	}
	want(near, far, "hello", true)
	want(far, near, "hello", true)
	v.cut(true)
	want(near, far, "hello", false)
	want(far, near, "hello", false)
	v.cut(false)
	want(near, far, "", true)
	want(far, near, "", true)
}

func TestTableGoesBetweenTheMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("before\n"+tableBegins+"old\n"+tableEnds+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := writeTable(path, "new"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "before\n" + tableBegins + "\nnew\n" + tableEnds + "\nafter\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if err := os.WriteFile(path, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeTable(path, "new"); err == nil {
		t.Error("a README without marks is written")
	}
}

// TestREADMEHasEachFault: the table in the README is of these faults, and of nothing lost.
func TestREADMEHasEachFault(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), tableBegins)
	table, _, ok := strings.Cut(rest, tableEnds)
	if !ok {
		t.Fatal("it has no table; write it with -chaos.write")
	}
	names := []string{deafRow}
	for _, f := range faults {
		names = append(names, f.name)
		if f.then != nil {
			names = append(names, f.then.name)
		}
	}
	for _, name := range names {
		if !strings.Contains(table, "\n| "+name+" ") {
			t.Errorf("the table has no line %q; write it with -chaos.write", name)
		}
	}
	if rows := strings.Count(table, " | 0 | 0 | 0 | 0 | "); rows != len(names) {
		t.Errorf("%d lines with nothing lost, repeated, out of order or reset, want %d", rows, len(names))
	}
}

func TestRatio(t *testing.T) {
	rows := []*row{{name: faults[1].name, peak: 200}, {name: rollAtOnce.name, peak: 1500}, {name: killName, peak: 3000}}
	got := ratio(rows)
	if !strings.Contains(got, "at most 200") || !strings.Contains(got, "1500, **7.5 times**") || !strings.Contains(got, "3000, **15.0 times**") {
		t.Errorf("got %q", got)
	}
	if got := ratio(rows[:2]); got != "" {
		t.Errorf("got %q of half of it", got)
	}
}
