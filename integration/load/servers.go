//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// server is one thing to measure. Its first process is the one that holds the tabs; the others are what it needs to do so.
type server struct {
	name        string
	target      string // ws://…
	subprotocol string
	secret      string
	admin       string // host:port of pprof
	procs       []*process
	events      *events
	dir         string
}

// kind makes a server of one kind. A further one, a bare floor for instance, is one more of these.
type kind struct {
	name  string
	start func(context.Context, *builder) (*server, error)
}

// kinds are in the order of the table; ratios are to the first.
var kinds = []kind{{"Tidings", startTidings}, {"plain", startPlain}}

// builder has the binaries.
type builder struct {
	o       *options
	dir     string
	tidings string
	plain   string
}

func build(ctx context.Context, o *options, dir string) (*builder, error) {
	b := &builder{o: o, dir: dir, tidings: filepath.Join(dir, "tidings"), plain: filepath.Join(dir, "plain")}
	for _, t := range []struct{ out, pkg string }{{b.tidings, "tidings"}, {b.plain, "tidings/integration/load/plain"}} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", t.out, t.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", t.pkg, err, out)
		}
	}
	return b, nil
}

// rules is the file that the fanout role is given: an audience of one by an expression, and everybody.
const rules = `rules:
  - name: one
    subject: events.load.*.one
    users: event.data.userId
  - name: all
    subject: events.load.*.all
    all: true
`

// startTidings starts NATS, and each role as its own process, as on a cluster. Tokens are checked.
func startTidings(ctx context.Context, b *builder) (s *server, err error) {
	s = &server{name: "Tidings", subprotocol: "tidings.v1", secret: secret()}
	defer s.stopOn(&err)
	nats, url, err := s.startNATS(ctx, b)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "rules.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		return nil, err
	}
	role := func(name string, env ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, b.tidings)
		cmd.Env = append(cleanEnv(), append(env, "TIDINGS_ROLES="+name, "TIDINGS_NATS_URL="+url, "TIDINGS_LOG_FORMAT=json", "TIDINGS_ADMIN_LISTEN=127.0.0.1:0")...)
		return cmd
	}
	fan, err := startProcess(ctx, "fanout", role("fanout", "TIDINGS_RULES="+file), "admin")
	if err != nil {
		return nil, err
	}
	s.procs = append(s.procs, fan)
	gate, err := startProcess(ctx, "gateway", role("gateway", "TIDINGS_LISTEN=127.0.0.1:0", "TIDINGS_AUTH_HMAC_SECRET="+s.secret,
		fmt.Sprintf("TIDINGS_CONNECTIONS_PER_USER=%d", b.o.tabs)), "admin", "browsers")
	if err != nil {
		return nil, err
	}
	s.procs = []*process{gate, fan, nats}
	s.admin, s.target = gate.address("admin"), "ws://"+gate.address("browsers")+"/ws"
	for _, p := range s.procs[:2] {
		if err := ready(ctx, p); err != nil {
			return nil, err
		}
	}
	s.events, err = newEvents(url, b.o, true)
	return s, err
}

func startPlain(ctx context.Context, b *builder) (s *server, err error) {
	s = &server{name: "plain"}
	defer s.stopOn(&err)
	nats, url, err := s.startNATS(ctx, b)
	if err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, "plain", exec.CommandContext(ctx, b.plain, "-nats", url), "admin", "browsers")
	if err != nil {
		return nil, err
	}
	s.procs = []*process{p, nats}
	s.admin, s.target = p.address("admin"), "ws://"+p.address("browsers")+"/ws"
	s.events, err = newEvents(url, b.o, false)
	return s, err
}

func (s *server) startNATS(ctx context.Context, b *builder) (p *process, url string, err error) {
	if s.dir, err = os.MkdirTemp(b.dir, "run-"); err != nil {
		return nil, "", err
	}
	if p, err = startProcess(ctx, "nats", again(ctx, "nats", filepath.Join(s.dir, "streams")), "nats"); err != nil {
		return nil, "", err
	}
	s.procs = append(s.procs, p)
	return p, p.address("nats"), nil
}

// ready waits for a role to say that it can serve.
func ready(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := get(ctx, "http://"+p.address("admin")+"/readyz", io.Discard)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w", p.name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("%s: %s: %s", url, resp.Status, reason)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// stop ends the processes, those first that need the others.
func (s *server) stop() error {
	var errs []error
	if s.events != nil {
		s.events.close()
	}
	for _, p := range s.procs {
		errs = append(errs, p.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// stopOn stops what was started of a server that did not get up.
func (s *server) stopOn(err *error) {
	if *err != nil {
		*err = errors.Join(*err, s.stop())
	}
}

// cleanEnv is the environment without what would change the product's settings.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TIDINGS_") {
			env = append(env, v)
		}
	}
	return env
}

func secret() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
