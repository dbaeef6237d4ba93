package k8s

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

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
					endless[*m.Path.Value] = rule.Timeouts != nil && *rule.Timeouts.Request == "0s" && *rule.Timeouts.BackendRequest == "0s"
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
