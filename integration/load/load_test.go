//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/integration/load/loadgen"
	"tidings/integration/machine"
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
		"-tabs=300", "-low=100", "-few=50", "-users=250", "-pairs=1", "-rate=200", "-seconds=1", "-all=2", "-burst=1000", "-missed=3", "-known=5000", "-peers=24", "-storm=50", "-windows=1",
		"-idle=500ms", "-settle=200ms", "-limit=2m",
		"-readme=" + filepath.Join(t.TempDir(), "README.md"),
	}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// page is a README with old tables.
func page(t *testing.T, file string) {
	t.Helper()
	text := "before\n"
	for _, s := range []section{measuredSection, gatewaysSection, computedSection} {
		text += "<!-- " + string(s) + " -->\nan old table\n<!-- /" + string(s) + " -->\nbetween\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The whole run with a few hundred tabs. That every delivery arrives, and none twice, is in the run itself.
func TestTheTableIsMeasured(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results.json")
	o := small(t, "-json="+results)
	page(t, o.readme)
	ctx, cancel := context.WithTimeout(t.Context(), o.limit)
	defer cancel()
	if err := compare(ctx, o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.readme)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.HasPrefix(text, "before\n<!-- measured -->\n\n") || strings.Count(text, "between\n") != 3 || strings.Count(text, "an old table") != 1 {
		t.Errorf("the tables are not in the place of the old ones:\n%s", text)
	}
	if got, want := strings.Count(text, "\n|"), len(rows)+len(goals)+len(growthRows)+6; got != want {
		t.Errorf("the tables have %d lines, want %d:\n%s", got, want, text)
	}
	checkResults(t, results)
}

// Two gateways with one NATS; the table of one remains.
func TestSeveralGatewaysAreMeasured(t *testing.T) {
	o := small(t, "-gateways=2")
	page(t, o.readme)
	ctx, cancel := context.WithTimeout(t.Context(), o.limit)
	defer cancel()
	if err := compare(ctx, o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.readme)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Count(text, "an old table") != 2 || !strings.Contains(text, "on 2 gateways") {
		t.Errorf("the table is not there, or not alone:\n%s", text)
	}
}

func checkResults(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine machine.Machine
		Pairs   []pair
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if m := got.Machine; m.Cores < 1 || m.Kernel == "" || m.Go == "" || m.Date == "" || !strings.HasPrefix(m.Command, "go run ./integration/load -tabs=300") {
		t.Errorf("the machine is %+v", m)
	}
	if len(got.Pairs) != 1 || len(got.Pairs[0]) != len(kinds) || len(got.Pairs[0]["floor"]) != 2 {
		t.Fatalf("got %+v, want one pair with every kind, and the floor twice", got.Pairs)
	}
	measured := map[metric]bool{}
	for name, list := range got.Pairs[0] {
		for m, v := range list[0].Values {
			measured[m] = true
			// A slope of 200 tabs, or what 24 peers hold, may drown in the noise, and a server that is idle need not do anything.
			if v <= 0 && !strings.Contains(string(m), "per_tab") && !strings.Contains(string(m), "per_peer") && !strings.HasPrefix(string(m), "idle") {
				t.Errorf("%s, %s: got %v", name, m, v)
			}
		}
	}
	for _, row := range rows {
		if !measured[row.metric] && row.metric != kernelSocket { // only root may see its size
			t.Errorf("%s was not measured", row.metric)
		}
	}
	// Two goroutines and two buffers cannot cost less than 4 KiB; this one is far outside the noise.
	if v := got.Pairs[0]["plain"][0].Values[liveTab]; v < 4096 {
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
	visitor := small(t, "-target="+s.targets[0], "-secret="+s.secret, "-nats="+s.nats)
	if err := visit(ctx, visitor); err != nil {
		t.Error(err)
	}
	if err := visit(ctx, small(t, "-target="+strings.TrimSuffix(s.targets[0], "/ws"), "-secret="+s.secret)); err != nil {
		t.Error(err)
	}
	err = visit(ctx, small(t, "-target="+s.targets[0], "-secret="+strings.Repeat("wrong", 8)))
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
		{"too many for the gateways", "-tabs=100000 -gateways=5", "-gateways"},
		{"a kind that is not", "-only=floor,ceiling", "-only"},
		{"a part that is not", "-parts=all,most", "-parts"},
		{"a storm of nobody", "-storm=0", "-storm"},
		{"fewer bad peers than kinds", "-peers=3", "-peers"},
		{"no window with them", "-windows=0", "-windows"},
	} {
		_, err := parseOptions(strings.Fields(c.args))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
	for _, c := range []struct{ name, args, want string }{
		{"the whole table goes where it belongs", "", wholeTable},
		{"a part of it does not", "-parts=all", ""},
		{"some servers neither", "-only=floor", ""},
		{"unless it is said", "-parts=all -readme=x.md", "x.md"},
	} {
		if o, err := parseOptions(strings.Fields(c.args)); err != nil || o.readme != c.want {
			t.Errorf("%s: got %q %v, want %q", c.name, o.readme, err, c.want)
		}
	}
}

func TestSeveralGatewaysHaveDefaultsOfTheirOwn(t *testing.T) {
	o, err := parseOptions([]string{"-gateways=6", "-tabs=100000", "-rate=77"})
	if err != nil {
		t.Fatal(err)
	}
	if o.procs != 6 || o.pairs != 1 || o.rate != 77 || strings.Join(o.only, ",") != "gateways" {
		t.Errorf("got %d processes, %d pairs, rate %d, only %v; want 6, 1, 77, gateways", o.procs, o.pairs, o.rate, o.only)
	}
}

// The numbers of the design, by hand: a million tabs are ten pods, and each of them reads every record.
func TestGrowthIsComputedFromWhatWasMeasured(t *testing.T) {
	v := map[metric]float64{
		residentTab: 400, kernelTab: 6000, kernelSocket: 3784, backlogCPU: 10, allCPU: 10, nobodyCPU: 5, handshakeCPU: 100, resumeCPU: 100,
		idleCPU: 0.19, oneFanout: 50, nobodyNATS: 100, recordBytes: 500, resident: 20e6 + 19_000*400,
	}
	all := []pair{{"tidings": {{Values: v}}, "five": {{Values: map[metric]float64{nobodyNATS: 100 + 4*4}}}}}
	g, ok := modelOf(all, 19_000)
	if !ok {
		t.Fatal("nothing is missing, but there is no model")
	}
	n := g.at(1_000_000)
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want/1000 {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	events := 1e6 / 1.3 / 300
	near("pods", n.pods, 10)
	near("memory", n.memory, 20e6+tailBytes+100_000*(400+3784))
	near("cores", n.cores, (events*5+events*1.3/10*10+100_000/1800.0*100)/1e6+100_000*0.0019/19_000)
	near("NATS cores", n.natsCores, events*(3*100+9*4)/1e6)
	near("NATS bits", n.natsBits, events*500*8*15)
	near("back", n.back, 100_000.0/9*100e-6/2)
	delete(v, backlogCPU)
	if text := computed(all, 19_000); text != "" {
		t.Errorf("a figure is missing, and yet:\n%s", text)
	}
}

func TestTabsOfUsers(t *testing.T) {
	e := newEvents(nil, 4)
	e.opened(10)
	var tabs int64
	for u := range e.users {
		tabs += e.tabsOf(u)
	}
	if tabs != 10 || e.tabsOf(1) != 3 || e.tabsOf(2) != 2 {
		t.Errorf("4 users have %d tabs, %d and %d; want 10, 3 and 2", tabs, e.tabsOf(1), e.tabsOf(2))
	}
}

func TestTheFloorIsMeasuredBeforeAndAfter(t *testing.T) {
	for _, c := range []struct {
		pair int
		only string
		want string
	}{
		{0, "floor,tidings,plain", "floor,tidings,plain,floor"},
		{1, "floor,tidings,plain", "floor,plain,tidings,floor"},
		{0, "floor", "floor"},
		{1, "tidings,plain", "plain,tidings"},
	} {
		if got := strings.Join(turn(c.pair, strings.Split(c.only, ",")), ","); got != c.want {
			t.Errorf("pair %d of %s: got %s, want %s", c.pair, c.only, got, c.want)
		}
	}
}

func TestEventDataHasItsSize(t *testing.T) {
	for _, size := range []int{minBody, 256, 4096} {
		b := newMaker(size).data("00000000-0000-4000-8000-000000000001")
		if len(b) != size || !json.Valid(b) {
			t.Errorf("got %d bytes, valid %v, want %d: %s", len(b), json.Valid(b), size, b)
		}
	}
}

func TestTableCells(t *testing.T) {
	w := row{metric: allCPU, format: "%.1f µs"}
	pairs := func(floor, other []float64) (all []pair) {
		for i := range floor {
			p := pair{"floor": {{Values: map[metric]float64{allCPU: floor[i] - 0.5}}, {Values: map[metric]float64{allCPU: floor[i] + 0.5}}}}
			if i < len(other) {
				p["tidings"] = []*result{{Values: map[metric]float64{allCPU: other[i]}}}
			}
			all = append(all, p)
		}
		return all
	}
	list := func(v ...float64) []float64 { return v }
	for _, c := range []struct{ name, got, want string }{
		{"median of three, with its range", w.cell(list(3, 1, 8)), "3.0 µs (1.0–8.0)"},
		{"of two", w.cell(list(1, 2)), "1.5 µs (1.0–2.0)"},
		{"of one", w.cell(list(4)), "4.0 µs"},
		{"of none", w.cell(nil), ""},
		{"the floor is the mean of before and after", w.cell(values(pairs(list(4), nil), "floor", allCPU)), "4.0 µs"},
		{"ratios are within pairs", ratio(pairs(list(1, 10, 2), list(2, 10, 8)), "tidings", allCPU), "2.00"},
		{"no ratio to nothing", ratio(pairs(list(0, 1), list(1, 1)), "tidings", allCPU), "–"},
		{"nor of what was not measured", ratio(pairs(list(1), nil), "tidings", allCPU), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

// Each window with bad peers is compared with its neighbours, so that a machine that becomes slower does not blame the peers.
func TestWindowsAreComparedWithTheirNeighbours(t *testing.T) {
	r := &result{Values: map[metric]float64{}}
	at := func(p99 float64) view { return view{P50: p99 / 10, P99: p99, Max: 2 * p99, CPU: 1} }
	with := []view{at(3), at(36), at(45)}
	with[2].Live, with[2].Buffers, with[2].Resident = 5000, 50_000, 1<<20
	r.Windows = windows{Without: []view{at(1), at(2), at(10), at(20)}, With: with, Elsewhere: []view{at(3), at(30), at(9)}}
	r.contrast(5)
	for m, want := range map[metric]float64{
		besideRatio: 3, besideOwn: 1.2, elsewhereP99: 9, freeP99: 6, besideP99: 36, freeMax: 12, besideP50: 3.6, freeDrift: 20, // ratios 2, 6 and 3
		peersLive: 1000, peersBuffers: 10_000, peersResident: 1 << 20,
	} {
		if got := r.Values[m]; math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", m, got, want)
		}
	}
}

func TestSomeUsersAreListed(t *testing.T) {
	var got []string
	if err := json.Unmarshal([]byte(usersFrom(7, 9)), &got); err != nil || strings.Join(got, " ") != loadgen.User(7)+" "+loadgen.User(8) {
		t.Errorf("got %v %v, want two users", got, err)
	}
}

func TestVerdicts(t *testing.T) {
	atMost, atLeast := goal{goal: 1, must: 2}, goal{goal: 20, must: 10, more: true}
	for _, c := range []struct {
		g    goal
		v    float64
		want string
	}{
		{atMost, 1, "goal"}, {atMost, 1.5, "holds"}, {atMost, 2.1, "**not yet**"},
		{atLeast, 20, "goal"}, {atLeast, 15, "holds"}, {atLeast, 9, "**not yet**"},
		{goal{}, 5, ""},
	} {
		if got := c.g.verdict(c.v); got != c.want {
			t.Errorf("%v with %+v: got %q, want %q", c.v, c.g, got, c.want)
		}
	}
}

func TestASectionNeedsItsMarkers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := measuredSection.replace(file, "x"); err == nil {
		t.Error("a file that is not there was accepted")
	}
	os.WriteFile(file, []byte("# no table\n"), 0o600)
	if err := measuredSection.replace(file, "x"); err == nil || !strings.Contains(err.Error(), "measured") {
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
