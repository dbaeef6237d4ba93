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

	Name  string
	URL   string
	Store string // the directory of its streams

	programs *Programs
	config   string // path of the configuration file
	base     string // what every configuration of it begins with, where Server made it
	env      []string
	opts     []nats.Option // of a client that it lets in
}

// Servers starts n nats-servers, a cluster if they are several, and waits until each takes connections.
func (p *Programs) Servers(t testing.TB, n int) []*Node {
	t.Helper()
	stores := make([]string, n)
	for i := range stores {
		stores[i] = t.TempDir()
	}
	return p.ServersAt(t, "127.0.0.1", stores)
}

// ServersAt starts a nats-server on an address of this machine for each directory. Clients know those that they were told, and
// learn of no other way to them.
func (p *Programs) ServersAt(t testing.TB, host string, stores []string) []*Node {
	t.Helper()
	n := len(stores)
	ports := FreePorts(t, 2*n)
	var routes []string
	for _, port := range ports[n:] {
		routes = append(routes, fmt.Sprintf("nats-route://%s:%d", host, port))
	}
	nodes := make([]*Node, n)
	for i, dir := range stores {
		nodes[i] = &Node{
			Name: fmt.Sprintf("nats-%d", i), URL: fmt.Sprintf("nats://%s:%d", host, ports[i]), Store: dir,
			programs: p, config: filepath.Join(t.TempDir(), "nats.conf"),
		}
		text := fmt.Sprintf("server_name: %s\nlisten: %s:%d\njetstream { store_dir: %q }\n", nodes[i].Name, host, ports[i], dir)
		if n > 1 {
			text += fmt.Sprintf("cluster { name: house, listen: %s:%d, no_advertise: true, routes: [ %s ] }\n", host, ports[n+i], strings.Join(routes, ", "))
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

// FreePorts are ports that nobody listens on, below those that the kernel gives to connections (from 32,768): while a killed server is away
// none of the tabs' connections may get its port. All are taken before the first is given back, so that they differ.
func FreePorts(t testing.TB, n int) []int {
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
