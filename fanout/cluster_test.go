package fanout

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// freePorts gives ports that were free a moment ago: the routes of a cluster must be known before its servers start.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func startCluster(t *testing.T) []*node {
	t.Helper()
	ports := freePorts(t, 3)
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	nodes := make([]*node, len(ports))
	for i, p := range ports {
		nodes[i] = startNode(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: p}
			o.Routes = routes
		})
	}
	eventually(t, "the cluster has a leader and three peers", func() bool {
		for _, n := range nodes {
			if n.srv.JetStreamIsLeader() && len(n.srv.JetStreamClusterPeers()) == 3 {
				return true
			}
		}
		return false
	})
	return nodes
}

// The server of the stream's leader goes while events are published to three replicas; then all of them are redelivered, long
// after the window, and looked for on whatever replica answers.
func TestClusterLosesItsLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes seconds")
	}
	nodes := startCluster(t)
	cfg := logConfig(1)
	cfg.Replicas = 3
	cfg.Duplicates = 2 * time.Second
	js := connect(t, nodes[0].srv.ClientURL()+","+nodes[1].srv.ClientURL()+","+nodes[2].srv.ClientURL())
	p := newLog(t, js, cfg)

	const events = 90
	all := make([][]Entry, events)
	publish := func(redelivered bool, after func(i int)) {
		for i := range events {
			e := freshEvent("1")
			e.Key, e.Redelivered = fmt.Sprintf("%032d", i), redelivered
			if redelivered {
				e.Stored = e.Stored.Add(-10 * time.Second) // long enough ago
			}
			all[i] = entriesFor(t, e, 1, 3)
			if err := p.Publish(context.Background(), all[i], e); err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			after(i)
		}
	}
	var stopped *node
	var wg sync.WaitGroup
	publish(false, func(i int) {
		if i == events/3 {
			stopped = leaderOf(t, js, nodes)
			wg.Go(stopped.stop)
		}
	})
	wg.Wait()
	wantOnce(t, js, 1, all...)
	stopped.start() // a replica that lags
	forgets(t, js, cfg.Duplicates)
	publish(true, func(int) {})
	wantOnce(t, js, 1, all...)
}

func leaderOf(t *testing.T, js jetstream.JetStream, nodes []*node) *node {
	t.Helper()
	name := streamInfo(t, js, wire.Stream(0)).Cluster.Leader
	for _, n := range nodes {
		if n.opts.ServerName == name {
			return n
		}
	}
	t.Fatalf("no node is the leader %q", name)
	return nil
}
