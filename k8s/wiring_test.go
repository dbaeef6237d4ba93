package k8s

import (
	"slices"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// selected are the workloads whose pods a selector takes.
func selected(all rendered, s labels.Selector) []workload {
	return slices.DeleteFunc(workloads(all), func(w workload) bool { return !s.Matches(labels.Set(w.template.Labels)) })
}

func selector(t *testing.T, s *metav1.LabelSelector) labels.Selector {
	t.Helper()
	made, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// port is the container's port of this name or number.
func (w workload) port(p intstr.IntOrString) bool {
	return slices.ContainsFunc(w.container().Ports, func(c corev1.ContainerPort) bool {
		return p.Type == intstr.String && c.Name == p.StrVal || p.Type == intstr.Int && c.ContainerPort == p.IntVal
	})
}

func TestSelectorsFindTheirPods(t *testing.T) {
	withComponents(t, func(t *testing.T, all rendered) {
		for _, w := range workloads(all) {
			if got := selected(all, selector(t, w.selector)); len(got) != 1 || got[0].String() != w.String() {
				t.Errorf("%s selects the pods of %v, want its own", w, got)
			}
			for name := range w.selector.MatchLabels {
				if !slices.Contains([]string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}, name) {
					t.Errorf("%s selects by %s, which can change; a selector cannot", w, name)
				}
			}
			if n := len(slices.DeleteFunc(each[policyv1.PodDisruptionBudget](all), func(b *policyv1.PodDisruptionBudget) bool {
				return !selector(t, b.Spec.Selector).Matches(labels.Set(w.template.Labels))
			})); n != 1 {
				t.Errorf("%s has %d disruption budgets, want 1: with two no pod can be evicted", w, n)
			}
		}
		for _, s := range each[corev1.Service](all) {
			pods := selected(all, labels.SelectorFromSet(s.Spec.Selector))
			if len(pods) == 0 {
				t.Errorf("Service %s selects no pods", s.Name)
			}
			for _, w := range pods {
				for _, p := range s.Spec.Ports {
					if !w.port(p.TargetPort) {
						t.Errorf("Service %s leads to the port %s, which %s does not have", s.Name, p.TargetPort.String(), w)
					}
				}
			}
		}
	})
}

func TestProbesFindTheirPorts(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range workloads(all) {
			for _, p := range []*corev1.Probe{w.container().StartupProbe, w.container().ReadinessProbe, w.container().LivenessProbe} {
				if !w.port(p.HTTPGet.Port) {
					t.Errorf("%s is asked at the port %s, which it does not have", w, p.HTTPGet.Port.String())
				}
			}
		}
	})
}

func TestScalersFindTheirTargets(t *testing.T) {
	withComponents(t, func(t *testing.T, all rendered) {
		check := func(scaler, apiVersion, kind, name string) {
			i := slices.IndexFunc(workloads(all), func(w workload) bool { return w.kind == kind && w.GetName() == name })
			if i < 0 || apiVersion != "apps/v1" {
				t.Fatalf("%s scales %s %s %s, which is not there", scaler, apiVersion, kind, name)
			}
			if strings.Contains(string(workloads(all)[i].yaml), "\n  replicas:") {
				t.Errorf("%s has replicas: each apply would set back what %s decided", name, scaler)
			}
		}
		for _, h := range each[autoscalingv2.HorizontalPodAutoscaler](all) {
			r := h.Spec.ScaleTargetRef
			check(h.Name, r.APIVersion, r.Kind, r.Name)
			if down := h.Spec.Behavior.ScaleDown; *down.StabilizationWindowSeconds < 600 || len(down.Policies) != 1 || down.Policies[0].Type != autoscalingv2.PodsScalingPolicy || down.Policies[0].Value != 1 {
				t.Errorf("%s scales down by %v, want one pod at a time, after ten minutes or more", h.Name, down)
			}
		}
		for _, s := range each[scaledObject](all) {
			r := s.Spec.ScaleTargetRef
			check(s.Name, r.APIVersion, r.Kind, r.Name)
		}
	})
}

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

// Whatever leads browsers in leads to a Service's port that is there, and lets a socket live.
func TestTheWayIn(t *testing.T) {
	ways := 0
	withComponents(t, func(t *testing.T, all rendered) {
		for _, i := range each[networkingv1.Ingress](all) {
			ways++
			for _, rule := range i.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					leads(t, all, i.Name, path.Backend.Service.Name, func(p corev1.ServicePort) bool { return p.Name == path.Backend.Service.Port.Name })
				}
			}
		}
		for _, r := range each[gatewayv1.HTTPRoute](all) {
			ways++
			way := one[gatewayv1.Gateway](t, all, string(r.Spec.ParentRefs[0].Name))
			listener := slices.IndexFunc(way.Spec.Listeners, func(l gatewayv1.Listener) bool { return l.Name == *r.Spec.ParentRefs[0].SectionName })
			if listener < 0 || *way.Spec.Listeners[listener].Hostname != r.Spec.Hostnames[0] {
				t.Errorf("%s: got no listener for it in %v", r.Name, way.Spec.Listeners)
			}
			endless := map[string]bool{}
			for _, rule := range r.Spec.Rules {
				for _, b := range rule.BackendRefs {
					leads(t, all, r.Name, string(b.Name), func(p corev1.ServicePort) bool { return p.Port == int32(*b.Port) })
				}
				for _, m := range rule.Matches {
					endless[*m.Path.Value] = rule.Timeouts != nil && *rule.Timeouts.Request == "0s"
				}
			}
			for _, path := range []string{"/ws", "/websocket", "/sse"} {
				if !endless[path] {
					t.Errorf("%s: %s has a time-out, want none: it has no end", r.Name, path)
				}
			}
		}
	})
	if ways < 2 {
		t.Errorf("got %d ways in, want an Ingress and an HTTPRoute", ways)
	}
}

func leads(t *testing.T, all rendered, from, service string, port func(corev1.ServicePort) bool) {
	t.Helper()
	s := one[corev1.Service](t, all, service)
	if !slices.ContainsFunc(s.Spec.Ports, port) {
		t.Errorf("%s leads to a port that the Service %s does not have: %v", from, service, s.Spec.Ports)
	}
	if got := selected(all, labels.SelectorFromSet(s.Spec.Selector)); len(got) != 1 || got[0].component() != "gateway" {
		t.Errorf("%s leads to %v, want the gateways", from, got)
	}
}
