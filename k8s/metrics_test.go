package k8s

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

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

// words are all strings in the code that registers and counts, where the values of labels come from.
var words = sync.OnceValue(func() map[string]bool {
	found := map[string]bool{}
	for _, dir := range []string{"gateway", "ingest", "fanout", "fanout/wire"} {
		files, _ := filepath.Glob("../" + dir + "/*.go")
		for _, f := range files {
			text, _ := os.ReadFile(f)
			for _, m := range regexp.MustCompile(`"([a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
				found[m[1]] = true
			}
		}
	}
	return found
})

// series is the metric of a name in an expression: a histogram's has a suffix.
func series(metrics map[string][]string, name string) ([]string, bool) {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, suffix)
		if of, there := metrics[base]; ok && there {
			if suffix == "_bucket" {
				of = append(slices.Clone(of), "le")
			}
			return of, true
		}
	}
	return nil, false
}

// checkExpression parses PromQL and holds its metrics, labels and their values against the binary, recorded rules and others.
func checkExpression(t *testing.T, expression string, recorded map[string][]string) {
	t.Helper()
	metrics, err := exposed()
	if err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(metrics)
	maps.Copy(all, elsewhere)
	maps.Copy(all, recorded)
	parsed, err := parser.ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
		return
	}
	var have []string
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		of, ok := series(all, v.Name)
		if !ok {
			t.Errorf("%s: the binary has no metric %q", expression, v.Name)
		}
		if _, other := elsewhere[v.Name]; !other && recorded[v.Name] == nil {
			of = append(slices.Clone(of), ofTargets...)
		}
		have = append(have, of...)
		for _, m := range v.LabelMatchers {
			checkMatcher(t, expression, v.Name, of, m)
		}
		return nil
	})
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, label := range a.Grouping {
				if !slices.Contains(have, label) {
					t.Errorf("%s: nothing has the label %q", expression, label)
				}
			}
		}
		return nil
	})
}

func checkMatcher(t *testing.T, expression, metric string, of []string, m *labels.Matcher) {
	t.Helper()
	if m.Name == labels.MetricName {
		return
	}
	if !slices.Contains(of, m.Name) {
		t.Errorf("%s: %s has no label %q", expression, metric, m.Name)
	}
	if slices.Contains(ofTargets, m.Name) || slices.Contains(elsewhere[metric], m.Name) {
		return
	}
	for value := range strings.SplitSeq(m.Value, "|") {
		if !words()[value] {
			t.Errorf("%s: %s is nowhere a value of %s", expression, value, m.Name)
		}
	}
}

func TestExpressionsAreChecked(t *testing.T) {
	for name, test := range map[string]struct {
		expression string
		wrong      bool
	}{
		"right":     {`sum by (namespace, cause) (rate(tidings_resets_total{cause!="trimmed"}[5m]))`, false},
		"histogram": {`sum by (le) (rate(tidings_delivery_seconds_bucket[5m]))`, false},
		"metric":    {`tidings_session`, true},
		"syntax":    {`sum by (pod (tidings_sessions)`, true},
		"label":     {`tidings_resets_total{reason="trimmed"}`, true},
		"value":     {`tidings_resets_total{cause="timed_out"}`, true},
		"grouping":  {`sum by (reason) (tidings_resets_total)`, true},
		"le":        {`sum by (le) (tidings_sessions)`, true},
	} {
		t.Run(name, func(t *testing.T) {
			probe := &testing.T{}
			checkExpression(probe, test.expression, nil)
			if probe.Failed() != test.wrong {
				t.Errorf("%s: got wrong %v, want %v", test.expression, probe.Failed(), test.wrong)
			}
		})
	}
}
