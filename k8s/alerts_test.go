package k8s

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// anchors are what links into README.md can name, as GitHub makes them of headings.
func anchors(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		kept := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(kept, " ", "-")] = true
	}
	return found
}

func TestAlerts(t *testing.T) {
	all := render(t, "production")
	recorded := map[string][]string{}
	there, seen := anchors(t), map[string]bool{}
	for _, rules := range each[monitoringv1.PrometheusRule](all) {
		for _, group := range rules.Spec.Groups {
			for _, rule := range group.Rules {
				checkExpression(t, rule.Expr.StrVal, recorded)
				if rule.Record != "" {
					level, _, _ := strings.Cut(rule.Record, ":") // namespace_pod:metric:operation
					recorded[rule.Record] = strings.Split(level, "_")
					continue
				}
				if seen[rule.Alert] {
					t.Errorf("%s is there twice", rule.Alert)
				}
				seen[rule.Alert] = true
				if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
					t.Errorf("%s: got the severity %q", rule.Alert, rule.Labels["severity"])
				}
				for _, name := range []string{"summary", "description", "runbook"} {
					if rule.Annotations[name] == "" {
						t.Errorf("%s has no %s", rule.Alert, name)
					}
				}
				_, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "k8s/README.md#")
				if anchor != strings.ToLower(rule.Alert) || !there[anchor] {
					t.Errorf("%s: got the runbook %q, want its own heading in README.md", rule.Alert, rule.Annotations["runbook_url"])
				}
			}
		}
	}
	if len(seen) < 15 || len(recorded) == 0 {
		t.Errorf("got %d alerts and %d recorded series, want those of alerts.yaml", len(seen), len(recorded))
	}
}

func TestPrometheusFindsThePods(t *testing.T) {
	all := render(t, "production")
	for _, m := range each[monitoringv1.ServiceMonitor](all) {
		var roles []string
		for _, s := range each[corev1.Service](all) {
			if !selector(t, &m.Spec.Selector).Matches(labels.Set(s.Labels)) {
				continue
			}
			if s.Labels[m.Spec.JobLabel] != "tidings" {
				t.Errorf("%s makes the job %q, and alerts ask for tidings", m.Name, s.Labels[m.Spec.JobLabel])
			}
			for _, e := range m.Spec.Endpoints {
				if e.Path != "/metrics" || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == e.Port }) {
					t.Errorf("%s asks for %s at the port %s of %s", m.Name, e.Path, e.Port, s.Name)
				}
			}
			for _, w := range selected(all, labels.SelectorFromSet(s.Spec.Selector)) {
				roles = append(roles, w.component())
			}
		}
		slices.Sort(roles)
		if want := []string{"fanout", "gateway"}; !slices.Equal(roles, want) {
			t.Errorf("%s finds %v, want %v", m.Name, roles, want)
		}
	}
}

// What the autoscalers ask for is what is measured.
func TestScalersKnowTheirMetrics(t *testing.T) {
	text, err := os.ReadFile("components/autoscale-gateway/prometheus-adapter-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Prometheus struct {
			URL  string
			Port int
		}
		Rules struct {
			Custom []struct {
				SeriesQuery, MetricsQuery string
				Resources                 struct {
					Overrides map[string]struct{ Resource string }
				}
				Name struct{ As string }
			}
		}
	}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for _, rule := range values.Rules.Custom {
		made[rule.Name.As] = true
		checkExpression(t, rule.SeriesQuery, nil)
		name, _, _ := strings.Cut(rule.SeriesQuery, "{")
		query := strings.NewReplacer("<<.Series>>", name, "<<.LabelMatchers>>", `namespace="tidings"`, "<<.GroupBy>>", "pod").Replace(rule.MetricsQuery)
		checkExpression(t, query, nil)
	}
	scalers := 0
	withComponents(t, func(t *testing.T, all rendered) {
		for _, h := range each[autoscalingv2.HorizontalPodAutoscaler](all) {
			scalers++
			for _, m := range h.Spec.Metrics {
				if m.Pods != nil && !made[m.Pods.Metric.Name] {
					t.Errorf("%s asks for %s, and the adapter makes %v", h.Name, m.Pods.Metric.Name, made)
				}
			}
		}
		for _, s := range each[scaledObject](all) {
			scalers++
			for _, trigger := range s.Spec.Triggers {
				checkExpression(t, trigger.Metadata["query"], nil)
				if !strings.Contains(trigger.Metadata["query"], `namespace="`+s.Namespace+`"`) {
					t.Errorf("%s asks for another namespace than its own, %s", s.Name, s.Namespace)
				}
			}
		}
	})
	if scalers < 2 {
		t.Errorf("got %d autoscalers, want one for each role", scalers)
	}
}
