//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"tidings/integration/load/badpeers"
	"tidings/integration/load/loadgen"
)

// options are the flags. Every count and time is bounded by one of them, and the whole run by limit.
type options struct {
	args []string // as given, for the table

	target, secret, nats string // a deployment of one's own

	only, parts []string // kinds of servers, and what is measured of each

	tabs, low int // tabs; memory is the slope from low to tabs
	few       int // tabs with which the cost of a delivery is taken as well
	single    int // tabs of the whole house in one process
	users     int
	procs     int // load generator processes
	connect   int // handshakes per second
	gateways  int // processes that share the tabs, in a table of their own; 0: the table
	pairs     int // times that each server is measured
	rate      int // one-user events per second, paced
	seconds   int // for so long
	all       int // events to all tabs
	burst     int // one-user events as fast as they are taken
	known     int // users that the tail is told of
	missed    int // events that each tab misses before it resumes
	peers     int // bad ones
	newcomers int
	windows   int // of time with them
	bytes     int // of an event's data
	settle    time.Duration
	idle      time.Duration
	limit     time.Duration

	readme, json string // where the results go; empty: nowhere
}

func parseOptions(args []string) (*options, error) {
	o := &options{args: args}
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&o.target, "target", "", "measure this deployment, ws://host:port/ws, instead of the table")
	f.StringVar(&o.secret, "secret", "", "with -target: sign HS256 tokens with it; without, users are named in the query (development mode)")
	f.StringVar(&o.nats, "nats", "", "with -target: NATS servers to publish events to; without, the tabs only connect and listen")
	only := f.String("only", "", "kinds of servers, separated by commas; empty: all of them\n"+kindHelp())
	some := f.String("parts", "", "what is measured, separated by commas; empty: all of it\n"+partHelp())
	f.IntVar(&o.tabs, "tabs", 19_000, "tabs")
	f.IntVar(&o.few, "few", 1_000, "tabs with which the cost of a delivery is taken as well")
	f.IntVar(&o.single, "single", 15_000, "tabs of the whole house in one process")
	f.IntVar(&o.low, "low", 2_000, "tabs at which memory is first taken")
	f.IntVar(&o.users, "users", 0, "distinct users; 0: one for each 1.3 tabs")
	f.IntVar(&o.procs, "procs", 2, "processes that hold the tabs")
	f.IntVar(&o.connect, "connect", 4_000, "handshakes begun per second, at most")
	f.IntVar(&o.gateways, "gateways", 0, "measure so many gateways that share one NATS, with -tabs over all of them, for their own table")
	f.IntVar(&o.pairs, "pairs", 3, "times that each server is measured, in turn")
	f.IntVar(&o.rate, "rate", 5_000, "one-user events per second, paced")
	f.IntVar(&o.seconds, "seconds", 5, "seconds of paced events; with -target and without -nats: of listening")
	f.IntVar(&o.all, "all", 10, "events to all tabs, one after the other")
	f.IntVar(&o.burst, "burst", 40_000, "one-user events as fast as they are taken")
	f.IntVar(&o.known, "known", 1_000_000, "users that the tail is told of, to see what they cost the others")
	f.IntVar(&o.missed, "missed", 10, "one-user events that each tab misses before it resumes")
	f.IntVar(&o.peers, "peers", 500, "bad peers beside the tabs: stalled, half-open, slow, flooding")
	f.IntVar(&o.newcomers, "storm", 3000, "tabs that come at once, leave, and come again, beside the tabs that are there")
	f.IntVar(&o.windows, "windows", 3, "windows of -seconds with bad peers, between those without and those with the same peers elsewhere, at a fifth of -rate")
	f.DurationVar(&o.idle, "idle", 20*time.Second, "time in which the processor time of idle tabs is taken")
	f.IntVar(&o.bytes, "bytes", 256, "bytes of an event's data")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "rest before memory is taken: the Go runtime gives back what it does not need in the background")
	f.DurationVar(&o.limit, "limit", 40*time.Minute, "end of the whole run")
	f.StringVar(&o.readme, "readme", wholeTable, "file whose table is replaced; empty, or with -only or -parts and without this: the table is only printed")
	f.StringVar(&o.json, "json", "", "file for every single result")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	if o.users == 0 {
		o.users = max(1, o.tabs*10/13)
	}
	if *only+*some != "" && !given(f, "readme") {
		o.readme = ""
	}
	var unknownKind, unknownPart error
	o.only, unknownKind = selected("only", *only, kindNames())
	if o.gateways > 0 {
		o.only = []string{"gateways"}
		o.forGateways(f)
	}
	o.parts, unknownPart = selected("parts", *some, partNames())
	return o, errors.Join(unknownKind, unknownPart, o.validate())
}

// forGateways sets what is not given: many tabs make each measurement longer, and each gateway reads every event.
func (o *options) forGateways(f *flag.FlagSet) {
	for _, d := range []struct {
		name  string
		v     *int
		value int
	}{
		{"procs", &o.procs, max(2, (o.tabs+maxTabsOfProcess-1)/maxTabsOfProcess)}, {"pairs", &o.pairs, 1},
		{"rate", &o.rate, 1000}, {"burst", &o.burst, 20_000},
	} {
		if !given(f, d.name) {
			*d.v = d.value
		}
	}
}

// wholeTable is where a whole run puts its table.
const wholeTable = "integration/load/README.md"

func given(f *flag.FlagSet, name string) (found bool) {
	f.Visit(func(g *flag.Flag) { found = found || g.Name == name })
	return found
}

func (o *options) validate() error {
	var errs []error
	for _, n := range []struct {
		name        string
		v, min, max int
	}{
		{"tabs", o.tabs, 2, 1_000_000}, {"low", o.low, 1, o.tabs - 1}, {"few", o.few, 1, o.tabs}, {"single", o.single, 1, 1_000_000}, {"users", o.users, 1, o.tabs}, {"procs", o.procs, 1, 64},
		{"connect", o.connect, 1, 100_000}, {"pairs", o.pairs, 1, 50}, {"gateways", o.gateways, 0, 64}, {"rate", o.rate, 1, 1_000_000}, {"seconds", o.seconds, 1, 3600},
		{"all", o.all, 1, 1000}, {"burst", o.burst, 1, 10_000_000}, {"known", o.known, 1, 10_000_000}, {"missed", o.missed, 1, 1000}, {"peers", o.peers, badpeers.Kinds, badpeers.MaxPeers}, {"storm", o.newcomers, 1, 19_000}, {"windows", o.windows, 1, 100}, {"bytes", o.bytes, minBody, 65_536},
	} {
		if o.target != "" && (n.name == "low" || n.name == "few") {
			continue
		}
		if n.v < n.min || n.v > n.max {
			errs = append(errs, fmt.Errorf("-%s is %d, want %d to %d", n.name, n.v, n.min, n.max))
		}
	}
	if o.target == "" && (o.secret != "" || o.nats != "") {
		errs = append(errs, errors.New("-secret and -nats go with -target: the table starts servers of its own"))
	}
	if o.gateways > 0 && (o.target != "" || (o.tabs+o.gateways-1)/o.gateways > maxTabsOfProcess) {
		errs = append(errs, fmt.Errorf("-gateways %d is for a table of its own, with at most %d tabs for each of them", o.gateways, maxTabsOfProcess))
	}
	if perProcess := (o.tabs + o.procs - 1) / max(o.procs, 1); perProcess > maxTabsOfProcess {
		errs = append(errs, fmt.Errorf("%d tabs in each of %d processes: most machines allow 20,000 open files, so give more -procs", perProcess, o.procs))
	}
	return errors.Join(errs...)
}

const maxTabsOfProcess = 19_000

// openWithin is how long handshakes may take: three times what the rate asks for.
func (o *options) openWithin() time.Duration {
	return 15*time.Second + 3*time.Duration(o.tabs)*time.Second/time.Duration(o.connect)
}

// command is what a person types for the same run.
func (o *options) command() string {
	words := []string{"go run ./integration/load"}
	for _, a := range o.args {
		if a == "" || strings.ContainsAny(a, " '\"$") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// generators are the settings of the processes that hold the tabs.
func (o *options) generators(targets []string, subprotocol, secret string) loadgen.Config {
	return loadgen.Config{Targets: targets, Subprotocol: subprotocol, Secret: secret, Users: o.users, Rate: o.connect}
}

// kindHelp lists the kinds of servers for -h.
func kindHelp() string {
	var b strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&b, "  %-8s %s\n", k.name, k.title)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// partHelp lists the parts for -h.
func partHelp() string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "  %-8s %s\n", p.name, p.help)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
