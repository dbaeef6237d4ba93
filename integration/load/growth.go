//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
)

// growthModel computes what many tabs need, from what was measured of few. Everything it assumes is here, and in the text it writes.
type growthModel struct {
	tab      float64 // bytes of a process for a tab
	socket   float64 // bytes of the kernel for its socket
	base     float64 // bytes of a gateway without tabs, its tail full
	delivery float64 // µs of a gateway for a one-user delivery
	toAll    float64 // µs for a delivery of an event to all
	follow   float64 // µs of each gateway for each record
	shake    float64 // µs for a handshake
	comeBack float64 // µs for a tab that resumes
	idle     float64 // cores for the heartbeats of a tab
	fanout   float64 // µs of the fanout role for an event
	store    float64 // µs of NATS for an event: publish, store, hand to fanout, store the record, one gateway
	send     float64 // µs of NATS for each further gateway that reads a record
	record   float64 // bytes of a record in the log
}

// What is assumed: an installation with other habits puts in its own.
const (
	podTabs      = 100_000 // tabs of a gateway pod
	podCores     = 2
	tabsOfUser   = 1.3
	userEvery    = 300  // seconds between two events for a user
	tabLife      = 1800 // seconds between two handshakes of a tab
	tailBytes    = 256 << 20
	nodeCores    = 4      // of a NATS node, to be used by half
	nodeGigabits = 10     // likewise
	streamRate   = 11_000 // records/s of a stream: half of what design.md measured with three copies, always synced
	copies       = 3
	logHours     = 24
)

// modelOf reads the model's numbers from a run; ok is false if one of them was not measured.
func modelOf(all []pair, tabs float64) (g *growthModel, ok bool) {
	ok = true
	of := func(m metric) float64 {
		v := values(all, "tidings", m)
		if len(v) == 0 {
			ok = false
			return 0
		}
		return median(v)
	}
	g = &growthModel{
		tab: of(residentTab), socket: of(kernelTab) / 2, delivery: of(backlogCPU), toAll: of(allCPU), follow: of(nobodyCPU),
		shake: of(handshakeCPU), comeBack: of(resumeCPU), idle: of(idleCPU) / 100, fanout: of(oneFanout), store: of(nobodyNATS),
		record: of(recordBytes), base: of(resident),
	}
	if s := values(all, "tidings", kernelSocket); len(s) > 0 {
		g.socket = max(g.socket, median(s))
	}
	more := values(all, "five", nobodyNATS)
	if ok = ok && len(more) > 0; ok {
		g.send = max(0, (median(more)-g.store)/4)
		g.base += tailBytes - tabs*g.tab
		g.idle /= tabs
	}
	return g, ok
}

// needs is what a number of tabs needs.
type needs struct {
	tabs, users, events                float64
	pods, memory, cores, allSeconds    float64
	back, podBits                      float64
	shards, nodes, natsCores, natsBits float64
	disk, fanoutCores                  float64
}

func (g *growthModel) at(tabs float64) needs {
	n := needs{tabs: tabs, users: tabs / tabsOfUser}
	n.events = n.users / userEvery
	n.pods = max(2, math.Ceil(tabs/podTabs))
	perPod := tabs / n.pods
	n.memory = g.base + perPod*(g.tab+g.socket)
	n.cores = (n.events*g.follow+n.events*tabsOfUser/n.pods*g.delivery+perPod/tabLife*g.shake)/1e6 + perPod*g.idle
	n.allSeconds = perPod * g.toAll / 1e6 / podCores
	n.back = perPod / (n.pods - 1) * g.comeBack / 1e6 / podCores
	n.podBits = n.events * g.record * 8
	n.shards = math.Ceil(n.events / streamRate)
	n.natsCores = n.events * (copies*g.store + (n.pods-1)*g.send) / 1e6
	// To fanout the event, which is about as long as its record; the record to every gateway; both to the other copies.
	n.natsBits = n.podBits * (1 + n.pods + 2*(copies-1))
	n.nodes = max(copies, math.Ceil(n.natsCores/(nodeCores/2.0)), math.Ceil(n.natsBits/1e9/(nodeGigabits/2.0)))
	n.disk = n.events * g.record * 3600 * logHours
	n.fanoutCores = n.events * g.fanout / 1e6
	return n
}

var growthRows = []struct {
	label, format string
	value         func(needs) float64
}{
	{"users `U = T / 1.3`", "%.0f", func(n needs) float64 { return n.users }},
	{"one-user events a second `E = U / 300 s`", "%.0f", func(n needs) float64 { return n.events }},
	{"gateway pods `G = T / 100,000`, two or more", "%.0f", func(n needs) float64 { return n.pods }},
	{"— memory of each `base + tail + T/G · (tab + socket)`", "%.2f GiB", func(n needs) float64 { return n.memory / (1 << 30) }},
	{"— cores of each `E · follow + 1.3 E/G · delivery + T/G · (idle + handshake / 1800 s)`", "%.2f", func(n needs) float64 { return n.cores }},
	{"— from the log to each `E · record`", "%.1f Mbit/s", func(n needs) float64 { return n.podBits / 1e6 }},
	{"an event to all: seconds of two cores `T/G · to all / 2`", "%.2f s", func(n needs) float64 { return n.allSeconds }},
	{"one pod lost, its tabs back at the others `T/G / (G-1) · resume / 2`", "%.2f s", func(n needs) float64 { return n.back }},
	{"fanout, cores `E · fanout`", "%.2f", func(n needs) float64 { return n.fanoutCores }},
	{"shards of the log `E / 11,000`", "%.0f", func(n needs) float64 { return n.shards }},
	{"NATS, cores of all nodes `E · (3 · store + (G-1) · send)`", "%.2f", func(n needs) float64 { return n.natsCores }},
	{"— out of all nodes `E · record · (G + 5)`", "%.2f Gbit/s", func(n needs) float64 { return n.natsBits / 1e9 }},
	{"— nodes of 4 cores and 10 Gbit/s, each used by half, three or more", "%.0f", func(n needs) float64 { return n.nodes }},
	{"— disk for 24 h of the log, each copy `E · record · 86,400 s`", "%.1f GiB", func(n needs) float64 { return n.disk / (1 << 30) }},
}

// computed writes what up to ten million tabs need; it is empty if the run did not measure all that this takes.
func computed(all []pair, tabs int) string {
	g, ok := modelOf(all, float64(tabs))
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "**Computed, not measured**, from the medians above: tab %.0f B and socket %.0f B (the kernel's), base %.0f MiB without tabs and tail 256 MiB; handshake %.0f µs, "+
		"resume %.0f µs, idle %.3f µs a second, follow %.1f µs a record, delivery %.1f µs, to all %.1f µs; fanout %.0f µs an event; NATS store %.0f µs an event, send %.1f µs a record and "+
		"gateway; record %.0f B. Assumed: 1.3 tabs a user, an event for each user every 300 s, a handshake of each tab every 1,800 s, three copies.\n\n",
		g.tab, g.socket, (g.base-tailBytes)/(1<<20), g.shake, g.comeBack, g.idle*1e6, g.follow, g.delivery, g.toAll, g.fanout, g.store, g.send, g.record)
	b.WriteString("| tabs `T` |")
	var columns []needs
	for _, tabs := range []float64{100_000, 1_000_000, 10_000_000} {
		columns = append(columns, g.at(tabs))
		fmt.Fprintf(&b, " %.0f |", tabs)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(columns)) + "\n")
	for _, row := range growthRows {
		fmt.Fprintf(&b, "| %s |", row.label)
		for _, n := range columns {
			fmt.Fprintf(&b, " "+row.format+" |", row.value(n))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
