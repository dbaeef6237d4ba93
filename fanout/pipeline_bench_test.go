package fanout

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/ingest"
	"tidings/ingest/natsd"
)

// pipeline is the whole way of an event to a gateway, durable and in one process: the product's own NATS with its streams on disk,
// a Source with a Fan behind it, a publisher, and a reader of the log as a gateway has it, each on a connection of its own.
type pipeline struct {
	b       *testing.B
	js      jetstream.JetStream // the publisher's
	users   int
	random  *rand.Rand
	visible chan time.Duration // from publish to the reader, one for each record
}

// Rules of the benchmarks; none is the default audience.
const (
	noRules  = ""
	oneRule  = "rules:\n  - name: load\n    subject: events.load.>\n    users: event.data.userId\n"
	whenRule = "rules:\n  - name: load\n    subject: events.load.>\n    when: has(event.data.userId)\n    users: event.data.userId\n    data: '{\"at\": event.data.at, \"text\": event.data.text}'\n"
)

func startPipeline(b *testing.B, rulesFile string) *pipeline {
	b.Helper()
	srv, err := natsd.Start(natsd.Config{NATSStore: b.TempDir(), NATSListen: "127.0.0.1:0"}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Shutdown)
	connect := func(name string) (*nats.Conn, jetstream.JetStream) {
		closed := make(chan struct{})
		nc, err := srv.Connect(name, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		if err != nil {
			b.Fatal(err)
		}
		js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			js.CleanupPublisher()
			nc.Close()
			<-closed
		})
		return nc, js
	}
	p := &pipeline{b: b, users: 15_000, random: rand.New(rand.NewPCG(1, 2)), visible: make(chan time.Duration, 1<<16)}
	_, p.js = connect("publisher")
	nc, js := connect("tidings")
	p.run(nc, js, rulesFile)
	_, reader := connect("reader")
	p.follow(reader)
	return p
}

// run starts what main starts.
func (p *pipeline) run(nc *nats.Conn, js jetstream.JetStream, rulesFile string) {
	p.b.Helper()
	pub := NewPublisher(js, logConfig(1), quiet(), nil)
	if err := EnsureLog(p.b.Context(), js, logConfig(1), false); err != nil {
		p.b.Fatal(err)
	}
	fan := New(p.rules(rulesFile), pub, quiet(), nil)
	source, err := ingest.NewSource(nc, ingest.Config{EventsMaxAge: time.Hour, Duplicates: 2 * time.Minute, DLQMaxAge: time.Hour}, quiet(), nil)
	if err != nil {
		p.b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- source.Run(ctx, fan.Handle) }()
	p.b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			p.b.Error(err)
		}
	})
	for end := time.Now().Add(20 * time.Second); source.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.b.Fatal(source.Ready())
		}
	}
}

func (p *pipeline) rules(file string) *Rules {
	if file == noRules {
		return nil
	}
	path := filepath.Join(p.b.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		p.b.Fatal(err)
	}
	rules, err := LoadRules(path)
	if err != nil {
		p.b.Fatal(err)
	}
	return rules
}

// follow reads the log and takes the time of each record.
func (p *pipeline) follow(js jetstream.JetStream) {
	p.b.Helper()
	c, err := js.CreateConsumer(p.b.Context(), wire.Stream(0), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1})
	if err != nil {
		p.b.Fatal(err)
	}
	cc, err := c.Consume(func(m jetstream.Msg) {
		now := time.Now()
		v, err := wire.Parse(m.Data())
		if err != nil {
			p.b.Error(err)
		}
		var n struct{ Data struct{ At int64 } }
		if err := json.Unmarshal(v.Notification, &n); err != nil {
			p.b.Error(err)
		}
		p.visible <- time.Duration(now.UnixNano() - n.Data.At)
	}, jetstream.PullMaxMessages(1024), jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(10*time.Second))
	if err != nil {
		p.b.Fatal(err)
	}
	p.b.Cleanup(func() {
		cc.Stop()
		<-cc.Closed()
	})
}

var padding = strings.Repeat("x", 200)

// publish sends one event to one user, 256 bytes of data.
func (p *pipeline) publish() {
	u := p.random.IntN(p.users)
	body := fmt.Appendf(nil, `{"userId":"user-%d","at":%d,"text":%q}`, u, time.Now().UnixNano(), padding)
	if _, err := p.js.PublishAsync(fmt.Sprintf("events.load.%d.one", u), body, jetstream.WithStallWait(10*time.Second)); err != nil {
		p.b.Fatal(err)
	}
}

// take waits for n records.
func (p *pipeline) take(n int) []time.Duration {
	p.b.Helper()
	all := make([]time.Duration, 0, n)
	timeout := time.After(60 * time.Second)
	for len(all) < n {
		select {
		case d := <-p.visible:
			all = append(all, d)
		case <-timeout:
			p.b.Fatalf("%d of %d records came", len(all), n)
		}
	}
	return all
}

// cost reports what the process spends on each of b.N events, all of it: server, publisher and reader too.
func (p *pipeline) cost(f func()) {
	cpu, allocs, bytes := spent()
	p.b.ResetTimer()
	f()
	p.b.StopTimer()
	cpu2, allocs2, bytes2 := spent()
	n := float64(p.b.N)
	p.b.ReportMetric(n/p.b.Elapsed().Seconds(), "events/s")
	p.b.ReportMetric(float64((cpu2-cpu).Microseconds())/n, "µs-CPU/event")
	p.b.ReportMetric(float64(allocs2-allocs)/n, "allocs/event")
	p.b.ReportMetric(float64(bytes2-bytes)/n, "B/event")
	p.b.ReportMetric(0, "ns/op") // of a rate, the inverse
}

func spent() (cpu time.Duration, allocs, bytes uint64) {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.Mallocs, m.TotalAlloc
}

var rulesOf = []struct{ name, rules string }{{"default", noRules}, {"rule", oneRule}, {"rule with data", whenRule}}

// BenchmarkPipelineSaturated: b.N events as fast as they are taken.
func BenchmarkPipelineSaturated(b *testing.B) {
	for _, tt := range rulesOf {
		b.Run(tt.name, func(b *testing.B) {
			p := startPipeline(b, tt.rules)
			p.cost(func() {
				go func() {
					for range b.N {
						p.publish()
					}
				}()
				p.take(b.N)
			})
		})
	}
}

// BenchmarkPipelinePaced: b.N events at 5,000 a second.
func BenchmarkPipelinePaced(b *testing.B) {
	const rate = 5000
	for _, tt := range rulesOf[1:2] {
		b.Run(tt.name, func(b *testing.B) {
			p := startPipeline(b, tt.rules)
			var all []time.Duration
			p.cost(func() {
				go func() {
					began := time.Now()
					for sent := 0; sent < b.N; {
						for due := int(time.Since(began).Seconds() * rate); sent < min(due, b.N); sent++ {
							p.publish()
						}
						time.Sleep(200 * time.Microsecond) // the pace itself
					}
				}()
				all = p.take(b.N)
			})
			slices.Sort(all)
			for _, q := range []struct {
				name string
				at   float64
			}{{"p50-ms", .5}, {"p90-ms", .9}, {"p99-ms", .99}, {"p99.9-ms", .999}, {"max-ms", 1}} {
				b.ReportMetric(float64(all[int(q.at*float64(len(all)-1))].Microseconds())/1000, q.name)
			}
		})
	}
}
