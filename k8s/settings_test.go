package k8s

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// comingSoon are settings that the manifests have and the binary does not know yet. It is to be empty: the test fails for each that
// the binary knows.
var comingSoon = []string{
	"TIDINGS_DRAIN_DELAY",
	"TIDINGS_DRAIN_WINDOW",
	"TIDINGS_GRACE_PERIOD",
	"TIDINGS_HANDSHAKES_PER_SECOND",
}

// outside are the Secrets that production names and does not hold; README.md says how they are made.
var outside = []string{"tidings-nats-auth", "tidings-nats-gateway", "tidings-nats-fanout", "tidings-auth"}

// known are the settings that `tidings config` lists.
func known(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command(binary(t), "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range regexp.MustCompile(`(?m)^TIDINGS_\w+`).FindAllString(string(out), -1) {
		names[name] = true
	}
	return names
}

// environment is what the kubelet gives to a container, without the Secrets that are not in the overlay.
func environment(t *testing.T, all rendered, w workload) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range w.container().EnvFrom {
		switch {
		case from.ConfigMapRef != nil:
			maps.Copy(env, one[corev1.ConfigMap](t, all, from.ConfigMapRef.Name).Data)
		case has[corev1.Secret](all, from.SecretRef.Name):
			for name, value := range one[corev1.Secret](t, all, from.SecretRef.Name).Data {
				env[name] = string(value)
			}
		}
	}
	for _, e := range w.container().Env {
		if e.ValueFrom == nil {
			env[e.Name] = e.Value
		}
	}
	return env
}

func has[T any](all rendered, name string) bool {
	return slices.ContainsFunc(all, func(o object) bool { _, ok := o.typed.(*T); return ok && o.GetName() == name })
}

func TestSettingsAreKnown(t *testing.T) {
	names := known(t)
	if len(names) < 40 {
		t.Fatalf("got %d settings from `tidings config`, want all", len(names))
	}
	for _, name := range comingSoon {
		if names[name] {
			t.Errorf("%s has come: delete it from comingSoon", name)
		}
	}
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range tidings(t, all) {
			for name := range environment(t, all, w) {
				if !names[name] && !slices.Contains(comingSoon, name) {
					t.Errorf("%s sets %s, which the binary does not know", w, name)
				}
			}
		}
	})
}

// Every ConfigMap and Secret that is named is there, and every one that is there is named.
func TestReferencesAreFound(t *testing.T) {
	withComponents(t, func(t *testing.T, all rendered) {
		used := map[string]bool{"tidings-dashboard": true}
		configMap := func(w workload, name string) {
			used[name] = true
			if !has[corev1.ConfigMap](all, name) {
				t.Errorf("%s wants the ConfigMap %s, which is not there", w, name)
			}
		}
		secret := func(w workload, name string) {
			used[name] = true
			if !has[corev1.Secret](all, name) && !slices.Contains(outside, name) {
				t.Errorf("%s wants the Secret %s, which is neither there nor in README.md", w, name)
			}
		}
		for _, w := range workloads(all) {
			mounts := map[string]bool{}
			for _, v := range w.container().VolumeMounts {
				mounts[v.Name] = true
			}
			for _, from := range w.container().EnvFrom {
				if from.ConfigMapRef != nil {
					configMap(w, from.ConfigMapRef.Name)
				} else {
					secret(w, from.SecretRef.Name)
				}
			}
			for _, v := range w.spec().Volumes {
				if v.ConfigMap != nil {
					configMap(w, v.ConfigMap.Name)
				}
				if v.Secret != nil {
					secret(w, v.Secret.SecretName)
				}
				if !mounts[v.Name] {
					t.Errorf("%s does not mount its volume %s", w, v.Name)
				}
				delete(mounts, v.Name)
			}
			for _, c := range w.claims {
				delete(mounts, c.Name)
			}
			for name := range mounts {
				t.Errorf("%s mounts %s, which is no volume of its pod", w, name)
			}
		}
		for _, o := range all {
			if (o.kind == "ConfigMap" || o.kind == "Secret") && !used[o.GetName()] {
				t.Errorf("nobody wants %s", o)
			}
		}
	})
}

// Secrets are made elsewhere. The overlay of a laptop is the exception, and says so in each.
func TestNoSecretsInManifests(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for _, s := range each[corev1.Secret](all) {
			for name, value := range s.Data {
				if !strings.Contains(string(value), "for-this-laptop-only") {
					t.Errorf("the Secret %s holds %s, which is none of a laptop", s.Name, name)
				}
			}
		}
		for _, c := range each[corev1.ConfigMap](all) {
			for name, value := range c.Data {
				if strings.Contains(name, "SECRET") || strings.Contains(name, "TOKEN") || strings.Contains(value, "@") && strings.HasSuffix(name, "_URL") {
					t.Errorf("the ConfigMap %s holds %s, which belongs in a Secret", c.Name, name)
				}
			}
		}
	})
}

// The container's ports are those that the settings name.
func TestPortsAreThoseOfTheSettings(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		for role, w := range tidings(t, all) {
			env := environment(t, all, w)
			want := map[string]string{"admin": env["TIDINGS_ADMIN_LISTEN"]}
			if role == "gateway" {
				want["http"] = env["TIDINGS_LISTEN"]
			}
			if env["TIDINGS_ROLES"] != role {
				t.Errorf("%s has the role %s", w, env["TIDINGS_ROLES"])
			}
			for _, p := range w.container().Ports {
				if got := ":" + strconv.Itoa(int(p.ContainerPort)); got != want[p.Name] {
					t.Errorf("%s has the port %s %s, its settings %q", w, p.Name, got, want[p.Name])
				}
			}
			if len(w.container().Ports) != len(want) {
				t.Errorf("%s has the ports %v, want %v", w, w.container().Ports, want)
			}
		}
	})
}

// closing is how long sockets have at last, behind the window.
const closing = 10 * time.Second

// README.md, "Drain numbers that must agree".
func TestDrainNumbersAgree(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		gateway := tidings(t, all)["gateway"]
		env := environment(t, all, gateway)
		seconds := func(name string) time.Duration {
			d, err := time.ParseDuration(env[name])
			if err != nil || d <= 0 {
				t.Fatalf("%s is %q, want a duration", name, env[name])
			}
			return d
		}
		delay, window, grace := seconds("TIDINGS_DRAIN_DELAY"), seconds("TIDINGS_DRAIN_WINDOW"), seconds("TIDINGS_GRACE_PERIOD")
		sleep := time.Duration(gateway.container().Lifecycle.PreStop.Sleep.Seconds) * time.Second
		whole := time.Duration(*gateway.spec().TerminationGracePeriodSeconds) * time.Second
		if delay+window+closing > grace {
			t.Errorf("delay %v, window %v and %v for the rest do not fit into TIDINGS_GRACE_PERIOD %v", delay, window, closing, grace)
		}
		if sleep+grace != whole {
			t.Errorf("preStop %v and TIDINGS_GRACE_PERIOD %v are not terminationGracePeriodSeconds %v, whose clock begins with preStop", sleep, grace, whole)
		}
		ready := gateway.container().ReadinessProbe
		if noticed := time.Duration(ready.PeriodSeconds*ready.FailureThreshold) * time.Second; sleep+delay < noticed {
			t.Errorf("sockets are closed after %v, and readiness is noticed after %v", sleep+delay, noticed)
		}
		if fanout := tidings(t, all)["fanout"]; *fanout.spec().TerminationGracePeriodSeconds < 20 {
			t.Errorf("fanout has %d s, want 10 s for events in hand, and as much again", *fanout.spec().TerminationGracePeriodSeconds)
		}
	})
}
