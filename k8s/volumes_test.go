package k8s

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// volumes writes the files of a container's ConfigMaps and Secrets below dir, where it mounts them.
func volumes(t *testing.T, all rendered, w workload, dir string) {
	t.Helper()
	write := func(path, name string, content []byte) {
		to := filepath.Join(dir, path, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range w.spec().Volumes {
		for _, m := range w.container().VolumeMounts {
			if m.Name != v.Name {
				continue
			}
			if v.ConfigMap != nil {
				for name, text := range one[corev1.ConfigMap](t, all, v.ConfigMap.Name).Data {
					write(m.MountPath, name, []byte(text))
				}
			}
			if v.Secret != nil && (v.Secret.Optional == nil || !*v.Secret.Optional) {
				for name, data := range secret(t, all, v.Secret.SecretName) {
					write(m.MountPath, name, data)
				}
			}
		}
	}
}

// secret is the overlay's, or the one of a laptop in the place of one that is not in production's manifests.
func secret(t *testing.T, all rendered, name string) map[string][]byte {
	t.Helper()
	if has[corev1.Secret](all, name) {
		return one[corev1.Secret](t, all, name).Data
	}
	for _, s := range each[corev1.Secret](render(t, "local")) {
		if regexp.MustCompile(`^` + name + `-[a-z0-9]{10}$`).MatchString(s.Name) {
			return s.Data
		}
	}
	t.Fatalf("there is no Secret %s", name)
	return nil
}
