package memory

import (
	"context"
	"math"
	"runtime/metrics"
	"testing"
	"time"
)

const mib = 1 << 20

// TestPace: what the heap asks for, look after look.
func TestPace(t *testing.T) {
	type step struct {
		after time.Duration
		made  uint64 // MiB since the step before
		live  uint64 // MiB
		want  int
	}
	for name, c := range map[string]struct {
		limit int64
		steps []step
	}{
		"at rest the runtime's own": {math.MaxInt64, []step{{0, 0, 1, 100}, {time.Second, 0, 1, 100}, {time.Second, 1, 100, 100}}},
		"much garbage and a small heap": {math.MaxInt64, []step{
			{0, 0, 20, 100}, {time.Second / 4, 5, 20, 500}, // 20 MiB/s: 100 MiB in 5 s
			{time.Second / 4, 5, 50, 200}, // the same garbage above a heap that grew
		}},
		"never more than may wait":                                     {math.MaxInt64, []step{{0, 0, 64, 100}, {time.Second, 1000, 64, 400}}},
		"a large heap is not collected more often than by the runtime": {math.MaxInt64, []step{{0, 0, 512, 100}, {time.Second, 1000, 512, 100}}},
		"an empty heap":                 {math.MaxInt64, []step{{0, 0, 0, 100}, {time.Second, 4, 0, 500}}}, // 20 MiB above the 4 that count at least
		"half of what the limit leaves": {100 * mib, []step{{0, 0, 20, 100}, {time.Second, 1000, 20, 200}}},
		"over the limit":                {10 * mib, []step{{0, 0, 20, 100}, {time.Second, 1000, 20, 100}}},
		"a pause is no rest, and then it is": {math.MaxInt64, []step{
			{0, 0, 20, 100}, {time.Second, 20, 20, 500}, {time.Second, 0, 20, 500}, {time.Second, 0, 20, 500}, {time.Second, 0, 20, 100},
		}},
		"slower, after a while": {math.MaxInt64, []step{
			{0, 0, 20, 100}, {time.Second, 20, 20, 500}, {2 * time.Second, 20, 20, 500}, {time.Second, 10, 20, 250},
		}},
		"a clock that stands still": {math.MaxInt64, []step{{0, 0, 20, 100}, {0, 100, 20, 100}, {time.Second, 8, 20, 200}}},
	} {
		p, now, made := pace{percent: runtimesOwn}, time.Unix(0, 0), uint64(0)
		for i, s := range c.steps {
			now, made = now.Add(s.after), made+s.made*mib
			if got := p.next(now, heap{made: made, live: s.live * mib, limit: c.limit}); got != s.want {
				t.Errorf("%s, step %d: got %d %%, want %d", name, i, got, s.want)
			}
		}
	}
}

func percentInForce() uint64 {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

var garbage []byte

// until makes garbage, or none, until the percentage is as wanted.
func until(t *testing.T, bytes int, as func(uint64) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !as(percentInForce()); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("the percentage is %d", percentInForce())
		}
		if bytes > 0 {
			garbage = make([]byte, bytes)
		}
	}
}

// TestPaceOfThisProcess: garbage may wait while there is much of it, not when it is over, and not behind the end.
func TestPaceOfThisProcess(t *testing.T) {
	t.Setenv("GOGC", "")
	for _, calm := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { Pace(ctx); close(done) }()
		until(t, mib, func(p uint64) bool { return p >= 400 })
		if calm {
			until(t, 0, func(p uint64) bool { return p == 100 })
			if h := readHeap(); h.used > 2*worthCleaning {
				t.Errorf("at rest %d bytes are in use, and %d of them live", h.used, h.live)
			}
		}
		cancel()
		<-done
		if p := percentInForce(); p != 100 {
			t.Errorf("behind the end the percentage is %d, want 100", p)
		}
	}
}

// TestPaceIsTheOperators: who sets GOGC gets it.
func TestPaceIsTheOperators(t *testing.T) {
	t.Setenv("GOGC", "100")
	Pace(context.Background()) // returns
}
