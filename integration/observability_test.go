package integration

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tidings/integration/house"
)

const observability = "../k8s/observability.md"

// table is the rows of the table behind a heading of k8s/observability.md, each as its cells.
func table(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	b, err := os.ReadFile(observability)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", observability, heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	for line := range strings.SplitSeq(section, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.ReplaceAll(strings.TrimSpace(cell), "`", ""))
		}
		rows = append(rows, cells)
	}
	if len(rows) < 2 {
		t.Fatalf("%s has no table behind %q", observability, heading)
	}
	return rows[1:] // without the names of the columns
}

// TestLogLines: every line that is logged is in the table with its level and keys, and every row of the table is logged.
func TestLogLines(t *testing.T) {
	documented := map[string]bool{} // by the row without its last cell: seen in the source
	for _, row := range table(t, "### Lines") {
		documented["| "+strings.Join(row[:3], " | ")+" |"] = false
	}
	known := map[string]bool{}
	for _, row := range table(t, "### Keys") {
		for key := range strings.SplitSeq(row[0], ", ") {
			known[key] = false
		}
	}
	use := func(keys []string, where string) {
		for _, k := range keys {
			if _, ok := known[k]; !ok {
				t.Errorf("%s: the key %q is not in the table behind ### Keys: is there another for the same thing?", where, k)
			}
			known[k] = true
		}
	}
	calls, with := logCalls(t)
	use(with, "With")
	if len(calls) < 30 {
		t.Errorf("found %d lines that log, and expected more: is a logger called differently?", len(calls))
	}
	for _, c := range calls {
		use(c.keys, c.at.String())
		if _, ok := documented[c.row()]; !ok {
			t.Errorf("%s: this row is missing behind ### Lines:\n%s …", c.at, c.row())
		}
		documented[c.row()] = true
	}
	for row, seen := range documented {
		if !seen {
			t.Errorf("nothing logs %s", row)
		}
	}
	for key, seen := range known {
		if !seen {
			t.Errorf("nothing uses the key %s", key)
		}
	}
}

var metricName = regexp.MustCompile(`^tidings_[a-z0-9_]+$`)

// TestMetricsAreDocumented: every metric is in the table, and nothing else.
func TestMetricsAreDocumented(t *testing.T) {
	var documented []string
	for _, row := range table(t, "## Metrics") {
		name, _, _ := strings.Cut(row[0], "{")
		if !metricName.MatchString(name) {
			t.Errorf("%q is no name", row[0])
		}
		documented = append(documented, name)
	}
	names := metricNames(t)
	for _, name := range names {
		if !slices.Contains(documented, name) {
			t.Errorf("%s is not in the table", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(names, name) {
			t.Errorf("nothing registers %s", name)
		}
	}
	// What a process really has: a metric that is registered in another way would not be found in the source.
	d := programs.Start(t, "all", house.Settings{}).Ready()
	_, body, err := d.Get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "# TYPE tidings_")
		if !ok {
			continue
		}
		found++
		name, _, _ := strings.Cut(rest, " ")
		if !slices.Contains(documented, "tidings_"+name) {
			t.Errorf("/metrics has tidings_%s, which is not in the table", name)
		}
	}
	if found < 20 {
		t.Errorf("/metrics has %d of our metrics, and should have more", found)
	}
}
