package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// Fleet is the parent's side: several processes that hold the tabs. A process may have 20,000 open files on many machines, so
// more tabs than that need more processes; and with one alone its single thread would be what is measured.
//
// Its methods belong to one goroutine.
type Fleet struct {
	cfg   Config
	procs []*process
}

type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// poll is how often Await looks; arrivals are timed by the processes, so it is not in any result.
const poll = 10 * time.Millisecond

// Start starts n processes of command, which must call Serve on their standard input and output. They end with ctx.
func Start(ctx context.Context, cfg Config, n int, command func(context.Context) *exec.Cmd) (*Fleet, error) {
	cfg.Of = n
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg}
	for i := range n {
		p, err := start(command(ctx))
		if err == nil {
			f.procs = append(f.procs, p)
			cfg.Index = i
			err = json.NewEncoder(p.in).Encode(cfg)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start a load generator: %w", err), f.Close())
		}
	}
	return f, nil
}

// StartReader starts one process of command, which must call Serve of a Reader: a Fleet that has
// nothing to open or to drop.
func StartReader(ctx context.Context, command func(context.Context) *exec.Cmd) (*Fleet, error) {
	p, err := start(command(ctx))
	if err != nil {
		return nil, fmt.Errorf("start a reader: %w", err)
	}
	return &Fleet{procs: []*process{p}}, nil
}

func start(cmd *exec.Cmd) (*process, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, in: in, out: json.NewDecoder(out)}, nil
}

// Open opens tabs until the Fleet holds that many in all, in order of their users.
func (f *Fleet) Open(tabs int, within time.Duration) (Report, error) {
	return f.ask(func(i int) command {
		return command{Do: "open", Tabs: (tabs - i + len(f.procs) - 1) / len(f.procs), Within: within}
	})
}

// Return opens tabs as Open does, as fast as the machine does it: first those that were dropped, with their cursors. Each process
// has atOnce handshakes under way.
func (f *Fleet) Return(tabs, atOnce int, within time.Duration) (Report, error) {
	return f.ask(func(i int) command {
		return command{Do: "open", Tabs: (tabs - i + len(f.procs) - 1) / len(f.procs), AtOnce: atOnce, Within: within}
	})
}

// Drop closes every tab at once, by reset.
func (f *Fleet) Drop() error {
	_, err := f.ask(func(int) command { return command{Do: "drop"} })
	return err
}

// Reset forgets what was delivered.
func (f *Fleet) Reset() error {
	_, err := f.ask(func(int) command { return command{Do: "reset"} })
	return err
}

// Await waits for a number of deliveries, at most for the given time, and reports what was there by then.
func (f *Fleet) Await(deliveries int64, within time.Duration) (Report, error) {
	end := time.Now().Add(within)
	for time.Now().Before(end) {
		r, err := f.ask(func(int) command { return command{Do: "report", Light: true} })
		if err != nil {
			return r, err
		}
		if r.Deliveries >= deliveries {
			break
		}
		time.Sleep(poll)
	}
	return f.ask(func(int) command { return command{Do: "report"} })
}

// ask gives every process a command, and puts their answers together. A tab that failed is an error.
func (f *Fleet) ask(c func(i int) command) (Report, error) {
	answers, errs := make([]Report, len(f.procs)), make([]error, len(f.procs))
	var wg sync.WaitGroup
	for i, p := range f.procs {
		wg.Go(func() {
			if errs[i] = json.NewEncoder(p.in).Encode(c(i)); errs[i] == nil {
				errs[i] = p.out.Decode(&answers[i])
			}
		})
	}
	wg.Wait()
	var sum Report
	for _, r := range answers {
		sum.merge(r)
	}
	if err := errors.Join(errs...); err != nil {
		return sum, fmt.Errorf("a load generator has ended: %w", err)
	}
	return sum, sum.err()
}

// PIDs are the numbers of the processes.
func (f *Fleet) PIDs() []int {
	var ids []int
	for _, p := range f.procs {
		ids = append(ids, p.cmd.Process.Pid)
	}
	return ids
}

// Close closes every tab and ends the processes.
func (f *Fleet) Close() error {
	var errs []error
	for _, p := range f.procs {
		p.in.Close() // which ends Serve
	}
	for _, p := range f.procs {
		errs = append(errs, p.cmd.Wait())
	}
	f.procs = nil
	return errors.Join(errs...)
}
