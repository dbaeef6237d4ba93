//go:build linux

// Package chaos keeps some thousand tabs on a whole Tidings while its parts are restarted, killed, frozen, cut off, and more, and
// compares every frame that a tab was given with what was published. What it found stands in integration/README.md.
package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/integration/house"
	"tidings/integration/machine"
)

var (
	asked    = flag.Bool("chaos", false, "run the suite: five minutes of all that the machine has")
	people   = flag.Int("chaos.users", 3000, "users, with three tabs each")
	perSec   = flag.Int("chaos.rate", 100, "events per second")
	lasts    = flag.Duration("chaos.for", 0, "after each fault once, go on with random ones until the suite has run for so long")
	seed     = flag.Uint64("chaos.seed", 0, "of what is random in events and tabs, and in the order of faults; 0: another each time")
	only     = flag.String("chaos.only", "", "only the faults whose names contain one of these words, separated by commas")
	proxies  = flag.Bool("chaos.proxies", false, "cut the gateway off with proxies, even where network namespaces are permitted")
	writeTo  = flag.Bool("chaos.write", false, "write the table to integration/README.md")
	programs *house.Programs
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	code := m.Run()
	if programs != nil {
		programs.Remove()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// bound is how long each fault once may take, all together.
const bound = 6 * time.Minute

func TestChaos(t *testing.T) {
	switch {
	case !*asked:
		t.Skip("it takes the whole machine for five minutes; ask for it with -chaos")
	case raceEnabled:
		t.Skip("the race detector takes 8,128 goroutines, and there are more tabs: run it without")
	}
	where := machine.This(t.Context(), command())
	began := time.Now()
	var err error
	if programs, err = house.Build(); err != nil {
		t.Fatal(err)
	}
	if *seed == 0 {
		*seed = uint64(began.UnixNano())
	}
	t.Logf("seed %d", *seed)
	s := newSuite(t, rand.New(rand.NewPCG(*seed, 0)))
	ctx, cancel := context.WithTimeout(t.Context(), max(bound, *lasts+2*time.Minute)-time.Since(began))
	defer cancel()
	s.live(ctx, func() {
		for _, f := range faults {
			if wanted(f.name) {
				s.play(ctx, f)
			}
		}
		for time.Since(began) < *lasts && !t.Failed() {
			if f := faults[s.random.IntN(len(faults))]; wanted(f.name) {
				s.play(ctx, f)
			}
		}
	})
	text := s.table(where, time.Since(began))
	t.Logf("\n%s", text)
	if *writeTo && !t.Failed() {
		if err := writeTable("../README.md", text); err != nil {
			t.Error(err)
		}
	}
}

func wanted(name string) bool {
	if *only == "" {
		return true
	}
	for _, word := range strings.Split(*only, ",") {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// command is what this run can be repeated with.
func command() string {
	text := "go test -count=1 -v -run TestChaos -timeout 10m ./integration/chaos -chaos"
	flag.Visit(func(f *flag.Flag) {
		if strings.HasPrefix(f.Name, "chaos.") && f.Name != "chaos.write" {
			text += fmt.Sprintf(" -%s=%v", f.Name, f.Value)
		}
	})
	return text
}
