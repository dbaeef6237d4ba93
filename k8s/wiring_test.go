package k8s

import (
	"slices"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
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
