package k8s

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// workload is a Deployment or StatefulSet.
type workload struct {
	object
	selector *metav1.LabelSelector
	template *corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
}

func (w workload) spec() *corev1.PodSpec        { return &w.template.Spec }
func (w workload) container() *corev1.Container { return &w.spec().Containers[0] }
func (w workload) component() string            { return w.template.Labels["app.kubernetes.io/component"] }

func workloads(all rendered) []workload {
	var list []workload
	for _, o := range all {
		switch v := o.typed.(type) {
		case *appsv1.Deployment:
			list = append(list, workload{o, v.Spec.Selector, &v.Spec.Template, nil})
		case *appsv1.StatefulSet:
			list = append(list, workload{o, v.Spec.Selector, &v.Spec.Template, v.Spec.VolumeClaimTemplates})
		}
	}
	return list
}

// tidings are the Deployments of our own binary, by component.
func tidings(t *testing.T, all rendered) map[string]workload {
	t.Helper()
	found := map[string]workload{}
	for _, w := range workloads(all) {
		if w.template.Labels["app.kubernetes.io/name"] == "tidings" {
			found[w.component()] = w
		}
	}
	if len(found) != 2 || found["gateway"].object.Object == nil || found["fanout"].object.Object == nil {
		t.Fatalf("got components %v, want gateway and fanout", found)
	}
	return found
}

// What the namespace enforces, asked of the code that enforces it.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range workloads(all) {
			for _, result := range evaluator.EvaluatePod(level, &w.template.ObjectMeta, w.spec()) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", w, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
		if got := one[corev1.Namespace](t, all, "tidings").Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
			t.Errorf("the namespace enforces %q, want restricted", got)
		}
	})
}

// What restricted does not ask for.
func TestPodsAreBare(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range workloads(all) {
			spec := w.spec()
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
				t.Errorf("%s gets a token of Kubernetes", w)
			}
			if account := one[corev1.ServiceAccount](t, all, spec.ServiceAccountName); account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Errorf("the account %s gives tokens", account.Name)
			}
			if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
				t.Errorf("%s gets a variable for each Service, TIDINGS_GATEWAY_PORT and so on, which look like settings", w)
			}
			if n := len(spec.Containers) + len(spec.InitContainers); n != 1 {
				t.Errorf("%s has %d containers, want 1", w, n)
			}
			for _, c := range spec.Containers {
				if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s can write to its image", w)
				}
				if _, tag, ok := strings.Cut(c.Image, ":"); !ok || tag == "latest" {
					t.Errorf("%s has the image %s, want a version", w, c.Image)
				}
			}
		}
	})
}

func TestPodsHaveBounds(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range workloads(all) {
			for _, c := range w.spec().Containers {
				r := c.Resources
				if r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().IsZero() {
					t.Errorf("%s: got resources %v, want requests of CPU and memory, and a limit of memory", w, r)
				}
				if !r.Limits.Cpu().IsZero() {
					t.Errorf("%s has a limit of CPU: who is throttled holds up everybody", w)
				}
			}
			if len(w.spec().TopologySpreadConstraints) < 2 {
				t.Errorf("%s is not spread over zones and nodes", w)
			}
			for _, s := range w.spec().TopologySpreadConstraints {
				if got, want := fmt.Sprint(s.LabelSelector.MatchLabels), fmt.Sprint(w.selector.MatchLabels); got != want {
					t.Errorf("%s is spread among %s, want its own pods %s", w, got, want)
				}
			}
		}
	})
}

// A rollout adds a pod before it takes one away, and waits for the browsers of one before it goes to the next.
func TestRolloutsAreGentle(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, d := range each[appsv1.Deployment](all) {
			r := d.Spec.Strategy.RollingUpdate
			if r == nil || r.MaxSurge.IntValue() != 1 || r.MaxUnavailable.IntValue() != 0 || r.MaxUnavailable.StrVal != "" {
				t.Errorf("%s: got %v, want surge 1, unavailable 0", d.Name, d.Spec.Strategy)
			}
			if d.Spec.MinReadySeconds < 5 {
				t.Errorf("%s: got minReadySeconds %d, want some", d.Name, d.Spec.MinReadySeconds)
			}
		}
	})
}

func TestProbesAskDifferentQuestions(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range workloads(all) {
			for _, c := range w.spec().Containers {
				asked := map[string]int{}
				for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
					if p == nil || p.HTTPGet == nil {
						t.Fatalf("%s: got a probe %v, want three that ask over HTTP", w, p)
					}
					asked[p.HTTPGet.Port.StrVal+p.HTTPGet.Path]++
				}
				if len(asked) < 3 && (w.component() != "fanout" || len(asked) < 2) { // fanout begins when it answers, which is all that it has to
					t.Errorf("%s asks %v", w, asked)
				}
				start := c.StartupProbe.PeriodSeconds * c.StartupProbe.FailureThreshold
				live := c.LivenessProbe.PeriodSeconds * c.LivenessProbe.FailureThreshold
				ready := c.ReadinessProbe.PeriodSeconds * c.ReadinessProbe.FailureThreshold
				if start < 30 || live < 30 || ready > 15 {
					t.Errorf("%s: got %d s to begin, %d s to be killed, %d s to be passed over; want patience with the first two, and none with the last", w, start, live, ready)
				}
			}
		}
	})
}
