package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// BenchmarkTLS measures what TLS in the process costs a gateway that does nothing else, beside the same without. The figures in
// k8s/security.md are its: go test -run '^$' -bench TLS -benchtime 1x -count 3 ./integration
func BenchmarkTLS(b *testing.B) {
	ca := house.NewAuthority(b)
	cert, key := ca.Issue(b, "server", time.Now().Add(time.Hour))
	trust := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost", MinVersion: tls.VersionTLS13}
	resuming := trust.Clone()
	resuming.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for _, c := range []struct {
		name     string
		settings house.Settings
		client   *tls.Config
	}{
		{"plain", nil, nil},
		{"tls", house.Settings{"TLS_CERT": cert, "TLS_KEY": key}, trust},
		{"tls-resumed", house.Settings{"TLS_CERT": cert, "TLS_KEY": key}, resuming},
	} {
		b.Run(c.name, func(b *testing.B) { benchTLS(b, c.settings, c.client) })
	}
}

const (
	benchTabs   = 2000
	benchEvents = 60
)

func benchTLS(b *testing.B, settings house.Settings, client *tls.Config) {
	node := programs.Servers(b, 1)[0]
	rules := rulesFile(b, "rules:\n  - name: everyone\n    subject: events.>\n    all: true\n")
	programs.Start(b, "fanout", house.Settings{"ROLES": "fanout", "NATS_URL": node.URL, "RULES": rules}).Ready()
	gate := programs.Start(b, "gateway", house.Settings{"ROLES": "gateway", "NATS_URL": node.URL, "HEARTBEAT": "10m", "CONNECTIONS_PER_USER": "100000"}.With(settings)).Ready()
	js := house.Connect(b, node.URL)
	scheme := "ws://"
	if client != nil {
		scheme = "wss://"
	}
	connect := func() *wsclient.Tab {
		ctx, cancel := context.WithTimeout(context.Background(), house.Patience)
		defer cancel()
		tab, err := wsclient.Dial(ctx, scheme+gate.Address("browsers")+"/ws?user=alice", wsclient.Options{Protocols: []string{"tidings.v1"}, TLS: client})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(tab.Hangup)
		if _, err := tab.Next(house.Patience); err != nil {
			b.Fatal(err)
		}
		return tab
	}
	publish := func(i int) {
		if _, err := js.Publish(context.Background(), "events.a.b.c", fmt.Appendf(nil, `{"n":%d,"pad":"%0256d"}`, i, i), jetstream.WithRetryAttempts(9)); err != nil {
			b.Fatal(err)
		}
	}
	for range 50 { // what the first ones allocate is not theirs alone
		connect().Hangup()
	}
	for b.Loop() {
		memory := resident(b, gate)
		cpu := gate.Metric("process_cpu_seconds_total")
		var tabs []*wsclient.Tab
		for range benchTabs {
			tabs = append(tabs, connect())
		}
		b.ReportMetric((gate.Metric("process_cpu_seconds_total")-cpu)/benchTabs*1e6, "µs/handshake")
		b.ReportMetric((resident(b, gate)-memory)/benchTabs, "B/idle")
		b.ReportMetric(gate.Metric("go_memstats_heap_inuse_bytes"), "B-heap")

		cpu = gate.Metric("process_cpu_seconds_total")
		var all sync.WaitGroup
		for _, tab := range tabs {
			all.Go(func() {
				for n := 0; n < benchEvents; {
					f, err := tab.Next(house.Patience)
					if err != nil {
						b.Error(err)
						return
					}
					if _, ok := f.(wsclient.Notification); ok {
						n++
					}
				}
			})
		}
		for i := range benchEvents {
			publish(i)
		}
		all.Wait()
		b.ReportMetric((gate.Metric("process_cpu_seconds_total")-cpu)/benchTabs/benchEvents*1e6, "µs/delivery")
		for _, tab := range tabs {
			tab.Hangup()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// resident is the gateway's memory behind a collection.
func resident(b *testing.B, d *house.Tidings) float64 {
	for range 2 {
		if _, _, err := d.Get("/debug/pprof/heap?gc=1&debug=1"); err != nil {
			b.Fatal(err)
		}
	}
	return d.Metric("process_resident_memory_bytes")
}
