//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// section is a place in README.md that a run writes: what stands between <!-- name --> and <!-- /name -->.
type section string

const (
	measuredSection section = "measured" // the table
	gatewaysSection section = "gateways" // several gateways
	computedSection section = "computed" // how the cost grows
)

// replace puts text into the section of a file.
func (s section) replace(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the file for the table (run from the repository's root, or give -readme): %w", err)
	}
	begin, end := "<!-- "+string(s)+" -->\n", "<!-- /"+string(s)+" -->\n"
	before, rest, begun := bytes.Cut(old, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !begun || !ended {
		return fmt.Errorf("%s has no <!-- %s --> and <!-- /%s --> to put the table between", file, s, s)
	}
	return os.WriteFile(file, slices.Concat(before, []byte(begin+"\n"+text+"\n"+end), after), 0o644)
}
