package k8s

import (
	"bufio"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// ignored are the patterns of .dockerignore: of the root, or of any depth behind **/.
func ignored() ([]string, error) {
	f, err := os.Open("../.dockerignore")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var patterns []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if p := strings.TrimSpace(lines.Text()); p != "" && p[0] != '#' {
			patterns = append(patterns, p)
		}
	}
	return patterns, nil
}

func isIgnored(patterns []string, name string) bool {
	for _, p := range patterns {
		anywhere, ok := strings.CutPrefix(p, "**/")
		if matched, _ := path.Match(anywhere, path.Base(name)); ok && matched {
			return true
		}
		if matched, _ := path.Match(p, name); !ok && matched {
			return true
		}
	}
	return false
}

// copyContext copies what `docker build .` would send to the builder.
func copyContext(to string) error {
	patterns, err := ignored()
	if err != nil {
		return err
	}
	return filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == ".." {
			return err
		}
		inside := strings.TrimPrefix(filepath.ToSlash(name), "../")
		target := filepath.Join(to, filepath.FromSlash(inside))
		switch {
		case isIgnored(patterns, inside) && d.IsDir():
			return fs.SkipDir
		case isIgnored(patterns, inside):
			return nil
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		}
		return copyFile(name, target, 0o644)
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

var built struct {
	once   sync.Once
	dir    string // to be removed
	binary string
	failed string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// binary is the program as the Dockerfile builds it, from the files that it would be sent.
func binary(t *testing.T) string {
	t.Helper()
	command := buildCommand(t)
	built.once.Do(func() {
		var err error
		if built.dir, err = os.MkdirTemp("", "tidings-image-"); err != nil {
			built.failed = err.Error()
			return
		}
		built.binary = filepath.Join(built.dir, "image", "tidings")
		source := filepath.Join(built.dir, "src")
		if err := copyContext(source); err != nil {
			built.failed = err.Error()
			return
		}
		cmd := exec.Command("sh", "-c", output.ReplaceAllString(command, " -o "+built.binary+" "))
		cmd.Dir = source
		if out, err := cmd.CombinedOutput(); err != nil {
			built.failed = err.Error() + "\n" + string(out)
		}
	})
	if built.failed != "" {
		t.Fatalf("the Dockerfile's %s, on what .dockerignore leaves: %s", command, built.failed)
	}
	return built.binary
}

func TestIgnored(t *testing.T) {
	patterns := []string{".*", "k8s", "*.md", "**/testdata", "**/*_test.go"}
	for name, want := range map[string]bool{
		".git": true, "k8s": true, "README.md": true, "fanout/testdata": true, "main_test.go": true, "gateway/auth_test.go": true,
		"gateway/.npmrc": false, "gateway/k8s": false, "gateway/protocol.md": false, "main.go": false,
	} {
		if got := isIgnored(patterns, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A static binary starts where there is nothing else, no loader and no libc.
func TestTheBinaryIsStatic(t *testing.T) {
	out, err := exec.Command("go", "version", "-m", binary(t)).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath=true", "path\ttidings\n", "github.com/nats-io/nats-server/v2"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("`go version -m` does not say %q:\n%s", want, out)
		}
	}
	for _, unwanted := range []string{"k8s.io/", "sigs.k8s.io/kustomize", "github.com/prometheus/prometheus\t"} {
		if strings.Contains(string(out), unwanted) {
			t.Errorf("%s, which only tests need, is in the binary", unwanted)
		}
	}
}
