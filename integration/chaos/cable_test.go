//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"tidings/integration/house"
)

// cable is the way of one gateway to NATS, which can be cut in silence: nothing is refused or reset, nothing arrives.
type cable interface {
	kind() string
	nats() string       // the address for the servers to listen on
	gateway() string    // the address for the gateway to listen on
	urls(string) string // NATS URLs as the gateway has to know them
	programs() *house.Programs
	cut(cut bool)
}

// newCable takes network namespaces where this process may make them, and elsewhere proxies.
func newCable(t *testing.T, p *house.Programs) cable {
	if !*proxies {
		c, err := newNamespace(t, p)
		if err == nil {
			return c
		}
		t.Logf("no network namespaces (%v): proxies cut the gateway off instead", err)
	}
	return &valves{t: t, p: p}
}

// namespace is a network of the gateway's own with two cables, to browsers and to NATS.
type namespace struct {
	t    *testing.T
	p    *house.Programs
	name string
	net  string // the first three numbers of all addresses
}

func newNamespace(t *testing.T, p *house.Programs) (*namespace, error) {
	n := &namespace{t: t, p: p, name: fmt.Sprintf("chaos%d", os.Getpid()), net: fmt.Sprintf("10.%d.%d", 100+rand.IntN(100), rand.IntN(250))}
	t.Cleanup(func() { n.remove() })
	return n, ip(
		"netns add "+n.name,
		"-n "+n.name+" link set lo up",
		// To browsers.
		"link add "+n.name+"b type veth peer name browsers netns "+n.name,
		"addr add "+n.net+".1/30 dev "+n.name+"b",
		"link set "+n.name+"b up",
		"-n "+n.name+" addr add "+n.net+".2/30 dev browsers",
		"-n "+n.name+" link set browsers up",
		// To NATS, whose address stays when the cable is pulled.
		"link add "+n.name+"n type veth peer name nats netns "+n.name,
		"addr add "+n.net+".5/30 dev "+n.name+"n",
		"link set "+n.name+"n up",
		"-n "+n.name+" addr add "+n.net+".6/30 dev nats",
		"-n "+n.name+" link set nats up",
		"addr add "+n.nats()+"/32 dev lo",
		"-n "+n.name+" route add "+n.nats()+"/32 via "+n.net+".5",
		// What NATS sends then must not look for another way.
		"route add blackhole "+n.net+".4/30 metric 1000",
	)
}

func (n *namespace) remove() {
	for _, line := range []string{
		"route del blackhole " + n.net + ".4/30 metric 1000",
		"addr del " + n.nats() + "/32 dev lo",
		"link del " + n.name + "n",
		"link del " + n.name + "b",
		"netns del " + n.name,
	} {
		if err := ip(line); err != nil && !n.t.Skipped() {
			n.t.Log(err) // it may not have been there
		}
	}
}

// ip runs the command of that name for each line, until one fails.
func ip(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}

func (n *namespace) kind() string            { return "network namespaces" }
func (n *namespace) nats() string            { return n.net + ".9" }
func (n *namespace) gateway() string         { return n.net + ".2" }
func (n *namespace) urls(list string) string { return list }

func (n *namespace) programs() *house.Programs { return n.p.Within("ip", "netns", "exec", n.name) }

func (n *namespace) cut(cut bool) {
	state := "up"
	if cut {
		state = "down"
	}
	if err := ip("link set " + n.name + "n " + state); err != nil {
		n.t.Error(err)
	}
}
