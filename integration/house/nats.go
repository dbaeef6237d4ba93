package house

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Node is a nats-server with JetStream, on fixed ports and a directory of its own, so that it can be killed and come back.
type Node struct {
	*Process // the running one

	Name string
	URL  string

	programs *Programs
	config   string // path of the configuration file
	base     string // what every configuration of it begins with, where Server made it
	env      []string
	opts     []nats.Option // of a client that it lets in
}

// Servers starts n nats-servers, a cluster if they are several, and waits until each takes connections.
func (p *Programs) Servers(t testing.TB, n int) []*Node {
	t.Helper()
	ports := freePorts(t, 2*n)
	var routes []string
	for _, port := range ports[n:] {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", port))
	}
	nodes := make([]*Node, n)
	for i := range nodes {
		dir := t.TempDir()
		nodes[i] = &Node{
			Name: fmt.Sprintf("nats-%d", i), URL: fmt.Sprintf("nats://127.0.0.1:%d", ports[i]),
			programs: p, config: filepath.Join(dir, "nats.conf"),
		}
		text := fmt.Sprintf("server_name: %s\nlisten: 127.0.0.1:%d\njetstream { store_dir: %q }\n", nodes[i].Name, ports[i], dir)
		if n > 1 {
			text += fmt.Sprintf("cluster { name: house, listen: 127.0.0.1:%d, routes: [ %s ] }\n", ports[n+i], strings.Join(routes, ", "))
		}
		if err := os.WriteFile(nodes[i].config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes[i].Start(t)
	}
	for _, node := range nodes {
		node.Ready(t)
	}
	return nodes
}

// Start runs the server, for the first time or again.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	n.Process = run(t, n.Name, n.command(), nil)
}

// Ready waits until the server takes connections.
func (n *Node) Ready(t testing.TB) {
	t.Helper()
	Eventually(t, Patience, n.Name+" takes connections", func() error {
		nc, err := nats.Connect(n.URL, append(n.opts, nats.Timeout(2*time.Second))...)
		if err == nil {
			nc.Close()
		}
		return err
	})
}

// URLs is a list for TIDINGS_NATS_URL.
func URLs(nodes []*Node) string {
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.URL)
	}
	return strings.Join(urls, ",")
}

// freePorts are ports that nobody listens on, below those that the kernel gives to connections (from 32,768): while a killed server is away
// none of the tabs' connections may get its port. All are taken before the first is given back, so that they differ.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
			ports = append(ports, port)
		}
	}
	t.Fatalf("found only %d free ports, want %d", len(ports), n)
	return nil
}
