package gateway

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// protocol.md is what clients are written from: its table is that of codes.go, line by line.
func TestCloseTableIsTheDocuments(t *testing.T) {
	doc, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "\n## Close codes\n")
	if !found {
		t.Fatal("protocol.md has no section \"Close codes\"")
	}
	var got, want []string
	for line := range strings.Lines(section) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| 1") || strings.HasPrefix(line, "| 4") {
			got = append(got, line)
		}
	}
	for _, r := range closeTable {
		want = append(want, fmt.Sprintf("| %d | `%s` | %s | %s |", r.code, r.name, r.meaning, r.reconnect))
	}
	if !slices.Equal(got, want) {
		t.Errorf("table of protocol.md: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCloseCodes(t *testing.T) {
	names := map[string]bool{}
	for i, r := range closeTable {
		if i > 0 && closeTable[i-1].code >= r.code {
			t.Errorf("%d stands behind %d", r.code, closeTable[i-1].code)
		}
		if names[r.name] {
			t.Errorf("two codes are named %q", r.name)
		}
		names[r.name] = true
		if got := r.code.Name(); got != r.name {
			t.Errorf("Name of %d: got %q, want %q", r.code, got, r.name)
		}
		if got := r.code.Reconnect(); got != r.reconnect {
			t.Errorf("Reconnect of %d: got %q, want %q", r.code, got, r.reconnect)
		}
	}
	for _, c := range []CloseCode{0, 1005, 1006, 1011, 3000, 4999, 65535} {
		if got := c.Name(); got != "other" {
			t.Errorf("Name of %d: got %q, want other", c, got)
		}
		if got := c.Reconnect(); got != reconnectYes {
			t.Errorf("Reconnect of %d: got %q, want %q", c, got, reconnectYes)
		}
	}
	if got, want := closeSlow.String(), "4008 slow"; got != want {
		t.Errorf("String: got %q, want %q", got, want)
	}
}
