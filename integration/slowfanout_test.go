package integration

import (
	"fmt"
	"strings"
	"testing"

	"tidings/integration/house"
)

// TestFanoutSlowerThanEvents: events come faster than a costly rule can judge them. What waits, waits in NATS, where it can be seen; the process holds
// a bounded part of it, stays ready, and in the end nothing is missing.
func TestFanoutSlowerThanEvents(t *testing.T) {
	const events = 6000
	rules := rulesFile(t, `
rules:
  - name: costly
    subject: events.numbers.*.counted
    when: event.data.l.all(x, event.data.l.exists(y, y == x))
    users: event.data.userId
    data: '{"n": event.data.n}'
`)
	node := programs.Servers(t, 1)[0]
	d := programs.Start(t, "fanout", house.Settings{
		"NATS_URL": node.URL, "ROLES": "fanout", "RULES": rules,
		"MEMORY_LIMIT": fmt.Sprint(256 << 20), // without one, as much garbage would be let wait
	}).Ready()
	js := house.Connect(t, node.URL)
	before := d.Metric("go_memstats_heap_inuse_bytes")
	var list []string
	length := 120
	if house.Race {
		length = 40 // the same time for each event, near enough
	}
	for i := range length {
		list = append(list, fmt.Sprint(i))
	}
	for i := range events {
		body := fmt.Appendf(nil, `{"userId":"u%d","n":%d,"l":[%s],"pad":"%4096s"}`, i%200, i, strings.Join(list, ","), "")
		if _, err := js.PublishAsync(fmt.Sprintf("events.numbers.%d.counted", i%200), body); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 {
			<-js.PublishAsyncComplete()
		}
	}
	var waiting float64
	house.Eventually(t, house.Patience, "the lag is visible", func() error {
		if waiting = max(waiting, d.Metric("tidings_events_waiting")); waiting < 100 {
			return fmt.Errorf("at most %v events wait", waiting)
		}
		return nil
	})
	most, heap := 0.0, 0.0
	house.Eventually(t, 2*house.Patience, "all is handled", func() error {
		most = max(most, d.Metric("tidings_events_in_hand"))
		heap = max(heap, d.Metric("go_memstats_heap_inuse_bytes"))
		if err := d.IsReady(); err != nil {
			t.Errorf("slow, and for that not ready: %v", err)
		}
		if n := logged(t, js); n < events {
			return fmt.Errorf("%d of %d", n, events)
		}
		return nil
	})
	t.Logf("%v waited, %v were in hand at most, the heap grew from %.1f to %.1f MiB", waiting, most, before/(1<<20), heap/(1<<20))
	if most > 17*256 {
		t.Errorf("%v events were in hand, want 256 of each of 17 consumers at most", most)
	}
	if grown := heap - before; grown > 256<<20 {
		t.Errorf("the heap grew by %.0f bytes", grown)
	}
	checkNumbered(t, js, events)
}
