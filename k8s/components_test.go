package k8s

import (
	"os"
	"path/filepath"
	"testing"
)

// components are the names of all there are.
func components(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("components/*")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("got components %v, %v, want five or more", dirs, err)
	}
	for i, d := range dirs {
		dirs[i] = filepath.Base(d)
	}
	return dirs
}

// buildWith renders the base with one component, as an overlay of its own would.
func buildWith(t *testing.T, component string) (rendered, error) {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	relative := func(path string) string {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			t.Fatal(err)
		}
		to, err := filepath.Rel(real, filepath.Join(here, path))
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	text := "namespace: tidings\nresources: [" + relative("overlays/local") + "]\ncomponents: [" + relative("components/"+component) + "]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(dir)
}

// withComponents are all overlays, and the local one with each component.
func withComponents(t *testing.T, check func(t *testing.T, all rendered)) {
	t.Helper()
	forEach(t, check)
	for _, name := range components(t) {
		t.Run("local with "+name, func(t *testing.T) {
			all, err := buildWith(t, name)
			if err != nil {
				t.Fatal(err)
			}
			check(t, all)
		})
	}
}
