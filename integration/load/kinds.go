//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// kind is one kind of server, and what is measured of it.
type kind struct {
	name  string
	title string // in the table
	start func(context.Context, *builder) (*server, error)
	tabs  func(*options) int
	parts []string
}

// kinds are in the order of the table. Ratios are to the first.
var kinds = []kind{
	{"floor", "floor", startFloor, allTabs, []string{"few", "connect", "paced", "all", "one"}},
	{"tidings", "Tidings", startTidings, allTabs, []string{"few", "connect", "idle", "paced", "all", "one", "backlog", "nobody", "known", "resume", "peers", "storm"}},
	{"writes", "io_uring off", startWrites, allTabs, []string{"connect", "paced", "all", "backlog"}},
	{"single", "Tidings in one process", startSingle, singleTabs, []string{"paced", "all", "one"}},
	{"stored", "JetStream alone, twice", startStored, userTabs, []string{"paced", "one"}},
	{"five", "five gateways", startFive, lowTabs, []string{"nobody"}},
	{"plain", "plain", startPlain, allTabs, []string{"few", "connect", "idle", "paced", "all", "one", "peers"}},
}

// several is measured alone, for a table of its own.
var several = kind{"gateways", "Tidings", startSeveral, allTabs, []string{"connect", "idle", "paced", "all", "one", "nobody"}}

func lowTabs(o *options) int    { return o.low }
func allTabs(o *options) int    { return o.tabs }
func singleTabs(o *options) int { return min(o.single, o.tabs) }
func userTabs(o *options) int   { return o.users } // one for each user: an event is one delivery

// part measures one thing of a server whose tabs are open, but for those that open them.
type part struct {
	name string
	help string
	run  func(*bench, context.Context) error
}

// parts are in the order of a run: first those that open the tabs.
var parts = []part{
	{"few", "the cost of a delivery with -few tabs", (*bench).few},
	{"connect", "handshakes, and memory from -low to all tabs", (*bench).connect},
	{"idle", "processor time with nothing but heartbeats", (*bench).idle},
	{"paced", "one-user events at -rate: latency and the cost of a delivery", (*bench).paced},
	{"all", "events to all tabs", (*bench).all},
	{"one", "one-user events as fast as they are taken", (*bench).one},
	{"backlog", "one-user events that wait in the log: the gateway alone, saturated", (*bench).backlog},
	{"nobody", "events that concern nobody here: the cost of following the log", (*bench).nobody},
	{"known", "the backlog again, when the log's tail in memory knows a million users", (*bench).known},
	{"resume", "all tabs dropped at once and back with their cursors", (*bench).resume},
	{"peers", "latency of all tabs with and without -peers bad ones beside them", (*bench).peers},
	{"storm", "latency of all tabs while -storm newcomers come at once, again and again", (*bench).storm},
}

func kindNamed(name string) *kind {
	if name == several.name {
		return &several
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

// selected are the names in a list that has commas, in the order of all; empty: all of them.
func selected(flag, list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(all, n) {
			return nil, fmt.Errorf("-%s has %q, want some of %s", flag, n, strings.Join(all, ","))
		}
	}
	var found []string
	for _, n := range all {
		if slices.Contains(names, n) {
			found = append(found, n)
		}
	}
	return found, nil
}

func kindNames() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// turn is the order in which a pair measures the kinds: the floor before and after, so that a machine that becomes slower between
// the two is seen by both; the rest the other way round in every second pair.
func turn(pair int, only []string) []string {
	names := slices.DeleteFunc(slices.Clone(only), func(n string) bool { return n == "floor" })
	if pair%2 == 1 {
		slices.Reverse(names)
	}
	if slices.Contains(only, "floor") {
		names = append([]string{"floor"}, names...)
		if len(names) > 1 {
			names = append(names, "floor")
		}
	}
	return names
}
