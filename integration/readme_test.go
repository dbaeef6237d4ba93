package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The README shows what `tidings config` prints, word for word.
func TestReadmeShowsEverySetting(t *testing.T) {
	out, err := exec.Command(programs.Tidings, "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(readme), "<!-- tidings config -->\n```\n")
	shown, _, ok2 := strings.Cut(rest, "```\n<!-- end -->")
	if !ok1 || !ok2 {
		t.Fatal("README.md has no block between <!-- tidings config --> and <!-- end -->")
	}
	if want := tidy(string(out)); tidy(shown) != want {
		t.Errorf("the settings in README.md are not those of `tidings config`. Put this between the markers:\n%s", want)
	}
	if n := strings.Count(shown, "\n"); n < 40 {
		t.Errorf("got %d settings, want all", n)
	}
}

// tidy takes white space off the ends of lines.
func tidy(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
