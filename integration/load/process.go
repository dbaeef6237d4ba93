//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a server that says in its log, as JSON on standard error, where it listens.
type process struct {
	name string
	cmd  *exec.Cmd
	read sync.WaitGroup

	// Guarded by mu.
	mu        sync.Mutex
	addresses map[string]string // by what listens there: "browsers", "admin", "nats"
	tail      []string          // the last lines of its log, for an error
	ended     bool

	changed chan struct{}
}

const (
	startWithin = 20 * time.Second
	stopWithin  = 5 * time.Second
)

var errEnded = errors.New("it has ended")

// startProcess starts cmd and waits until it listens for each of the given.
func startProcess(ctx context.Context, name string, cmd *exec.Cmd, listens ...string) (*process, error) {
	p := &process{name: name, cmd: cmd, addresses: map[string]string{}, changed: make(chan struct{}, 1)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = nil
	lines, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.read.Go(func() { p.follow(lines) })
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for !p.listening(listens) {
		select {
		case <-p.changed:
			if p.over() {
				err = errEnded
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s did not start: %w; its log ends with:\n%s", name, err, p.log()), p.stop())
		}
	}
	return p, nil
}

func (p *process) follow(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct{ Msg, What, Address string }
		json.Unmarshal(lines.Bytes(), &l) // a line that is not JSON says nothing of addresses
		p.mu.Lock()
		if p.tail = append(p.tail, lines.Text()); len(p.tail) > 20 {
			p.tail = p.tail[1:]
		}
		if l.Msg == "listening" {
			p.addresses[l.What] = l.Address
		}
		p.mu.Unlock()
		p.change()
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.change()
}

func (p *process) change() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *process) listening(what []string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range what {
		if p.addresses[w] == "" {
			return false
		}
	}
	return true
}

func (p *process) address(what string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addresses[what]
}

func (p *process) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// stop asks the process to end, and kills it when it does not. Its exit code says nothing that matters here.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopWithin, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	p.read.Wait() // until its standard error is closed
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	return nil
}

// cpu is the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	t, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", p.name, err)
	}
	return t, nil
}

// cpuOf is the processor time of a process, of all its threads, to the nanosecond: /proc/PID/stat has only 10 ms.
func cpuOf(pid int) (time.Duration, error) {
	// clock_getcpuclockid(3): the complement of the process number, and 2 for the scheduler's own count.
	clock := int32(^uint32(pid)<<3 | 2)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// resident is the process's memory as the kernel counts it, in bytes.
func (p *process) resident() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	_, rest, _ := bytes.Cut(b, []byte("\nVmRSS:"))
	var kib int64
	if _, err := fmt.Sscanf(string(rest), "%d kB", &kib); err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	return kib << 10, nil
}
