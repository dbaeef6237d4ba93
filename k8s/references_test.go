package k8s

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

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
