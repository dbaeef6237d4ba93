package k8s

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What points into README.md, from itself and from every file here, points at a heading.
func TestLinksFindTheirHeadings(t *testing.T) {
	there, links := anchors(t), 0
	inside, outside := regexp.MustCompile(`\]\(#([^)]*)\)`), regexp.MustCompile(`k8s/README\.md#([a-z0-9-]+)`)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".go") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		pattern := outside
		if name == "README.md" {
			pattern = inside
		}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			links++
			if !there[m[1]] {
				t.Errorf("%s points at #%s, which is no heading of README.md", name, m[1])
			}
		}
		return nil
	})
	if err != nil || links < 40 {
		t.Errorf("got %d links, %v, want many", links, err)
	}
}

// Files that README.md names are there.
func TestReadmeNamesFiles(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`((?:base|overlays|components)/[a-z0-9./-]+)`|\\]\\((\\.\\./[^)#]+)").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(m[1] + m[2]); err != nil {
			t.Errorf("README.md names %s: %v", m[1]+m[2], err)
		}
	}
}

// Every Secret that the manifests leave out is in README.md.
func TestReadmeNamesSecrets(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(outside, "tidings-tls") {
		if !strings.Contains(string(text), name) {
			t.Errorf("README.md does not say how the Secret %s is made", name)
		}
	}
}
