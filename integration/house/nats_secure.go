package house

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
)

// Server starts one nats-server with more in its configuration and environment. The options are those of a client that it lets in.
func (p *Programs) Server(t testing.TB, more string, env []string, opts ...nats.Option) *Node {
	t.Helper()
	dir, port := t.TempDir(), FreePorts(t, 1)[0]
	n := &Node{
		Name: "nats", URL: fmt.Sprintf("nats://127.0.0.1:%d", port), programs: p, config: filepath.Join(dir, "nats.conf"), env: env, opts: opts,
	}
	n.Configure(t, fmt.Sprintf("server_name: nats\nlisten: 127.0.0.1:%d\njetstream { store_dir: %q }\n", port, dir), more)
	n.Start(t)
	n.Ready(t)
	return n
}

// Configure writes the server's configuration; it has an effect when the server starts, or reads it again.
func (n *Node) Configure(t testing.TB, base, more string) {
	t.Helper()
	if base != "" {
		n.base = base
	}
	if err := os.WriteFile(n.config, []byte(n.base+more), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *Node) command() *exec.Cmd {
	cmd := exec.Command(n.programs.NATS, "-c", n.config)
	cmd.Env = append(os.Environ(), n.env...)
	return cmd
}
