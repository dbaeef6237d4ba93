package house

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that was started. Its methods may be called from any goroutine.
type Process struct {
	Name string

	t        testing.TB
	cmd      *exec.Cmd
	out, err *output
	ended    chan struct{}
}

// shownLines of each process are in the log of a test that failed.
const shownLines = 25

// run starts a program. line is called with each line of its standard error.
func run(t testing.TB, name string, cmd *exec.Cmd, line func(string)) *Process {
	t.Helper()
	p := &Process{Name: name, t: t, cmd: cmd, out: &output{}, err: &output{line: line}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.err
	dieWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(p.clean)
	return p
}

// environment is ours without the settings of Tidings, and with the given ones.
func environment(settings ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TIDINGS_") {
			env = append(env, kv)
		}
	}
	return append(env, settings...)
}

func (p *Process) clean() {
	p.Kill()
	for _, sign := range append(p.out.signs(), p.err.signs()...) {
		p.t.Errorf("%s: %s", p.Name, sign)
	}
	if p.t.Failed() {
		p.t.Logf("%s (%v) wrote at last:\n%s%s", p.Name, p.cmd.ProcessState, p.err.end(shownLines), p.out.end(shownLines))
	}
}

// Signal sends a signal; a process that has ended takes it in silence.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v to %s: %v", s, p.Name, err)
	}
}

// Kill is kill -9, and waits for the end.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// WasKilled tells that the process has ended by kill -9 and not by itself before.
func (p *Process) WasKilled() bool {
	if !p.Ended() {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Ended tells that the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Exit waits for the process to end by itself and returns its exit code, -1 after a signal. The test fails when it does not end.
func (p *Process) Exit(patience time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s still runs after %v", p.Name, patience)
	}
	return p.Code()
}

// Code is the exit code of a process that has ended, -1 after a signal.
func (p *Process) Code() int { return p.cmd.ProcessState.ExitCode() }

// Terminate is SIGTERM and Exit.
func (p *Process) Terminate(patience time.Duration) int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Exit(patience)
}

// Stdout and Stderr are what the process has written so far, or the end of it if that is long.
func (p *Process) Stdout() string { return p.out.text() }
func (p *Process) Stderr() string { return p.err.text() }
