//go:build linux

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// notes count what the tabs met with, and keep the first faults.
type notes struct {
	mu     sync.Mutex // guards the following
	counts map[string]int
	faults []string
}

const keptFaults = 30

func newNotes() *notes { return &notes{counts: map[string]int{}} }

func (n *notes) add(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[what]++
}

func (n *notes) fault(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.faults) < keptFaults {
		n.faults = append(n.faults, time.Now().Format("05.000 ")+text)
	}
}

// took gives what was counted since the last time, for people.
func (n *notes) took() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, what := range slices.Sorted(maps.Keys(n.counts)) {
		list = append(list, fmt.Sprintf("%s: %d", what, n.counts[what]))
	}
	n.counts = map[string]int{}
	return strings.Join(list, ", ")
}

// slowest is the longest wait of a tab since it was last asked.
type slowest struct {
	mu    sync.Mutex // guards the following
	wait  time.Duration
	event *event
	tab   *tab
}

func (s *slowest) take(e *event, b *tab, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait > s.wait {
		s.wait, s.event, s.tab = wait, e, b
	}
}

func (s *slowest) took() (time.Duration, *event, *tab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.wait, s.event, s.tab = 0, nil, nil }()
	return s.wait, s.event, s.tab
}
