package k8s

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// natsOptions are what nats-server makes of the configuration of a pod. Unknown words in it are an error.
func natsOptions(t *testing.T, all rendered, pod string) *server.Options {
	t.Helper()
	w := natsSet(t, all)
	dir := t.TempDir()
	volumes(t, all, w, dir)
	t.Setenv("POD_NAME", pod)
	args := w.container().Command
	opts, err := server.ProcessConfigFile(filepath.Join(dir, args[len(args)-1]))
	if err != nil {
		t.Fatalf("nats-server does not take the configuration: %v", err)
	}
	return opts
}

func natsSet(t *testing.T, all rendered) workload {
	t.Helper()
	for _, w := range workloads(all) {
		if w.component() == "nats" {
			return w
		}
	}
	t.Fatal("there is no NATS")
	return workload{}
}

func TestNATSConfiguration(t *testing.T) {
	for _, name := range []string{"local", "production"} {
		t.Run(name, func(t *testing.T) {
			all := render(t, name)
			w, set := natsSet(t, all), one[appsv1.StatefulSet](t, all, "tidings-nats")
			opts := natsOptions(t, all, "tidings-nats-0")
			for port, want := range map[string]int{"nats": opts.Port, "monitor": opts.HTTPPort, "cluster": opts.Cluster.Port} {
				for _, p := range w.container().Ports {
					if p.Name == port && int(p.ContainerPort) != want && (want != 0 || port != "cluster") {
						t.Errorf("the port %s is %d in the pod and %d in nats.conf", port, p.ContainerPort, want)
					}
				}
			}
			if grace := time.Duration(*w.spec().TerminationGracePeriodSeconds) * time.Second; opts.LameDuckGracePeriod+opts.LameDuckDuration >= grace {
				t.Errorf("lame duck takes %v and %v, the pod has %v", opts.LameDuckGracePeriod, opts.LameDuckDuration, grace)
			}
			if !strings.HasSuffix(w.container().Lifecycle.PreStop.Exec.Command[1], opts.PidFile) {
				t.Errorf("preStop is %v, the process's file %s", w.container().Lifecycle.PreStop.Exec.Command, opts.PidFile)
			}
			if opts.ServerName != "tidings-nats-0" {
				t.Errorf("got the name %q, want the pod's", opts.ServerName)
			}
			if int(*set.Spec.Replicas) > 1 {
				routes := fmt.Sprint(opts.Routes)
				for i := range int(*set.Spec.Replicas) {
					if want := fmt.Sprintf("nats://%s-%d.%s:%d", set.Name, i, set.Spec.ServiceName, opts.Cluster.Port); !strings.Contains(routes, want) {
						t.Errorf("got routes %s, want %s", routes, want)
					}
				}
				one[corev1.Service](t, all, set.Spec.ServiceName)
			}
			checkDisk(t, all, w, opts)
			checkMount(t, w, opts.StoreDir)
		})
	}
}

// checkDisk adds up what the streams may take: less than JetStream has, and that less than the volume.
func checkDisk(t *testing.T, all rendered, w workload, opts *server.Options) {
	t.Helper()
	env := environment(t, all, tidings(t, all)["fanout"])
	number := func(name string) int64 {
		n, err := strconv.ParseInt(env[name], 10, 64)
		if err != nil || n <= 0 {
			t.Fatalf("%s is %q, want a bound", name, env[name])
		}
		return n
	}
	streams := number("TIDINGS_SHARDS")*number("TIDINGS_LOG_MAX_BYTES") + number("TIDINGS_EVENTS_MAX_BYTES")
	volume := w.claims[0].Spec.Resources.Requests.Storage().Value()
	if streams > opts.JetStreamMaxStore*9/10 || opts.JetStreamMaxStore > volume*9/10 {
		t.Errorf("streams %d, JetStream %d, volume %d: want each below nine tenths of the next", streams, opts.JetStreamMaxStore, volume)
	}
}

func checkMount(t *testing.T, w workload, dir string) {
	t.Helper()
	for _, m := range w.container().VolumeMounts {
		if m.Name == w.claims[0].Name && m.MountPath == dir {
			return
		}
	}
	t.Errorf("JetStream stores in %s, which is not the volume", dir)
}

// The image is the version that go.mod has, with which everything else is tested.
func TestNATSVersion(t *testing.T) {
	image := natsSet(t, render(t, "production")).container().Image
	if want := "nats:" + server.VERSION + "-alpine"; image != want {
		t.Errorf("got the image %s, want %s", image, want)
	}
}
