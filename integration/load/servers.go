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
	"slices"
	"strings"
	"time"
)

// server is one thing to measure. Its first process holds the tabs, with those of the same name; the others are what it needs to do
// so.
type server struct {
	targets     []string // ws://…
	subprotocol string
	secret      string
	admins      []string // host:port of pprof of each process with tabs; empty: they have none
	nats        string   // nats://…; empty: it has none
	env         []string // more settings of the gateways
	procs       []*process
	another     func(context.Context) (*process, error) // starts one more of those with tabs, for who has none of these; nil: it cannot
	reader      func(context.Context) *exec.Cmd         // who reads in the place of tabs; nil: tabs do
	events      *events
	dir         string
}

// builder has the binaries.
type builder struct {
	o                     *options
	dir                   string
	tidings, plain, floor string
}

func build(ctx context.Context, o *options, dir string) (*builder, error) {
	b := &builder{o: o, dir: dir, tidings: filepath.Join(dir, "tidings"), plain: filepath.Join(dir, "plain"), floor: filepath.Join(dir, "floor")}
	for _, t := range []struct{ out, pkg string }{
		{b.tidings, "tidings"}, {b.plain, "tidings/integration/load/plain"}, {b.floor, "tidings/integration/load/floor"},
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", t.out, t.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", t.pkg, err, out)
		}
	}
	return b, nil
}

// startFloor starts the program that only writes.
func startFloor(ctx context.Context, b *builder) (s *server, err error) {
	s = &server{}
	defer s.stopOn(&err)
	cmd := exec.CommandContext(ctx, b.floor, fmt.Sprintf("-bytes=%d", b.o.bytes))
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1") // to the runtime, its only goroutine never waits
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, "floor", cmd, "browsers")
	if err != nil {
		return nil, err
	}
	s.procs = []*process{p}
	s.targets = []string{"ws://" + p.address("browsers") + "/ws"}
	s.events = newEvents(newFloorSink(orders, b.o.users), b.o.users)
	return s, nil
}

// rules is the file that the fanout role is given: an audience of one by an expression, everybody, a list of many who need not
// see it, and a list of some who get all of it.
const rules = `rules:
  - name: one
    subject: events.load.*.one
    users: event.data.userId
  - name: all
    subject: events.load.*.all
    all: true
  - name: many
    subject: events.load.*.many
    users: event.data.users
    data: '{"of": "many"}'
  - name: some
    subject: events.load.*.some
    users: event.data.users
`

// startTidings starts NATS, and each role as its own process, as on a cluster. Tokens are checked.
func startTidings(ctx context.Context, b *builder) (*server, error) { return startRoles(ctx, b, 1) }

// startWrites is the same where the gateway may not use io_uring, as in many containers.
func startWrites(ctx context.Context, b *builder) (*server, error) {
	return startRoles(ctx, b, 1, "TIDINGS_IO_URING=false")
}

// startFive is for what each gateway more costs NATS, which sends it every record.
func startFive(ctx context.Context, b *builder) (*server, error) { return startRoles(ctx, b, 5) }

// startSeveral starts as many gateways as were asked for, with one NATS and one fanout.
func startSeveral(ctx context.Context, b *builder) (*server, error) {
	return startRoles(ctx, b, b.o.gateways)
}

func startRoles(ctx context.Context, b *builder, gateways int, env ...string) (s *server, err error) {
	s = &server{subprotocol: "tidings.v1", secret: secret(), env: env}
	defer s.stopOn(&err)
	if err := s.startNATS(ctx, b); err != nil {
		return nil, err
	}
	if err := s.startFanout(ctx, b); err != nil {
		return nil, err
	}
	s.another = func(ctx context.Context) (*process, error) { return s.startGateway(ctx, b) }
	return s, s.startGateways(ctx, b, gateways)
}

// startSingle starts the whole house as one process, as a first user has it.
func startSingle(ctx context.Context, b *builder) (s *server, err error) {
	s = &server{subprotocol: "tidings.v1", secret: secret()}
	defer s.stopOn(&err)
	if s.dir, err = os.MkdirTemp(b.dir, "run-"); err != nil {
		return nil, err
	}
	rules, err := s.rules()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, "tidings", s.role(ctx, b, "fanout,gateway", append(s.gateway(b), "TIDINGS_RULES="+rules,
		"TIDINGS_NATS_LISTEN=127.0.0.1:0", "TIDINGS_NATS_STORE="+filepath.Join(s.dir, "streams"))...), "admin", "browsers", "nats")
	if err != nil {
		return nil, err
	}
	s.procs, s.nats = []*process{p}, p.address("nats")
	s.holds(p)
	if err := ready(ctx, p); err != nil {
		return nil, err
	}
	return s, s.stream(b)
}

// role is a process of the product, without settings that somebody has in the environment.
func (s *server) role(ctx context.Context, b *builder, roles string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.tidings)
	cmd.Env = append(cleanEnv(), append(env, "TIDINGS_ROLES="+roles, "TIDINGS_LOG_FORMAT=json", "TIDINGS_ADMIN_LISTEN=127.0.0.1:0", "TIDINGS_PPROF=true")...)
	return cmd
}

func (s *server) rules() (file string, err error) {
	file = filepath.Join(s.dir, "rules.yaml")
	return file, os.WriteFile(file, []byte(rules), 0o600)
}

// gateway is what a process with tabs is told.
func (s *server) gateway(b *builder) []string {
	return append([]string{"TIDINGS_LISTEN=127.0.0.1:0", "TIDINGS_AUTH_HMAC_SECRET=" + s.secret,
		fmt.Sprintf("TIDINGS_CONNECTIONS_PER_USER=%d", b.o.tabs)}, s.env...)
}

func (s *server) startFanout(ctx context.Context, b *builder) error {
	rules, err := s.rules()
	if err != nil {
		return err
	}
	p, err := startProcess(ctx, "fanout", s.role(ctx, b, "fanout", "TIDINGS_NATS_URL="+s.nats, "TIDINGS_RULES="+rules), "admin")
	if err != nil {
		return err
	}
	s.procs = slices.Insert(s.procs, 0, p) // before NATS, which it needs
	return ready(ctx, p)
}

// startGateways starts gateways, puts them before the processes they need, and connects the publisher when they are ready.
func (s *server) startGateways(ctx context.Context, b *builder, n int) error {
	for range n {
		p, err := s.startGateway(ctx, b)
		if err != nil {
			return err
		}
		s.holds(p)
	}
	return s.stream(b)
}

func (s *server) startGateway(ctx context.Context, b *builder) (*process, error) {
	p, err := startProcess(ctx, "gateway", s.role(ctx, b, "gateway", append(s.gateway(b), "TIDINGS_NATS_URL="+s.nats)...), "admin", "browsers")
	if err != nil {
		return nil, err
	}
	s.procs = slices.Insert(s.procs, len(s.targets), p)
	return p, ready(ctx, p)
}

// holds says that a process has tabs.
func (s *server) holds(p *process) {
	s.targets, s.admins = append(s.targets, "ws://"+p.address("browsers")+"/ws"), append(s.admins, p.address("admin"))
}

// stream connects the publisher.
func (s *server) stream(b *builder) error {
	sink, err := newStreamSink(s.nats, b.o.bytes)
	if err != nil {
		return err
	}
	s.events = newEvents(sink, b.o.users)
	return nil
}

// startPlain starts the goroutine-per-connection server.
func startPlain(ctx context.Context, b *builder) (s *server, err error) {
	s = &server{}
	defer s.stopOn(&err)
	if err := s.startNATS(ctx, b); err != nil {
		return nil, err
	}
	s.another = func(ctx context.Context) (*process, error) {
		p, err := startProcess(ctx, "plain", exec.CommandContext(ctx, b.plain, "-nats", s.nats), "admin", "browsers")
		if err == nil {
			s.procs = slices.Insert(s.procs, len(s.targets), p)
		}
		return p, err
	}
	p, err := s.another(ctx)
	if err != nil {
		return nil, err
	}
	s.holds(p)
	sink, err := newCoreSink(s.nats, b.o.bytes)
	if err != nil {
		return nil, err
	}
	s.events = newEvents(sink, b.o.users)
	return s, nil
}

func (s *server) startNATS(ctx context.Context, b *builder) (err error) {
	if s.dir, err = os.MkdirTemp(b.dir, "run-"); err != nil {
		return err
	}
	p, err := startProcess(ctx, "nats", again(ctx, "nats", filepath.Join(s.dir, "streams")), "nats")
	if err != nil {
		return err
	}
	s.procs, s.nats = append(s.procs, p), p.address("nats")
	return nil
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
