package house

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs are the executables of a run of tests.
type Programs struct {
	Tidings string // built with the race detector if the tests are
	NATS    string // nats-server, of the version in go.mod

	dir    string
	within []string // put in front of the command line of tidings
}

// Within are the same executables, where tidings is started by a program that is given its command line, such as
// `ip netns exec NAME`.
func (p *Programs) Within(command ...string) *Programs {
	q := *p
	q.within = command
	return &q
}

// Build makes them in a directory of their own. It uses the go command of the tests, from within the module.
func Build() (*Programs, error) {
	dir, err := os.MkdirTemp("", "tidings-integration-")
	if err != nil {
		return nil, err
	}
	p := &Programs{filepath.Join(dir, "tidings"), filepath.Join(dir, "nats-server"), dir, nil}
	flags := []string{}
	if Race {
		flags = append(flags, "-race")
	}
	err = build(p.Tidings, "tidings", flags...)
	if err == nil {
		// Without the race detector, which is about our code: three servers under it would be most of the work.
		err = build(p.NATS, "github.com/nats-io/nats-server/v2")
	}
	if err != nil {
		p.Remove()
		return nil, err
	}
	return p, nil
}

func build(target, pkg string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", target, pkg)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Remove deletes the executables.
func (p *Programs) Remove() { os.RemoveAll(p.dir) }
