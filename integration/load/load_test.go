//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests' own program is what the processes of a run are made of.
func TestMain(m *testing.M) {
	if name := os.Getenv(roleVariable); name != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func small(t *testing.T, more ...string) *options {
	t.Helper()
	o, err := parseOptions(append([]string{
		"-tabs=300", "-low=100", "-users=250", "-pairs=1", "-rate=200", "-seconds=1", "-all=2", "-burst=1000", "-settle=200ms", "-limit=2m",
		"-readme=" + filepath.Join(t.TempDir(), "README.md"),
	}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The whole run with a few hundred tabs. That every delivery arrives, and none twice, is in the run itself.
func TestTheTableIsMeasured(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results.json")
	o := small(t, "-json="+results)
	old := "before\n" + tableBegin + "an old table\n" + tableEnd + "after\n"
	if err := os.WriteFile(o.readme, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), o.limit)
	defer cancel()
	if err := compare(ctx, o); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(o.readme)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	if !strings.HasPrefix(text, "before\n"+tableBegin) || !strings.HasSuffix(text, tableEnd+"after\n") || strings.Contains(text, "old") {
		t.Errorf("the table is not in the place of the old one:\n%s", text)
	}
	if got, want := strings.Count(text, "\n|"), len(rows)+2; got != want {
		t.Errorf("the table has %d lines, want %d:\n%s", got, want, text)
	}
	checkResults(t, results)
}

func checkResults(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine machine
		Runs    runs
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if m := got.Machine; m.Cores < 1 || m.Kernel == "" || m.Go == "" || m.Date == "" || !strings.HasPrefix(m.Command, "go run ./integration/load -tabs=300") {
		t.Errorf("the machine is %+v", m)
	}
	if len(got.Runs) != 2 {
		t.Fatalf("got results of %d servers, want 2", len(got.Runs))
	}
	for i, list := range got.Runs {
		if len(list) != 1 || list[0].Server != kinds[i].name {
			t.Fatalf("got %+v, want one result of %s", list, kinds[i].name)
		}
		for _, row := range rows {
			if strings.Contains(row.label, "slope") { // of 200 tabs, it may drown in the noise
				continue
			}
			if v := row.value(list[0]); v <= 0 {
				t.Errorf("%s, %s: got %v", list[0].Server, row.label, v)
			}
		}
	}
	// Two goroutines and two buffers cannot cost less than 4 KiB; this one is far outside the noise.
	if v := got.Runs[1][0].LivePerTab; v < 4096 {
		t.Errorf("a plain connection costs %.0f B of heap and stacks, want more than 4 KiB: what was measured?", v)
	}
}

// Tabs and events on a deployment that somebody else runs.
func TestADeploymentIsVisited(t *testing.T) {
	o := small(t)
	ctx, cancel := context.WithTimeout(t.Context(), o.limit)
	defer cancel()
	b, err := build(ctx, o, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := startTidings(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	nats := s.procs[2].address("nats")
	visitor := small(t, "-target="+s.target, "-secret="+s.secret, "-nats="+nats)
	if err := visit(ctx, visitor); err != nil {
		t.Error(err)
	}
	if err := visit(ctx, small(t, "-target="+strings.TrimSuffix(s.target, "/ws"), "-secret="+s.secret)); err != nil {
		t.Error(err)
	}
	err = visit(ctx, small(t, "-target="+s.target, "-secret="+strings.Repeat("wrong", 8)))
	if err == nil || !strings.Contains(err.Error(), "4401") {
		t.Errorf("with a wrong secret: got %v, want the close code 4401", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"good", "", ""},
		{"two at once", "-tabs=0 -rate=0", "-rate"},
		{"too many for the processes", "-tabs=50000 -procs=2", "-procs"},
		{"slope without a base", "-tabs=100 -low=100", "-low"},
		{"secret alone", "-secret=x", "-target"},
		{"data too small", "-bytes=10", "-bytes"},
		{"words", "now", "not a flag"},
	} {
		_, err := parseOptions(strings.Fields(c.args))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
	o, err := parseOptions([]string{"-tabs=10", "-low=1", "-users=4", "-readme="})
	if err != nil {
		t.Fatal(err)
	}
	var tabs int64
	for u := range o.users {
		tabs += o.tabsOf(u)
	}
	if tabs != 10 || o.tabsOf(1) != 3 || o.tabsOf(2) != 2 {
		t.Errorf("4 users have %d tabs, %d and %d; want 10, 3 and 2", tabs, o.tabsOf(1), o.tabsOf(2))
	}
}

func TestEventDataHasItsSize(t *testing.T) {
	for _, size := range []int{minBody, 256, 4096} {
		e := &events{o: &options{bytes: size}, pad: strings.Repeat("x", size)}
		b := e.data("00000000-0000-4000-8000-000000000001")
		if len(b) != size || !json.Valid(b) {
			t.Errorf("got %d bytes, valid %v, want %d: %s", len(b), json.Valid(b), size, b)
		}
	}
}

func TestTableCells(t *testing.T) {
	w := row{"x", "%.1f µs", func(r *result) float64 { return r.AllCPU }}
	list := func(v ...float64) (l []*result) {
		for _, x := range v {
			l = append(l, &result{AllCPU: x})
		}
		return l
	}
	for _, c := range []struct{ name, got, want string }{
		{"median of three, with its range", w.cell(list(3, 1, 8)), "3.0 µs (1.0–8.0)"},
		{"of two", w.cell(list(1, 2)), "1.5 µs (1.0–2.0)"},
		{"of one", w.cell(list(4)), "4.0 µs"},
		{"ratios are within pairs", w.ratio(list(1, 10, 2), list(2, 10, 8)), "2.00"},
		{"no ratio to nothing", w.ratio(list(0, 1), list(1, 1)), "–"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestReplaceTableNeedsItsMarkers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := replaceTable(file, "x"); err == nil {
		t.Error("a file that is not there was accepted")
	}
	os.WriteFile(file, []byte("# no table\n"), 0o600)
	if err := replaceTable(file, "x"); err == nil || !strings.Contains(err.Error(), "measured") {
		t.Errorf("got %v, want an error that names the markers", err)
	}
}

func TestAProcessThatEndsSaysWhy(t *testing.T) {
	began := time.Now()
	_, err := startProcess(t.Context(), "nats", again(t.Context(), "nats"), "nats")
	if err == nil || !strings.Contains(err.Error(), "want the directory") {
		t.Errorf("got %v, want what the process wrote", err)
	}
	if d := time.Since(began); d > startWithin {
		t.Errorf("it took %v", d)
	}
}

func Example_command() {
	o, _ := parseOptions([]string{"-tabs", "600", "-low", "100", "-readme", ""})
	fmt.Println(o.command())
	// Output: go run ./integration/load -tabs 600 -low 100 -readme ''
}
