//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// memory is what a server's processes with tabs hold, in bytes.
type memory struct {
	Resident int64 // as the kernel counts it
	Live     int64 // Go's heap behind a collection, and stacks; 0 where the server does not say
	Kernel   int64 // the kernel's, for all processes of the run
}

// memoryOf takes the memory of the server's processes with tabs after a rest and two collections: the first leaves what sync.Pool
// still holds.
func memoryOf(ctx context.Context, s *server, rest time.Duration) (m memory, err error) {
	if err := pause(ctx, rest/2); err != nil {
		return m, err
	}
	for range 2 {
		m.Live = 0
		for _, admin := range s.admins {
			n, err := live(ctx, admin)
			if err != nil {
				return m, err
			}
			m.Live += n
		}
	}
	if err := pause(ctx, rest/2); err != nil { // the runtime gives back what it does not need, in the background
		return m, err
	}
	for _, p := range s.procs[:len(s.targets)] {
		n, err := p.resident()
		if err != nil {
			return m, err
		}
		m.Resident += n
	}
	m.Kernel, err = kernelMemory()
	return m, err
}

var memStats = regexp.MustCompile(`(?m)^# (HeapAlloc|Stack) = (\d+)`)

// live asks pprof for a collection, and for runtime.MemStats behind it.
func live(ctx context.Context, admin string) (bytesLive int64, err error) {
	var text bytes.Buffer
	if err := get(ctx, "http://"+admin+"/debug/pprof/heap?gc=1&debug=1", &text); err != nil {
		return 0, err
	}
	found := memStats.FindAllSubmatch(text.Bytes(), -1)
	if len(found) != 2 {
		return 0, fmt.Errorf("pprof of %s lists %d of HeapAlloc and Stack, want both", admin, len(found))
	}
	for _, f := range found {
		n, err := strconv.ParseInt(string(f[2]), 10, 64)
		if err != nil {
			return 0, err
		}
		bytesLive += n
	}
	return bytesLive, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// scrape is the value of a metric without labels, as the process tells Prometheus.
func scrape(ctx context.Context, admin, name string) (float64, error) {
	var text bytes.Buffer
	if err := get(ctx, "http://"+admin+"/metrics", &text); err != nil {
		return 0, err
	}
	for line := range strings.Lines(text.String()) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", admin, name)
}
