package k8s

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// panel is what we look at of Grafana's; its JSON has no light type in Go.
type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ UID string }
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ RefID, Expr, LegendFormat string }
}

func TestDashboard(t *testing.T) {
	text := one[corev1.ConfigMap](t, render(t, "production"), "tidings-dashboard").Data["tidings.json"]
	var d struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct{ List []struct{ Name, Type string } }
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID != "tidings" || d.SchemaVersion < 39 || len(d.Panels) < 20 {
		t.Errorf("got %q, %q, version %d, %d panels", d.Title, d.UID, d.SchemaVersion, len(d.Panels))
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$namespace", "tidings")
	for _, v := range d.Templating.List {
		if v.Name != "datasource" && v.Name != "namespace" {
			t.Errorf("the variable %s is not known here", v.Name)
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s has the ID of another panel, %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies on %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: got the source %q and %d targets", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, target := range p.Targets {
			expression := variables.Replace(target.Expr)
			checkExpression(t, expression, nil)
			if !strings.Contains(expression, `namespace="tidings"`) {
				t.Errorf("%s shows all namespaces: %s", p.Title, target.Expr)
			}
			if label, ok := strings.CutPrefix(target.LegendFormat, "{{"); ok && !strings.Contains(expression, "by ("+strings.TrimSuffix(label, "}}")+")") {
				t.Errorf("%s has the legend %s, by which %s is not grouped", p.Title, target.LegendFormat, target.Expr)
			}
		}
	}
}
