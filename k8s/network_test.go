package k8s

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func TestPoliciesDenyFirst(t *testing.T) {
	withComponents(t, func(t *testing.T, all rendered) {
		deny := one[networkingv1.NetworkPolicy](t, all, "tidings-default-deny").Spec
		if len(deny.PolicyTypes) != 2 || len(deny.Ingress)+len(deny.Egress) > 0 || len(deny.PodSelector.MatchLabels) > 0 {
			t.Errorf("got %v, want that nothing is allowed", deny)
		}
		for _, p := range each[networkingv1.NetworkPolicy](all) {
			pods := selected(all, selector(t, &p.Spec.PodSelector))
			if len(pods) == 0 {
				t.Errorf("%s selects no pods", p.Name)
			}
			for _, in := range p.Spec.Ingress {
				for _, w := range pods {
					for _, port := range in.Ports {
						if !w.port(*port.Port) {
							t.Errorf("%s allows the port %s into %s, which does not have it", p.Name, port.Port, w)
						}
					}
				}
			}
			for _, out := range p.Spec.Egress {
				for _, to := range out.To {
					if to.PodSelector == nil {
						continue
					}
					targets := selected(all, selector(t, to.PodSelector))
					if len(targets) == 0 {
						t.Errorf("%s allows connections to pods that are not there: %v", p.Name, to.PodSelector)
					}
					for _, w := range targets {
						for _, port := range out.Ports {
							if !w.port(*port.Port) {
								t.Errorf("%s allows connections to the port %s of %s, which does not have it", p.Name, port.Port, w)
							}
						}
					}
				}
			}
		}
		for _, role := range tidings(t, all) {
			if !reaches(t, all, role, 4222) {
				t.Errorf("%s may not connect to NATS", role)
			}
		}
	})
}

// reaches tells whether a policy lets the workload out to a pod with this port, or to this port elsewhere.
func reaches(t *testing.T, all rendered, from workload, number int32) bool {
	t.Helper()
	for _, p := range each[networkingv1.NetworkPolicy](all) {
		if !selector(t, &p.Spec.PodSelector).Matches(labels.Set(from.template.Labels)) {
			continue
		}
		for _, out := range p.Spec.Egress {
			for _, port := range out.Ports {
				if port.Port.IntVal == number {
					return true
				}
				for _, w := range workloads(all) {
					for _, c := range w.container().Ports {
						if c.Name == port.Port.StrVal && c.ContainerPort == number {
							return true
						}
					}
				}
			}
		}
	}
	return false
}
