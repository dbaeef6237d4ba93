//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// row is one line of the table.
type row struct {
	label  string
	format string // of a value
	value  func(*result) float64
}

var rows = []row{
	{"memory per idle tab (slope), resident", "%.0f B", func(r *result) float64 { return r.ResidentPerTab }},
	{"memory per idle tab (slope), live heap and stacks", "%.0f B", func(r *result) float64 { return r.LivePerTab }},
	{"the whole process with all tabs idle, resident", "%.1f MiB", func(r *result) float64 { return r.Resident / (1 << 20) }},
	{"CPU per handshake", "%.0f µs", func(r *result) float64 { return r.ConnectCPU }},
	{"one-user events, saturated: deliveries per second", "%.0f", func(r *result) float64 { return r.BurstRate }},
	{"— CPU per delivery", "%.1f µs", func(r *result) float64 { return r.BurstCPU }},
	{"— CPU per event of all processes, NATS included", "%.1f µs", func(r *result) float64 { return r.BurstHouse }},
	{"one-user events, paced: p50 from publish to frame read", "%.2f ms", func(r *result) float64 { return r.PacedP50 }},
	{"— p99", "%.2f ms", func(r *result) float64 { return r.PacedP99 }},
	{"— CPU per delivery", "%.1f µs", func(r *result) float64 { return r.PacedCPU }},
	{"one event to all tabs: until half have it", "%.0f ms", func(r *result) float64 { return r.AllP50 }},
	{"— until the last has it", "%.0f ms", func(r *result) float64 { return r.AllLast }},
	{"— deliveries per second", "%.0f", func(r *result) float64 { return r.AllRate }},
	{"— CPU per delivery", "%.1f µs", func(r *result) float64 { return r.AllCPU }},
}

// runs are the results of every kind of server, one for each time it was measured.
type runs [][]*result

// table writes medians with their range, and the median of the ratios within each pair.
func table(m machine, o *options, all runs) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %d cores shared by servers, tabs and publisher · %s · %s · %s · commit %s · %s\n\n", m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, m.Commit, m.Date)
	fmt.Fprintf(&b, "`%s`: %d tabs of %d users in %d processes; memory is the slope from %d tabs; %d events/s paced for %d s, %d saturated, %d to all; %d bytes of data. "+
		"Medians of %d measurements of each server, in turn (least–most).\n\n", m.Command, o.tabs, o.users, o.procs, o.low, o.rate, o.seconds, o.burst, o.all, o.bytes, o.pairs)
	b.WriteString("| |")
	for i, k := range kinds {
		fmt.Fprintf(&b, " %s |", k.name)
		if i > 0 {
			fmt.Fprintf(&b, " %s / %s |", k.name, kinds[0].name)
		}
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", 2*len(kinds)-1) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.label)
		for i := range all {
			fmt.Fprintf(&b, " %s |", row.cell(all[i]))
			if i > 0 {
				fmt.Fprintf(&b, " %s |", row.ratio(all[0], all[i]))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (w *row) values(list []*result) []float64 {
	var v []float64
	for _, r := range list {
		v = append(v, w.value(r))
	}
	return v
}

func (w *row) cell(list []*result) string {
	v := w.values(list)
	middle := fmt.Sprintf(w.format, median(v))
	if len(v) == 1 {
		return middle
	}
	number, _, _ := strings.Cut(w.format, " ")
	return fmt.Sprintf("%s ("+number+"–"+number+")", middle, slices.Min(v), slices.Max(v))
}

func (w *row) ratio(first, other []*result) string {
	a, b := w.values(first), w.values(other)
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if a[i] <= 0 || b[i] <= 0 { // a slope inside the noise
			return "–"
		}
		ratios = append(ratios, b[i]/a[i])
	}
	return fmt.Sprintf("%.2f", median(ratios))
}

const (
	tableBegin = "<!-- measured -->\n"
	tableEnd   = "<!-- /measured -->\n"
)

// replaceTable puts text between the markers of a file.
func replaceTable(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the file for the table (run from the repository's root, or give -readme): %w", err)
	}
	before, rest, begun := bytes.Cut(old, []byte(tableBegin))
	_, after, ended := bytes.Cut(rest, []byte(tableEnd))
	if !begun || !ended {
		return errors.New(file + " has no " + strings.TrimSpace(tableBegin) + " and " + strings.TrimSpace(tableEnd) + " to put the table between")
	}
	return os.WriteFile(file, slices.Concat(before, []byte(tableBegin+"\n"+text+"\n"+tableEnd), after), 0o644)
}
