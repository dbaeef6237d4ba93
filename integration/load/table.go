//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"

	"tidings/integration/machine"
)

// row is one line of the table.
type row struct {
	metric metric
	label  string
	format string // of a value
	short  string // in the line that is printed while the run goes on; empty: not there
}

var rows = []row{
	{residentTab, "memory per idle tab (slope), resident", "%.0f B", "a tab"},
	{liveTab, "— live heap and stacks", "%.0f B", "live"},
	{kernelTab, "— the kernel's, both ends of the socket", "%.0f B", ""},
	{kernelSocket, "— the kernel's objects of one end", "%.0f B", ""},
	{resident, "the whole process with all tabs idle, resident", "%.1f MiB", ""},
	{handshakeCPU, "CPU per handshake", "%.0f µs", "handshake"},
	{idleCPU, "idle with heartbeats: CPU, of a core", "%.2f %%", "idle"},
	{idleHouse, "— of all processes, NATS included", "%.2f %%", ""},
	{allCPU, "one event to all tabs: CPU per delivery", "%.2f µs", "to all"},
	{allOwn, "— CPU per delivery of those who read", "%.2f µs", ""},
	{fewAllCPU, "— with few tabs", "%.2f µs", ""},
	{allP50, "— until half have it", "%.0f ms", ""},
	{allLast, "— until the last has it", "%.0f ms", ""},
	{allRate, "— deliveries per second", "%.0f", ""},
	{oneCPU, "one-user events, as fast as they are taken: CPU per delivery", "%.2f µs", "to one"},
	{fewOneCPU, "— with few tabs", "%.2f µs", ""},
	{oneRate, "— events per second", "%.0f", "a second"},
	{oneHouse, "— CPU per event of all processes, NATS included", "%.1f µs", ""},
	{oneFanout, "— CPU per event of the fanout role", "%.1f µs", ""},
	{oneNATS, "— CPU per event of NATS", "%.1f µs", ""},
	{backlogCPU, "one-user events that wait in the log: CPU per delivery", "%.2f µs", "from the log"},
	{backlogLeast, "— in the cheapest of three passes", "%.2f µs", ""},
	{backlogRate, "— events per second", "%.0f", ""},
	{knownCPU, "— the same with a million users in the tail", "%.2f µs", "known"},
	{knownLeast, "— in the cheapest of three passes", "%.2f µs", ""},
	{knownRate, "— events per second", "%.0f", ""},
	{knownResident, "— the process then, resident", "%.1f MiB", ""},
	{nobodyCPU, "events for nobody here: CPU per event and gateway", "%.2f µs", "for nobody"},
	{nobodyNATS, "— CPU per event of NATS", "%.1f µs", ""},
	{recordBytes, "— bytes of each in the log", "%.0f B", ""},
	{pacedP50, "one-user events, paced: p50 from publish to frame read", "%.2f ms", "p50"},
	{pacedP99, "— p99", "%.2f ms", "p99"},
	{pacedCPU, "— CPU per delivery", "%.2f µs", "paced"},
	{pacedHouse, "— CPU per event of all processes, NATS included", "%.1f µs", "house"},
	{pacedFanout, "— CPU per event of the fanout role", "%.1f µs", ""},
	{pacedNATS, "— CPU per event of NATS", "%.1f µs", ""},
	{pacedPublisher, "— CPU per event of the publisher", "%.1f µs", ""},
	{pacedOwn, "— CPU per delivery of those who read", "%.1f µs", ""},
	{resumeSeconds, "all tabs dropped, and back with what they missed", "%.2f s", "resume"},
	{resumeOpen, "— until the last is open", "%.2f s", ""},
	{resumeCPU, "— CPU per tab", "%.0f µs", ""},
	{resumeResident, "— the process behind it, resident", "%.1f MiB", ""},
	{freeP50, "bad peers: p50 of the tabs without them", "%.2f ms", ""},
	{besideP50, "— p50 with them", "%.2f ms", ""},
	{freeP99, "— p99 without", "%.2f ms", "p99 alone"},
	{besideP99, "— p99 with them", "%.2f ms", "beside bad peers"},
	{elsewhereP50, "— p50 with the same peers at another process", "%.2f ms", ""},
	{elsewhereP99, "— p99 with the same peers at another process", "%.2f ms", "elsewhere"},
	{freeMax, "— longest without", "%.2f ms", ""},
	{besideMax, "— longest with them", "%.2f ms", ""},
	{besideRatio, "— p99 with them to without", "%.2f", "ratio"},
	{besideOwn, "— p99 with them to that with them at another process", "%.2f", "to elsewhere"},
	{freeDrift, "— p99 without, last window to first", "%.2f", ""},
	{freeCPU, "— CPU without, of a core", "%.1f %%", ""},
	{besideCPU, "— CPU with them, of a core", "%.1f %%", ""},
	{peersOwn, "— CPU of the bad peers' own process, of a core", "%.1f %%", ""},
	{peersLive, "— live heap and stacks, for each of them", "%.0f B", ""},
	{peersBuffers, "— the kernel's buffers, both ends of the socket, for each of them", "%.0f B", ""},
	{peersResident, "— the whole process with them, resident", "%.1f MiB", ""},
	{calmP50, "a storm of newcomers: p50 of the tabs without it", "%.2f ms", ""},
	{stormP50, "— p50 while it lasts", "%.2f ms", ""},
	{stormOtherP50, "— p50 while the same storm is at another process", "%.2f ms", ""},
	{calmP99, "— p99 without it", "%.2f ms", "calm p99"},
	{stormP99, "— p99 while it lasts", "%.2f ms", "in a storm"},
	{stormOtherP99, "— p99 while the same storm is at another process", "%.2f ms", "storm elsewhere"},
	{stormOwn, "— p99 here to that elsewhere", "%.2f", ""},
	{stormRate, "— handshakes per second", "%.0f", "handshakes/s"},
}

// unit is what a value is divided by to be shown.
func (w *row) unit() float64 {
	if strings.HasSuffix(w.format, "MiB") {
		return 1 << 20
	}
	return 1
}

// table writes what was measured, and what of it was demanded.
func table(m machine.Machine, o *options, all []pair) string {
	var b strings.Builder
	b.WriteString(m.Line("servers, tabs and publisher") + "\n\n")
	fmt.Fprintf(&b, "`%s`: %d tabs of %d users in %d processes", m.Command, o.tabs, o.users, o.procs)
	if o.gateways > 0 {
		fmt.Fprintf(&b, ", on %d gateways with one NATS and one fanout", o.gateways)
	} else {
		fmt.Fprintf(&b, " (%d in one process with all roles; few are %d)", min(o.single, o.tabs), o.few)
	}
	fmt.Fprintf(&b, "; memory is the slope from %d; %d events/s paced for %d s, %d saturated, %d to all; %d bytes of data", o.low, o.rate, o.seconds, o.burst, o.all, o.bytes)
	if slices.Contains(o.parts, "peers") && o.gateways == 0 {
		fmt.Fprintf(&b, "; %d bad peers, at %d events/s, in %d windows of %d s", o.peers, o.rate/leaveRoom, o.windows, o.seconds)
	}
	b.WriteByte('.')
	if o.pairs > 1 {
		fmt.Fprintf(&b, " Medians of %d turns (least–most).", o.pairs)
	}
	if slices.Contains(o.only, "floor") {
		b.WriteString(" The floor is measured before and after the others; × floor is the median of the ratios within each turn.")
	}
	b.WriteString("\n\n" + measuredTable(o, all))
	if text := goalTable(all); text != "" {
		b.WriteString("\n" + text)
	}
	return b.String()
}

func measuredTable(o *options, all []pair) string {
	var b strings.Builder
	columns := 0
	b.WriteString("| |")
	for _, name := range o.only {
		fmt.Fprintf(&b, " %s |", kindNamed(name).title)
		if columns++; ratios(o, name) {
			b.WriteString(" × floor |")
			columns++
		}
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", columns) + "\n")
	for _, row := range rows {
		if !slices.ContainsFunc(o.only, func(name string) bool { return len(values(all, name, row.metric)) > 0 }) {
			continue
		}
		fmt.Fprintf(&b, "| %s |", row.label)
		for _, name := range o.only {
			fmt.Fprintf(&b, " %s |", row.cell(values(all, name, row.metric)))
			if ratios(o, name) {
				fmt.Fprintf(&b, " %s |", ratio(all, name, row.metric))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ratios tells whether a kind has a column with its ratios to the floor.
func ratios(o *options, kind string) bool { return kind != "floor" && slices.Contains(o.only, "floor") }

// values are a kind's figures, one of each pair that has it.
func values(all []pair, kind string, m metric) (v []float64) {
	for _, p := range all {
		if x, ok := p.value(kind, m); ok {
			v = append(v, x)
		}
	}
	return v
}

func (w *row) cell(v []float64) string {
	if len(v) == 0 {
		return ""
	}
	middle := fmt.Sprintf(w.format, median(v)/w.unit())
	if len(v) == 1 {
		return middle
	}
	number, _, _ := strings.Cut(w.format, " ")
	return fmt.Sprintf("%s ("+number+"–"+number+")", middle, slices.Min(v)/w.unit(), slices.Max(v)/w.unit())
}

func ratio(all []pair, kind string, m metric) string {
	var v []float64
	for _, p := range all {
		x, ok := p.value(kind, m)
		base, based := p.value("floor", m)
		if !ok || !based {
			continue
		}
		if x <= 0 || base <= 0 { // a slope inside the noise
			return "–"
		}
		v = append(v, x/base)
	}
	if len(v) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(v))
}
