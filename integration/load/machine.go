//go:build linux

package main

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

// machine is where and of what the figures are: without it they say nothing.
type machine struct {
	CPU     string
	Cores   int
	Memory  string
	Kernel  string
	Go      string
	Commit  string
	Date    string
	Command string
}

func thisMachine(ctx context.Context, o *options) machine {
	m := machine{
		CPU: "unknown processor", Cores: runtime.NumCPU(), Go: runtime.Version(), Commit: "unknown",
		Date: time.Now().UTC().Format("2006-01-02"), Command: o.command(),
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
