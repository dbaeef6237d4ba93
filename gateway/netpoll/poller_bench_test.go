//go:build unix

package netpoll

import (
	"testing"
	"time"
)

// BenchmarkWake: one goroutine wakes the loop, and is told by it: what a record costs on its way from the feed to a loop that sleeps.
func BenchmarkWake(b *testing.B) {
	p, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	p.SetDeadline(time.Now().Add(time.Hour))
	woken, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		evs := make([]Event, 0, 8)
		for range b.N {
			evs, _ = p.Wait(evs)
			woken <- struct{}{}
		}
	}()
	for range b.N {
		p.Wake()
		<-woken
	}
	<-over
}
