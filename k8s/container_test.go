package k8s

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tidings/integration/house"
)

// container is one of a pod that runs on this machine as the kubelet would run it: the image's files and no others, its user, the
// environment of ConfigMaps and Secrets, their volumes, and only what the machine is not like changed.
type container struct {
	t    *testing.T
	of   workload
	cmd  *exec.Cmd
	root string

	ended chan struct{}

	mu        sync.Mutex // guards the following
	lines     []string
	addresses map[string]string
}

// start runs the container of a workload. more are settings in the place of those that only a cluster can have.
func start(t *testing.T, all rendered, w workload, natsAt []string, more map[string]string) *container {
	t.Helper()
	c := &container{t: t, of: w, root: t.TempDir(), ended: make(chan struct{}), addresses: map[string]string{}}
	imageFiles(t, c.root)
	volumes(t, all, w, c.root)
	c.cmd = exec.Command("/tidings")
	c.cmd.Dir = "/"
	for name, value := range c.settings(all, natsAt, more) {
		c.cmd.Env = append(c.cmd.Env, name+"="+value)
	}
	confine(c.cmd, c.root, w.spec().SecurityContext)
	out, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", w, err)
	}
	go c.read(out)
	t.Cleanup(c.clean)
	return c
}

// inPlace runs the command below root without making it the process's world: the paths in its settings are changed instead.
func inPlace(cmd *exec.Cmd, root string) {
	cmd.Path, cmd.Dir = filepath.Join(root, cmd.Path), root
	for i, setting := range cmd.Env {
		cmd.Env[i] = strings.ReplaceAll(setting, "=/etc/tidings/", "="+root+"/etc/tidings/")
	}
}

// settings are the pod's environment on this machine.
func (c *container) settings(all rendered, natsAt []string, more map[string]string) map[string]string {
	env := environment(c.t, all, c.of)
	for _, from := range c.of.container().EnvFrom {
		if from.SecretRef != nil && (from.SecretRef.Optional == nil || !*from.SecretRef.Optional) {
			for name, value := range secret(c.t, all, from.SecretRef.Name) {
				env[name] = string(value)
			}
		}
	}
	users, err := url.Parse(env["TIDINGS_NATS_URL"])
	if err != nil {
		c.t.Fatal(err)
	}
	var at []string
	for _, host := range natsAt {
		at = append(at, (&url.URL{Scheme: "nats", User: users.User, Host: host}).String())
	}
	env["TIDINGS_NATS_URL"] = strings.Join(at, ",")
	env["TIDINGS_LISTEN"], env["TIDINGS_ADMIN_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
	if c.of.component() != "gateway" {
		delete(env, "TIDINGS_LISTEN")
	}
	for name, value := range more {
		env[name] = value
	}
	return env
}

// imageFiles puts what the Dockerfile copies into the image below dir.
func imageFiles(t *testing.T, dir string) {
	t.Helper()
	for _, c := range given(image(t), "COPY") {
		fields := strings.Fields(c)
		from, to := fields[1], filepath.Join(dir, fields[2])
		switch {
		case from == "/tidings":
			from = binary(t)
		case strings.HasPrefix(from, "/usr/local/go/"):
			root, err := exec.Command("go", "env", "GOROOT").Output()
			if err != nil {
				t.Fatal(err)
			}
			from = filepath.Join(strings.TrimSpace(string(root)), strings.TrimPrefix(from, "/usr/local/go/"))
		case from == "/etc/ssl/certs/ca-certificates.crt":
			continue // the builder has it; this machine need not, and the tests ask nobody outside
		}
		if err := copyFile(from, to, 0o755); err != nil {
			t.Fatalf("the image's %s: %v", fields[2], err)
		}
	}
}

// read keeps the log, and the addresses in it.
func (c *container) read(out io.Reader) {
	defer close(c.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var l struct{ Msg, What, Address string }
		_ = json.Unmarshal(lines.Bytes(), &l) // what is no JSON has no address
		c.mu.Lock()
		c.lines = append(c.lines, lines.Text())
		if l.Msg == "listening" {
			c.addresses[l.What] = l.Address
		}
		c.mu.Unlock()
	}
	_ = c.cmd.Wait() // how it ended is in ProcessState
}

func (c *container) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

func (c *container) clean() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.ended
	if log := c.log(); strings.Contains(log, "is not known") || strings.Contains(log, "panic:") {
		c.t.Errorf("%s:\n%s", c.of, log)
	}
	if c.t.Failed() {
		lines := strings.Split(c.log(), "\n")
		c.t.Logf("%s (%v) wrote at last:\n%s", c.of, c.cmd.ProcessState, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
}

// mustRun fails at once when the process has ended by itself.
func (c *container) mustRun() {
	c.t.Helper()
	select {
	case <-c.ended:
		c.t.Fatalf("%s ended: %v", c.of, c.cmd.ProcessState)
	default:
	}
}

// address is where the container's port of this name is on this machine.
func (c *container) address(port string) string {
	c.t.Helper()
	what := map[string]string{"http": "browsers", "admin": "admin"}[port]
	address := ""
	house.Eventually(c.t, house.Patience, c.of.String()+" listens for "+what, func() error {
		c.mustRun()
		c.mu.Lock()
		defer c.mu.Unlock()
		if address = c.addresses[what]; address == "" {
			return fmt.Errorf("it does not yet: %v", c.lines)
		}
		return nil
	})
	return address
}
