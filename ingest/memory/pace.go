package memory

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A collection costs those who wait for a delivery 10 to 30 ms on two cores, since the collector takes a quarter of them and whatever is idle. With the runtime's
// own pace, which is as much garbage as the heap that lives, a young process that stores 5,000 events a second collects every
// 300 ms: that was the p99 of its latency.
const (
	// collectEvery is how far apart collections should be.
	collectEvery = 5 * time.Second
	// garbageAtMost may wait for one, where nothing else bounds the memory.
	garbageAtMost = 256 << 20
	// calmAfter is how long the process must have been slower until it is believed.
	calmAfter = 3 * time.Second

	lookEvery     = 250 * time.Millisecond
	runtimesOwn   = 100 // GOGC's default
	smallestLive  = 4 << 20
	worthAChange  = 8 // a part of the percentage: each change stops the world
	worthCleaning = 32 << 20
)

// Pace lets garbage wait while the process makes much of it, so that collections are 5 s apart, as far as 256 MiB of it and half of
// what is free below GOMEMLIMIT allow; at rest the heap is as small as the runtime's own pace keeps it. It returns when ctx ends, or at once where the
// operator has set GOGC.
func Pace(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	p := pace{percent: runtimesOwn}
	defer p.set(runtimesOwn)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			h := readHeap()
			before := p.percent
			if p.set(p.next(now, h)); p.percent < before && h.used > worthCleaning+2*h.live {
				runtime.GC() // who rests does not get to it by himself
			}
		}
	}
}

// heap is what the runtime says of it.
type heap struct {
	made  uint64 // bytes allocated since the process began
	live  uint64 // bytes that the last collection found in use
	used  uint64 // bytes in use now, garbage included
	limit int64  // GOMEMLIMIT; math.MaxInt64: none
}

func readHeap() heap {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), debug.SetMemoryLimit(-1)}
}

type pace struct {
	at      time.Time // of the last look
	made    uint64    // then
	fastest float64   // bytes a second, lately
	since   time.Time // when it was measured
	percent int       // in force
}

// next is the percentage that the heap asks for now.
func (p *pace) next(now time.Time, h heap) int {
	if !p.at.IsZero() && now.After(p.at) {
		rate := float64(h.made-p.made) / now.Sub(p.at).Seconds()
		if rate >= p.fastest || now.Sub(p.since) >= calmAfter {
			p.fastest, p.since = rate, now
		}
	}
	p.at, p.made = now, h.made
	live := float64(max(h.live, smallestLive))
	garbage := min(p.fastest*collectEvery.Seconds(), garbageAtMost)
	if h.limit != math.MaxInt64 {
		garbage = min(garbage, (float64(h.limit)-live)/2)
	}
	return max(runtimesOwn, int(100*garbage/live))
}

// set changes the percentage where that is worth it.
func (p *pace) set(percent int) {
	if most := p.percent / worthAChange; percent > p.percent+most || percent < p.percent-most || percent == runtimesOwn && p.percent != runtimesOwn {
		debug.SetGCPercent(percent)
		p.percent = percent
	}
}
