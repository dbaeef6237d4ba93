package k8s

import (
	"context"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tidings/fanout"
	"tidings/gateway"
	"tidings/ingest"
	"tidings/ingest/natsd"
)

// elsewhere are metrics of others that alerts name: Prometheus itself, the kubelet, and the cAdvisor in it.
var elsewhere = map[string][]string{
	"up":                                   {"namespace", "pod", "job"},
	"kubelet_volume_stats_available_bytes": {"namespace", "persistentvolumeclaim"},
	"kubelet_volume_stats_capacity_bytes":  {"namespace", "persistentvolumeclaim"},
	"container_memory_working_set_bytes":   {"namespace", "pod", "container"},
	"container_spec_memory_limit_bytes":    {"namespace", "pod", "container"},
}

// ofTargets are the labels that the ServiceMonitor gives to every metric.
var ofTargets = []string{"namespace", "pod", "job", "instance", "container", "service", "endpoint"}

// recorder is a registry that remembers what was registered. Scraping does not show metrics whose labels have no values yet.
type recorder struct {
	*prometheus.Registry
	metrics map[string][]string // name → its labels
}

func (r *recorder) Register(c prometheus.Collector) error {
	r.note(c)
	return r.Registry.Register(c)
}

func (r *recorder) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		r.note(c)
	}
	r.Registry.MustRegister(all...)
}

var described = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

func (r *recorder) note(c prometheus.Collector) {
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); c.Describe(descs) }()
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		r.metrics[m[1]] = strings.FieldsFunc(m[2], func(c rune) bool { return c == ',' })
	}
}

// exposed are the metrics of the binary, by name, with their labels.
var exposed = sync.OnceValues(func() (map[string][]string, error) {
	r := &recorder{prometheus.NewRegistry(), map[string][]string{}}
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	dir, err := os.MkdirTemp("", "tidings-metrics-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	server, err := natsd.Start(natsd.Config{NATSStore: dir, NATSListen: "127.0.0.1:0"}, log)
	if err != nil {
		return nil, err
	}
	defer server.Shutdown()
	nc, err := server.Connect("metrics")
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	var settings struct {
		Gateway gateway.Config
		Ingest  ingest.Config
	}
	if err := envconfig.Process("k8s_test_of_defaults", &settings); err != nil {
		return nil, err
	}
	settings.Gateway.Listen = "127.0.0.1:0"
	connect := func(name string) (*nats.Conn, error) { return server.Connect(name) }
	if _, err := gateway.New(context.Background(), settings.Gateway, gateway.Needs{Log: log, Registry: r, Connect: connect}); err != nil {
		return nil, err
	}
	if _, err := ingest.NewSource(nc, settings.Ingest, log, r); err != nil {
		return nil, err
	}
	fanout.New(nil, fanout.NewPublisher(js, fanout.LogConfig{Shards: 1}, log, r), log, r)
	return r.metrics, nil
})
