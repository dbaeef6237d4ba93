package k8s

import (
	"fmt"
	"net"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"tidings/integration/house"
)

// startNATS runs the servers of an overlay on this machine, on ports and in directories of their own, and gives their URLs.
func startNATS(t *testing.T, all rendered) (urls []string) {
	t.Helper()
	var nodes []*server.Server
	n := int(*one[appsv1.StatefulSet](t, all, "tidings-nats").Spec.Replicas)
	routes := ""
	ports := freePorts(t, n)
	for _, p := range ports {
		routes += fmt.Sprintf(",nats://127.0.0.1:%d", p)
	}
	for i := range n {
		opts := natsOptions(t, all, fmt.Sprintf("tidings-nats-%d", i))
		opts.Host, opts.Port, opts.HTTPHost, opts.HTTPPort = "127.0.0.1", -1, "127.0.0.1", -1
		opts.StoreDir, opts.PidFile, opts.NoSigs, opts.NoLog = t.TempDir(), "", true, true
		if n > 1 {
			opts.Cluster.Host, opts.Cluster.Port = "127.0.0.1", ports[i]
			opts.Routes = server.RoutesFromStr(routes[1:])
		}
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		nodes = append(nodes, s)
	}
	c := natsSet(t, all).container()
	for _, s := range nodes {
		for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			house.Eventually(t, house.Patience, s.Name()+" answers "+p.HTTPGet.Path, func() error {
				return get("http://" + s.MonitorAddr().String() + p.HTTPGet.Path)
			})
		}
		urls = append(urls, s.Addr().String())
	}
	return urls
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
