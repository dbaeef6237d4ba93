package k8s

import (
	"strings"
	"testing"
)

// https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
func TestRecommendedLabels(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, o := range all {
			for name, want := range map[string]string{"instance": "tidings", "part-of": "tidings", "managed-by": "kustomize"} {
				if got := o.GetLabels()["app.kubernetes.io/"+name]; got != want {
					t.Errorf("%s: got %s %q, want %q", o, name, got, want)
				}
			}
			if got := o.GetLabels()["app.kubernetes.io/name"]; got != "tidings" && got != "nats" {
				t.Errorf("%s: got name %q, want tidings or nats", o, got)
			}
		}
		for _, w := range workloads(all) {
			_, tag, _ := strings.Cut(w.container().Image, ":")
			tag, _, _ = strings.Cut(tag, "-")
			for _, labels := range []map[string]string{w.GetLabels(), w.template.Labels} {
				if got := labels["app.kubernetes.io/version"]; got != tag {
					t.Errorf("%s: got version %q, want that of its image, %q", w, got, tag)
				}
				if labels["app.kubernetes.io/component"] == "" {
					t.Errorf("%s: got no component", w)
				}
			}
			for _, c := range w.claims {
				if c.Labels["app.kubernetes.io/version"] != "" {
					t.Errorf("%s: its claims have a version, and can never be changed", w)
				}
			}
		}
	})
}
