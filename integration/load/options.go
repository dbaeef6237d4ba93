//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"tidings/integration/load/loadgen"
)

// options are the flags. Every count and time is bounded by one of them, and the whole run by limit.
type options struct {
	args []string // as given, for the table

	target, secret, nats string // a deployment of one's own

	tabs, low int // tabs; memory is the slope from low to tabs
	users     int
	procs     int // load generator processes
	connect   int // handshakes per second
	pairs     int // times that each server is measured
	rate      int // one-user events per second, paced
	seconds   int // for so long
	all       int // events to all tabs
	burst     int // one-user events as fast as they are taken
	bytes     int // of an event's data
	settle    time.Duration
	limit     time.Duration

	readme, json string // where the results go; empty: nowhere
}

func parseOptions(args []string) (*options, error) {
	o := &options{args: args}
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&o.target, "target", "", "measure this deployment, ws://host:port/ws, instead of the table")
	f.StringVar(&o.secret, "secret", "", "with -target: sign HS256 tokens with it; without, users are named in the query (development mode)")
	f.StringVar(&o.nats, "nats", "", "with -target: NATS servers to publish events to; without, the tabs only connect and listen")
	f.IntVar(&o.tabs, "tabs", 15_000, "tabs")
	f.IntVar(&o.low, "low", 2_000, "tabs at which memory is first taken")
	f.IntVar(&o.users, "users", 0, "distinct users; 0: one for each tab")
	f.IntVar(&o.procs, "procs", 2, "processes that hold the tabs")
	f.IntVar(&o.connect, "connect", 4_000, "handshakes begun per second, at most")
	f.IntVar(&o.pairs, "pairs", 3, "times that each server is measured, in turn")
	f.IntVar(&o.rate, "rate", 2_000, "one-user events per second, paced")
	f.IntVar(&o.seconds, "seconds", 5, "seconds of paced events; with -target and without -nats: of listening")
	f.IntVar(&o.all, "all", 10, "events to all tabs, one after the other")
	f.IntVar(&o.burst, "burst", 40_000, "one-user events as fast as they are taken")
	f.IntVar(&o.bytes, "bytes", 256, "bytes of an event's data")
	f.DurationVar(&o.settle, "settle", 3*time.Second, "rest before memory is taken")
	f.DurationVar(&o.limit, "limit", 6*time.Minute, "end of the whole run")
	f.StringVar(&o.readme, "readme", "integration/load/README.md", "file whose table is replaced; empty: the table is only printed")
	f.StringVar(&o.json, "json", "", "file for every single result")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	if o.users == 0 {
		o.users = o.tabs
	}
	return o, o.validate()
}

func (o *options) validate() error {
	var errs []error
	for _, n := range []struct {
		name        string
		v, min, max int
	}{
		{"tabs", o.tabs, 2, 1_000_000}, {"low", o.low, 1, o.tabs - 1}, {"users", o.users, 1, o.tabs}, {"procs", o.procs, 1, 64},
		{"connect", o.connect, 1, 100_000}, {"pairs", o.pairs, 1, 50}, {"rate", o.rate, 1, 1_000_000}, {"seconds", o.seconds, 1, 3600},
		{"all", o.all, 1, 1000}, {"burst", o.burst, 1, 10_000_000}, {"bytes", o.bytes, minBody, 65_536},
	} {
		if o.target != "" && n.name == "low" {
			continue
		}
		if n.v < n.min || n.v > n.max {
			errs = append(errs, fmt.Errorf("-%s is %d, want %d to %d", n.name, n.v, n.min, n.max))
		}
	}
	if o.target == "" && (o.secret != "" || o.nats != "") {
		errs = append(errs, errors.New("-secret and -nats go with -target: the table starts servers of its own"))
	}
	if perProcess := o.tabs / max(o.procs, 1); perProcess > maxTabsOfProcess {
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

// tabsOf is the number of tabs that a user has.
func (o *options) tabsOf(user int) int64 {
	n := o.tabs / o.users
	if user < o.tabs%o.users {
		n++
	}
	return int64(n)
}

// generators are the settings of the processes that hold the tabs.
func (o *options) generators(target, subprotocol, secret string) loadgen.Config {
	return loadgen.Config{Target: target, Subprotocol: subprotocol, Secret: secret, Users: o.users, Rate: o.connect}
}
