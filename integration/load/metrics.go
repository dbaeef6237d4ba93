//go:build linux

package main

import (
	"fmt"
	"strings"
)

// metric names one figure of a result, with its unit at the end. CPU is that of the process which holds the tabs, unless it says
// house: then it is that of every process the server needs, NATS too.
type metric string

const (
	resident       metric = "resident_bytes"         // of the process with all tabs, idle
	residentTab    metric = "resident_per_tab_bytes" // slope
	liveTab        metric = "live_per_tab_bytes"     // slope of live heap and stacks
	kernelTab      metric = "kernel_per_tab_bytes"   // slope of the kernel's memory, both ends of the socket
	kernelSocket   metric = "kernel_socket_bytes"    // objects of one end
	handshakeCPU   metric = "handshake_cpu_us"       //
	handshakes     metric = "handshakes_per_s"       //
	idleCPU        metric = "idle_cpu_percent"       // of a core
	idleHouse      metric = "idle_house_cpu_percent" //
	pacedRate      metric = "paced_events_per_s"     // as published
	pacedP50       metric = "paced_p50_ms"           // from publish to frame read
	pacedP99       metric = "paced_p99_ms"           //
	pacedCPU       metric = "paced_cpu_us"           // per delivery
	pacedHouse     metric = "paced_house_cpu_us"     // per event
	pacedFanout    metric = "paced_fanout_cpu_us"    // per event, the process with the role fanout
	pacedNATS      metric = "paced_nats_cpu_us"      // per event
	pacedPublisher metric = "paced_publisher_cpu_us" // per event, the publisher
	pacedOwn       metric = "paced_tabs_cpu_us"      // per delivery, of the load generator
	allP50         metric = "all_p50_ms"             // until half of the tabs have it; median of the events
	allLast        metric = "all_last_ms"            // until the last has it; median of the events
	allRate        metric = "all_deliveries_per_s"   // until then
	allCPU         metric = "all_cpu_us"             // per delivery
	allOwn         metric = "all_tabs_cpu_us"        // per delivery, of the load generator
	fewAllCPU      metric = "few_all_cpu_us"         // the same with few tabs
	oneRate        metric = "one_events_per_s"       // saturated
	oneCPU         metric = "one_cpu_us"             // per delivery
	oneHouse       metric = "one_house_cpu_us"       // per event
	oneFanout      metric = "one_fanout_cpu_us"      // per event, the process with the role fanout
	oneNATS        metric = "one_nats_cpu_us"        // per event
	nobodyNATS     metric = "nobody_nats_cpu_us"     // per event, publish and fanout included
	recordBytes    metric = "record_bytes"           // in the log
	fewOneCPU      metric = "few_one_cpu_us"         // per delivery, few tabs
	backlogCPU     metric = "backlog_cpu_us"         // per delivery
	backlogLeast   metric = "backlog_least_cpu_us"   // per delivery, in the cheapest pass
	backlogRate    metric = "backlog_events_per_s"   //
	knownCPU       metric = "known_cpu_us"           // per delivery
	knownLeast     metric = "known_least_cpu_us"     // per delivery, in the cheapest pass
	knownRate      metric = "known_events_per_s"     // events/s
	knownResident  metric = "known_resident_bytes"   // of the process, then
	nobodyCPU      metric = "nobody_cpu_us"          // per event
	resumeSeconds  metric = "resume_s"               // from the first handshake until the last tab has everything
	resumeOpen     metric = "resume_open_s"          // until the last tab is open
	resumeCPU      metric = "resume_cpu_us"          // per tab
	resumeResident metric = "resume_resident_bytes"  // of the process, behind it
	freeP50        metric = "peers_none_p50_ms"      // without bad peers; medians of the windows
	freeP99        metric = "peers_none_p99_ms"      //
	freeMax        metric = "peers_none_max_ms"      //
	freeDrift      metric = "peers_none_drift"       // p99 of the last window without, to the first
	freeCPU        metric = "peers_none_cpu_percent" // of a core
	besideP50      metric = "peers_p50_ms"           // with bad peers; medians of the windows
	besideP99      metric = "peers_p99_ms"           //
	besideMax      metric = "peers_max_ms"           //
	besideRatio    metric = "peers_p99_ratio"        // with, to the mean of the windows before and after; median
	elsewhereP50   metric = "peers_elsewhere_p50_ms" // with the same peers at another process
	elsewhereP99   metric = "peers_elsewhere_p99_ms"
	besideOwn      metric = "peers_p99_own_ratio"          // with, to elsewhere; median
	besideCPU      metric = "peers_cpu_percent"            // of a core
	peersOwn       metric = "peers_own_cpu_percent"        // of a core, the process with the bad peers
	peersResident  metric = "peers_resident_bytes"         // of the process with tabs
	peersLive      metric = "peers_live_per_peer_bytes"    // heap and stacks
	peersBuffers   metric = "peers_buffers_per_peer_bytes" // the kernel's, both ends
	calmP50        metric = "storm_none_p50_ms"            // without newcomers; medians of the windows
	calmP99        metric = "storm_none_p99_ms"            //
	stormP50       metric = "storm_p50_ms"                 // while newcomers come in a storm
	stormP99       metric = "storm_p99_ms"                 //
	stormOtherP50  metric = "storm_elsewhere_p50_ms"       // while the same come to another process
	stormOtherP99  metric = "storm_elsewhere_p99_ms"       //
	stormOwn       metric = "storm_p99_own_ratio"          // here, to elsewhere; median
	stormRate      metric = "storm_handshakes_per_s"       //
)

// result is one measurement of one server.
type result struct {
	Server string
	Values map[metric]float64

	Windows windows
}

// line is the result in short, for who waits.
func (r *result) line() string {
	var b strings.Builder
	for _, row := range rows {
		if v, ok := r.Values[row.metric]; ok && row.short != "" {
			fmt.Fprintf(&b, " %s "+row.format+";", row.short, v/row.unit())
		}
	}
	return strings.TrimSuffix(b.String(), ";")
}
