//go:build linux

package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tidings/integration/house"
)

// gate is one gateway as a load balancer knows it: its address stays when the process is another.
type gate struct {
	// Fixed at creation.
	index      int
	name       string
	address    string // for browsers
	admin      string
	programs   *house.Programs // perhaps in a network of its own
	settings   house.Settings
	handshakes *rates

	process  *house.Tidings // owned by the suite
	ready    atomic.Bool
	sessions atomic.Int64 // tabs that read and are welcomed here

	taken int // connections, begun ones too; guarded by the balancer's mu
}

// balancer sends each tab to the ready gateway with the fewest connections, and looks what is ready as Kubernetes does, but more often.
type balancer struct {
	gates []*gate

	mu sync.Mutex // guards taken of all gates
}

const (
	probeEvery   = 250 * time.Millisecond
	probePatient = time.Second
)

// probe looks at every gateway until ctx ends.
func (b *balancer) probe(ctx context.Context) {
	var all sync.WaitGroup
	client := &http.Client{Timeout: probePatient, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, g := range b.gates {
		all.Go(func() {
			for silent := 0; ctx.Err() == nil; pauseFor(ctx, probeEvery) {
				ready, answered := isReady(ctx, client, g.admin)
				if silent++; answered {
					silent = 0
				}
				if answered || silent > 1 { // one that is only busy stays
					g.ready.Store(ready)
				}
			}
		})
	}
	all.Wait()
}

// isReady asks the gateway. That nobody listens is an answer too.
func isReady(ctx context.Context, client *http.Client, admin string) (ready, answered bool) {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+admin+"/readyz", nil)
	if err != nil {
		return false, true
	}
	answer, err := client.Do(r)
	if err != nil {
		return false, errors.Is(err, syscall.ECONNREFUSED)
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK, true
}

// pick is where the next tab goes; nil if no gateway takes any. Who was not taken by one tries another.
func (b *balancer) pick(avoid *gate) *gate {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *gate
	for _, i := range rand.Perm(len(b.gates)) {
		g := b.gates[i]
		if g != avoid && g.ready.Load() && (best == nil || g.taken < best.taken) {
			best = g
		}
	}
	if best == nil && avoid != nil && avoid.ready.Load() {
		best = avoid
	}
	if best != nil {
		best.taken++
	}
	return best
}

// left tells that a connection has ended.
func (b *balancer) left(g *gate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g.taken--
}

// loads are the connections of each gateway.
func (b *balancer) loads() (list []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.gates {
		list = append(list, g.taken)
	}
	return list
}
