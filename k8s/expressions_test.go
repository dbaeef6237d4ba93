package k8s

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

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
