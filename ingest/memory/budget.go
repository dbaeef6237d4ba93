// Package memory keeps a process within the memory that its container, or its operator, gives it.
//
// What counts against a container is more than Go's heap: of an idle browser connection nine tenths are the kernel's, about 5 kB for its socket. So the
// runtime's limit (GOMEMLIMIT) is what the others leave, and moves with them; and whoever takes in work asks whether there is room.
package memory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Shares of the limit. Between the two that say whether there is room, the answer stays what it was.
const (
	fullAt    = 0.92
	roomAgain = 0.88
	goAtMost  = 0.90 // the runtime's limit when nobody else uses anything
	goAtLeast = 0.25 // and however much others use: a limit that cannot be met would only burn CPU
)

// Budget is the memory that the process may use. Its methods are safe for concurrent use.
type Budget struct {
	// Fixed at creation.
	limit  uint64
	group  group // where the usage is read; nil: the runtime's own is all that is known
	adjust bool  // the runtime's limit is ours to set
	log    *slog.Logger
	used   prometheus.Gauge
	room   prometheus.Gauge

	full atomic.Bool
	told atomic.Bool // that the usage cannot be read
}

// New finds the limit: setting in bytes, or where that is 0 the container's. It is nil, and no error, where there is neither. The runtime's limit is
// left alone where GOMEMLIMIT is set.
func New(setting int64, log *slog.Logger, reg prometheus.Registerer) (*Budget, error) {
	return newBudget(os.DirFS("/"), setting, log, reg)
}

func newBudget(root fs.FS, setting int64, log *slog.Logger, reg prometheus.Registerer) (*Budget, error) {
	g, limit, err := findGroup(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the container's memory limit: %w; set TIDINGS_MEMORY_LIMIT, or -1 for none", err)
	}
	if setting > 0 {
		limit = uint64(setting)
	}
	if setting < 0 || limit == 0 {
		return nil, nil
	}
	f := promauto.With(reg)
	b := &Budget{
		limit: limit, group: g, adjust: os.Getenv("GOMEMLIMIT") == "", log: log,
		used: f.NewGauge(prometheus.GaugeOpts{Name: "tidings_memory_used_bytes", Help: "Memory that counts against the limit, the kernel's for sockets included, without what it can drop."}),
		room: f.NewGauge(prometheus.GaugeOpts{Name: "tidings_memory_full", Help: "1 while new browsers are turned away for want of memory."}),
	}
	f.NewGauge(prometheus.GaugeOpts{Name: "tidings_memory_limit_bytes", Help: "The memory that the process may use."}).Set(float64(limit))
	b.look()
	log.Info("memory is limited", "bytes", limit, "go_bytes", debug.SetMemoryLimit(-1))
	return b, nil
}

// Run looks at the usage once a second until the context ends.
func (b *Budget) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.look()
		}
	}
}

// Full tells whether the memory is used up. A nil Budget is never.
func (b *Budget) Full() bool { return b != nil && b.full.Load() }

func (b *Budget) look() {
	own := goBytes()
	used := own
	if b.group != nil {
		u, err := b.group.used()
		switch {
		case err == nil:
			used = u
		case !b.told.Swap(true):
			b.log.Warn("cannot read the memory that is used, and go by the Go runtime's own", "error", err)
		}
	}
	b.used.Set(float64(used))
	switch share := float64(used) / float64(b.limit); {
	case share >= fullAt && !b.full.Swap(true):
		b.room.Set(1)
		b.log.Warn("the memory is used up: new browsers are turned away", "used", used, "limit", b.limit)
	case share < roomAgain && b.full.Swap(false):
		b.room.Set(0)
		b.log.Info("there is memory again: new browsers are taken", "used", used, "limit", b.limit)
	}
	if b.adjust {
		setGoLimit(goLimit(b.limit, used-min(used, own)))
	}
}

// goLimit is what the runtime may use where others use so much.
func goLimit(limit, others uint64) int64 {
	share := float64(limit)*goAtMost - float64(others)
	return int64(math.Max(share, float64(limit)*goAtLeast))
}

// setGoLimit leaves small changes alone: each one stops the world.
func setGoLimit(n int64) {
	if now := debug.SetMemoryLimit(-1); n < now-now/64 || n > now+now/64 {
		debug.SetMemoryLimit(n)
	}
}

// goBytes is what the runtime has of the system's memory, as its limit counts it.
func goBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

var errNoNumber = errors.New("not a number")
