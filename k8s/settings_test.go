package k8s

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// outside are the Secrets that production names and does not hold; README.md says how they are made.
var outside = []string{
	"tidings-nats-auth", "tidings-nats-users",
	"tidings-nats-gateway", "tidings-nats-gateway-files", "tidings-nats-fanout", "tidings-nats-fanout-files",
	"tidings-auth",
}

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
	forEach(t, func(t *testing.T, all rendered) {
		for _, w := range tidings(t, all) {
			for name := range environment(t, all, w) {
				if !names[name] {
					t.Errorf("%s sets %s, which the binary does not know", w, name)
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
