//go:build linux

package main

import (
	"fmt"
	"strings"
)

// goal is what the product promises of one figure.
type goal struct {
	label      string
	format     string
	goal, must float64 // at most, or where more is better at least
	more       bool
	value      func(pair) (float64, bool)
}

var goals = []goal{
	{"memory per idle session, resident", "%.0f B", 300, 512, false, of("tidings", residentTab)},
	{"— live heap and stacks", "%.0f B", 300, 512, false, of("tidings", liveTab)},
	{"CPU per handshake", "%.2f × floor", 2, 3, false, toFloor(handshakeCPU, handshakeCPU)},
	{"CPU per delivery, one event to all", "%.2f × floor", 0.75, 1.3, false, toFloor(allCPU, allCPU)},
	{"— with io_uring off", "%.2f × floor", 1.05, 1.3, false, ratioOf("writes", allCPU, allCPU)},
	{"CPU per delivery, one-user events, as fast as they are taken", "%.2f × floor", 1.3, 1.8, false, toFloor(oneCPU, oneCPU)},
	{"— from the log, the gateway saturated", "%.2f × floor", 1.3, 1.8, false, toFloor(backlogCPU, oneCPU)},
	{"— paced, where neither is busy", "%.2f × floor", 0, 0, false, toFloor(pacedCPU, pacedCPU)},
	{"durable pipeline in one process, one-user events", "%.0f events/s", 20_000, 12_000, true, of("single", oneRate)},
	{"— JetStream's alone, twice", "%.0f events/s", 0, 0, true, of("stored", oneRate)},
	{"latency paced, p50", "%.2f ms", 0.6, 1.5, false, of("tidings", pacedP50)},
	{"latency paced, p99", "%.2f ms", 4, 10, false, of("tidings", pacedP99)},
	{"the same in one process, p50", "%.2f ms", 0.6, 1.5, false, of("single", pacedP50)},
	{"the same in one process, p99", "%.2f ms", 4, 10, false, of("single", pacedP99)},
	{"— JetStream's alone, twice, p50", "%.2f ms", 0, 0, false, of("stored", pacedP50)},
	{"— JetStream's alone, twice, p99", "%.2f ms", 0, 0, false, of("stored", pacedP99)},
	{"resume of all tabs dropped at once", "%.2f s", 2, 5, false, of("tidings", resumeSeconds)},
	{"idle: CPU, of a core", "%.2f %%", 1, 3, false, of("tidings", idleCPU)},
	{"cost per delivery to all in floors, with all tabs to few", "%.2f", 1.05, 1.15, false, growthInFloors(allCPU, fewAllCPU)},
	{"— in µs", "%.2f", 0, 0, false, growth("tidings", allCPU, fewAllCPU)},
	{"— the floor's own, in µs", "%.2f", 0, 0, false, growth("floor", allCPU, fewAllCPU)},
	{"cost per delivery to one in floors, with all tabs to few", "%.2f", 1.05, 1.15, false, growthInFloors(oneCPU, fewOneCPU)},
	{"— in µs", "%.2f", 0, 0, false, growth("tidings", oneCPU, fewOneCPU)},
	{"— the floor's own, in µs", "%.2f", 0, 0, false, growth("floor", oneCPU, fewOneCPU)},
	{"cost per delivery from the log, with a million users in the tail to without, cheapest passes", "%.2f", 1.05, 1.15, false, growth("tidings", knownLeast, backlogLeast)},
	{"— the first passes, in which memory is touched for the first time", "%.2f", 0, 0, false, growth("tidings", knownCPU, backlogCPU)},
	{"p99 of others with bad peers to without", "%.2f", 1.2, 1.5, false, of("tidings", besideRatio)},
	{"— to the same peers at another gateway of this machine", "%.2f", 0, 0, false, of("tidings", besideOwn)},
	{"p99 of others in a storm of newcomers, to the same storm at another gateway of this machine", "%.2f", 0, 0, false, of("tidings", stormOwn)},
}

func of(kind string, m metric) func(pair) (float64, bool) {
	return func(p pair) (float64, bool) { return p.value(kind, m) }
}

// toFloor is the product's figure as a ratio to the floor's.
func toFloor(m, floors metric) func(pair) (float64, bool) { return ratioOf("tidings", m, floors) }

func ratioOf(kind string, m, floors metric) func(pair) (float64, bool) {
	return func(p pair) (float64, bool) { return quotient(p, kind, m, "floor", floors) }
}

func growth(kind string, all, few metric) func(pair) (float64, bool) {
	return func(p pair) (float64, bool) { return quotient(p, kind, all, kind, few) }
}

// growthInFloors leaves out what the kernel's part grows by: 19,000 sockets do not fit into the processor's cache.
func growthInFloors(all, few metric) func(pair) (float64, bool) {
	return func(p pair) (float64, bool) {
		own, ok := growth("tidings", all, few)(p)
		floors, based := growth("floor", all, few)(p)
		return own / floors, ok && based && floors > 0
	}
}

func quotient(p pair, kind string, m metric, base string, mBase metric) (float64, bool) {
	v, ok := p.value(kind, m)
	b, based := p.value(base, mBase)
	return v / b, ok && based && b > 0
}

// goalTable writes what was demanded beside what was measured; it is empty where nothing of it was.
func goalTable(all []pair) string {
	var b strings.Builder
	for _, g := range goals {
		var v []float64
		for _, p := range all {
			if x, ok := g.value(p); ok {
				v = append(v, x)
			}
		}
		if len(v) > 0 {
			middle := median(v)
			fmt.Fprintf(&b, "| %s | "+g.format+" | %s | %s | %s |\n", g.label, middle, g.bound(g.goal), g.bound(g.must), g.verdict(middle))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "| what must hold | measured | goal | must | |\n| --- | ---: | ---: | ---: | --- |\n" + b.String()
}

func (g *goal) bound(v float64) string {
	if g.must == 0 {
		return ""
	}
	return fmt.Sprintf("%g", v)
}

func (g *goal) verdict(v float64) string {
	reached := func(bound float64) bool { return v <= bound != g.more || v == bound }
	switch {
	case g.must == 0:
		return ""
	case reached(g.goal):
		return "goal"
	case reached(g.must):
		return "holds"
	}
	return "**not yet**"
}
