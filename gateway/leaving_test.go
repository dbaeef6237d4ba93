package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestLeavingIsSpread: with a window, browsers leave one after the other, and who comes meanwhile is sent elsewhere at once.
func TestLeavingIsSpread(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.DrainWindow = 3 * time.Second })
	const n = 200
	times := make(chan time.Time, n)
	for i := range n {
		b, _ := g.tab(fmt.Sprint("user", i), "")
		go func() {
			if m := b.said(); m.Type != "draining" || *m.RetryAfterMs >= int(returnSpread.Milliseconds()) {
				t.Errorf("got %+v, want draining within a second", m)
			}
			times <- time.Now()
			b.wantClosed(closeDraining)
		}()
	}
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- g.stop() }()
	var all []time.Duration
	for len(all) < n/2 {
		all = append(all, (<-times).Sub(began))
	}
	if g.Ready() == nil {
		t.Error("a gateway that leaves is ready")
	}
	late := g.open("/ws?user=late", ws.Dialer{Protocols: []string{"tidings.v1"}})
	if m := late.next(); m.Type != "draining" {
		t.Errorf("one that came late got %+v", m)
	}
	late.wantClosed(closeDraining)
	for len(all) < n {
		all = append(all, (<-times).Sub(began))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// With two loops of 100 sessions each, the window is 2 s.
	if half, last := all[n/2], all[n-1]; half < 500*time.Millisecond || last < 1500*time.Millisecond {
		t.Errorf("half had left after %v, the last after %v: want them spread over 2 s", half, last)
	}
	if got := g.metric("tidings_sessions"); got != 0 {
		t.Errorf("%v sessions are left", got)
	}
}

// TestDrainDelay: between the signal and the first browser that is sent away, the gateway serves as before but is not ready.
func TestDrainDelay(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.DrainDelay = 2 * time.Second })
	a, _ := g.tab("alice", "")
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- g.stop() }()
	eventually(t, "it is not ready", func() error {
		if g.Ready() == nil {
			return fmt.Errorf("ready")
		}
		return nil
	})
	b, _ := g.tab("bob", "") // the endpoint is still known to some
	h.say("alice", 1)
	h.say("bob", 2)
	a.expect(1, 1)
	b.expect(2, 2)
	for _, tab := range []*tab{a, b} {
		if m := tab.said(); m.Type != "draining" {
			t.Errorf("got %+v, want draining", m)
		}
		tab.wantClosed(closeDraining)
	}
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("the first was sent away after %v", d)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestDrainSettings: numbers that do not fit together are told at start.
func TestDrainSettings(t *testing.T) {
	for name, c := range map[string]struct {
		delay, window, grace time.Duration
		ok                   bool
	}{
		"they fit":            {10 * time.Second, 30 * time.Second, 50 * time.Second, true},
		"one second too long": {11 * time.Second, 30 * time.Second, 50 * time.Second, false},
		"none":                {0, 0, 10 * time.Second, true},
		"negative":            {-time.Second, 30 * time.Second, time.Minute, false},
	} {
		b := newBench(t, nil)
		cfg := b.gate.cfg
		cfg.DrainDelay, cfg.DrainWindow, cfg.GracePeriod = c.delay, c.window, c.grace
		if err := cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
