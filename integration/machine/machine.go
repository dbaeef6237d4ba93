//go:build linux

// Package machine says where, and of what, figures are: without it they say nothing.
package machine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is a line below a table of figures.
type Machine struct {
	CPU     string
	Cores   int
	Memory  string
	Kernel  string
	Go      string
	Commit  string
	Date    string
	Command string
}

// This is the machine, and the state of the code, that a command runs on.
func This(ctx context.Context, command string) Machine {
	m := Machine{
		CPU: "unknown processor", Cores: runtime.NumCPU(), Go: runtime.Version(), Commit: "unknown",
		Date: time.Now().UTC().Format("2006-01-02"), Command: command,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := bytes.Cut(info, []byte("model name\t: ")); ok {
			line, _, _ := bytes.Cut(rest, []byte("\n"))
			m.CPU = string(line)
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
		// What is not committed cannot be measured again; the table itself may differ.
		out, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ":(top)*.go", ":(top)go.mod").Output()
		if err != nil || len(out) > 0 {
			m.Commit += " + changes"
		}
	}
	return m
}

// Line tells it all but the command, for a document; by names who shares the cores.
func (m Machine) Line(by string) string {
	return fmt.Sprintf("%s · %d cores shared by %s · %s · %s · %s · commit %s · %s", m.CPU, m.Cores, by, m.Memory, m.Kernel, m.Go, m.Commit, m.Date)
}
