//go:build linux

package badpeers

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Serve is the life of the process: it says so when every peer is a nuisance, and ends when in does or its time is over, with
// a Report on out.
func Serve(in io.Reader, out io.Writer) error {
	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	var cfg Config
	if err := lines.Decode(&cfg); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	leave, closed := make(chan struct{}), make(chan struct{})
	go func() {
		io.Copy(io.Discard, in) // until the parent closes its end, or dies
		close(closed)
	}()
	var began, over sync.WaitGroup
	var all []*peer
	for i, request := range cfg.Requests {
		began.Add(1)
		p := &peer{
			number: i, kind: kindOf(i, len(cfg.Requests)), address: cfg.Address, request: request,
			leave: leave, began: sync.OnceFunc(began.Done),
		}
		all = append(all, p)
		over.Go(p.run)
	}
	began.Wait()
	err := answers.Encode(Report{})
	limit := time.NewTimer(cfg.Limit)
	defer limit.Stop()
	select {
	case <-closed:
	case <-limit.C:
		err = fmt.Errorf("the bad peers were not told to leave within %v", cfg.Limit)
	}
	close(leave)
	over.Wait()
	if err != nil {
		return err
	}
	return answers.Encode(reportOf(all))
}

func reportOf(all []*peer) *Report {
	r := &Report{Kinds: map[string]Tally{}}
	for _, p := range all {
		t := r.Kinds[p.kind.name]
		t.Made += p.made
		t.Ended += p.ended
		t.Failed += len(p.errs)
		r.Kinds[p.kind.name] = t
		if p.full {
			r.Full++
		}
		if len(p.errs) > 0 && r.Error == "" {
			r.Error = p.errs[0].Error()
		}
	}
	return r
}
