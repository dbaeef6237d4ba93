// Tidings: events on NATS reach every open browser tab of the users they concern, in order, exactly once.
//
// See README.md; `tidings help` lists the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"tidings/fanout"
	"tidings/gateway"
	"tidings/gateway/admin"
	"tidings/gateway/ask"
	"tidings/gateway/control"
	"tidings/gateway/demo"
	"tidings/gateway/inquiry"
	"tidings/gateway/picture"
	"tidings/ingest"
	"tidings/ingest/memory"
	"tidings/ingest/natsd"
	"tidings/ingest/tracing"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tidings:", err)
		os.Exit(1)
	}
}

const usage = `usage:
  tidings                                       run; the settings are environment variables
  tidings publish SUBJECT [JSON]                publish an event, from the argument or standard input
  tidings token --user alice [--ttl 1h]         print a token signed with TIDINGS_AUTH_HMAC_SECRET
  tidings shed GATEWAY 20% [--over 30s]         let a gateway give a share, or a number, of its sessions away; tidings shed lists them
  tidings balance [--least-connections]         let gateways give away what they have more than others
  tidings revoke USER                           close the user's sessions, and refuse the tokens issued so far
  tidings config                                print every setting with its default and meaning
` + inquiry.Usage

func command(args []string) error {
	var cfg config
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		fmt.Print(usage)
		return nil
	}
	if len(args) > 0 && args[0] == "config" {
		return printConfig(os.Stdout)
	}
	if err := cfg.load(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case len(args) == 0:
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		return run(ctx, &cfg)
	case args[0] == "publish":
		do, err := ingest.Command(args[1:], os.Stdin)
		return cfg.operate(ctx, args[0], natsd.RolePublisher, do, err)
	case args[0] == "token":
		return cfg.AuthConfig.Command(args[1:], os.Stdout)
	case args[0] == "shed", args[0] == "balance", args[0] == "revoke":
		do, err := control.Command(args)
		return cfg.operate(ctx, args[0], natsd.RoleOperator, do, err)
	case args[0] == "trace", args[0] == "who":
		return inquiry.Command(ctx, args, inquiry.Environment{Connect: cfg.asOperator, Rules: cfg.Rules, Out: os.Stdout})
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], strings.TrimSuffix(usage, "\n"))
}

// The settings of the rooms, under names that can stand beside each other in one struct.
type (
	NATSConfig    = natsd.Config
	NATSAccess    = natsd.Access
	AdminConfig   = admin.Config
	IngestConfig  = ingest.Config
	FanoutConfig  = fanout.Config
	GatewayConfig = gateway.Config
)

type config struct {
	Roles       []string `envconfig:"ROLES" default:"fanout,gateway" desc:"what this process does: fanout, gateway, or both, separated by commas"`
	NATSURL     string   `envconfig:"NATS_URL" desc:"NATS servers, separated by commas; empty: NATS runs within this process"`
	MemoryLimit int64    `envconfig:"MEMORY_LIMIT" default:"0" desc:"memory of the process and its sockets, in bytes: new browsers are turned away when it is used up; 0: the container's limit, -1: none"`
	LogFormat   string   `envconfig:"LOG_FORMAT" default:"text" desc:"text or json"`
	LogLevel    string   `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
	AdminConfig
	NATSAccess
	NATSConfig
	IngestConfig
	FanoutConfig
	GatewayConfig
}

func (c *config) load() error {
	if err := envconfig.Process("tidings", c); err != nil {
		var p *envconfig.ParseError
		if errors.As(err, &p) {
			return fmt.Errorf("%s is %q, want %s", p.KeyName, p.Value, wants(p.TypeName))
		}
		return err
	}
	return c.Validate()
}

// wants says in words what a setting of a Go type looks like.
func wants(typeName string) string {
	switch typeName {
	case "time.Duration":
		return "a duration such as 25s, 10m or 24h"
	case "bool", "*bool":
		return "true or false"
	case "int", "int64":
		return "a whole number"
	}
	return typeName
}

// Validate tells what is wrong with the settings, all of it.
func (c *config) Validate() error {
	var errs []error
	for _, r := range c.Roles {
		if r != "fanout" && r != "gateway" {
			errs = append(errs, fmt.Errorf("TIDINGS_ROLES has %q, want fanout, gateway, or both", r))
		}
	}
	if len(c.Roles) == 0 {
		errs = append(errs, errors.New("TIDINGS_ROLES is empty, want fanout, gateway, or both"))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		errs = append(errs, fmt.Errorf("TIDINGS_LOG_FORMAT is %q, want text or json", c.LogFormat))
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.LogLevel)); err != nil {
		errs = append(errs, fmt.Errorf("TIDINGS_LOG_LEVEL is %q, want debug, info, warn or error", c.LogLevel))
	}
	if c.NATSURL == "" {
		errs = append(errs, c.NATSConfig.Validate())
		if len(c.Roles) == 1 && (c.has("fanout") || c.has("gateway")) {
			errs = append(errs, errors.New("one role alone needs TIDINGS_NATS_URL: the other could not reach the NATS within this process"))
		}
	}
	errs = append(errs, c.NATSAccess.Validate(c.NATSURL), c.AdminConfig.Validate())
	return errors.Join(append(errs, c.IngestConfig.Validate(), c.FanoutConfig.Validate(), c.GatewayConfig.Validate())...)
}

func (c *config) has(role string) bool { return slices.Contains(c.Roles, role) }

// speaksFor is whose permissions NATS applies to this process. One with both roles needs those of both.
func (c *config) speaksFor() natsd.Role {
	if c.has("fanout") {
		return natsd.RoleFanout
	}
	return natsd.RoleGateway
}

func (c *config) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.LogLevel)) // Validate has seen it
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// printConfig is `tidings config`.
func printConfig(w io.Writer) error {
	tabs := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	defer tabs.Flush()
	return envconfig.Usagef("tidings", new(config), tabs,
		"VARIABLE\tDEFAULT\tMEANING\n{{range .}}{{usage_key .}}\t{{usage_default .}}\t{{usage_description .}}\n{{end}}")
}

// house is what runs in one process.
type house struct {
	cfg   *config
	log   *slog.Logger
	reg   *prometheus.Registry
	admin net.Listener
	nats  *natsd.Server // nil with a server outside

	memory *memory.Budget   // nil: no limit
	denied *natsd.Denials   // what NATS does not allow us
	traces *tracing.Tracing // nil when they are off

	gateway *gateway.Gateway // nil without the role
	source  atomic.Pointer[ingest.Source]
	pages   atomic.Pointer[jetstream.JetStream] // what the pages publish and search with
	history *picture.History
	picture http.Handler // the page /tidings
}

// run is the whole of a process's life. Everything that can be wrong with the settings is found before anything runs.
func run(ctx context.Context, cfg *config) error {
	h := &house{cfg: cfg, log: cfg.logger(os.Stderr), reg: prometheus.NewRegistry()}
	slog.SetDefault(h.log)
	h.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h.denied = natsd.NewDenials(h.log, h.reg)
	if err := envconfig.CheckDisallowed("tidings", cfg); err != nil {
		h.log.Warn("a variable is not known; `tidings config` lists them", "error", err)
	}
	var rules *fanout.Rules
	var err error
	if cfg.Rules != "" && cfg.has("fanout") {
		if rules, err = fanout.LoadRules(cfg.Rules); err != nil {
			return err
		}
	}
	if h.memory, err = memory.New(cfg.MemoryLimit, h.log, h.reg); err != nil {
		return err
	}
	if h.admin, err = net.Listen("tcp", cfg.AdminListen); err != nil {
		return fmt.Errorf("cannot listen on %s (TIDINGS_ADMIN_LISTEN): %w", cfg.AdminListen, err)
	}
	defer h.admin.Close()
	h.history = picture.NewHistory(h.reg)
	h.picture = picture.House{Pod: ask.PodName(), Roles: cfg.Roles, Started: time.Now(), History: h.history, Search: h.search, Ready: h.ready}.Handler()
	if h.traces, err = tracing.Start(ctx, h.log, h.reg, cfg.Roles); err != nil {
		return err
	}
	defer h.traces.Close()
	if cfg.has("gateway") {
		needs := gateway.Needs{
			Log: h.log, Registry: h.reg, Connect: h.connect, Pages: h.devPages(), Full: h.memory.Full, Alone: cfg.NATSURL == "", Traces: h.traces.Provider(),
		}
		if h.gateway, err = gateway.New(ctx, cfg.GatewayConfig, needs); err != nil {
			return err
		}
	}
	if cfg.NATSURL == "" {
		if h.nats, err = natsd.Start(cfg.NATSConfig, h.log); err != nil {
			return err
		}
		defer h.nats.Shutdown() // last
		h.listening("nats", strings.TrimPrefix(h.nats.ClientURL(), "nats://"))
	}
	return h.live(ctx, rules)
}

// live runs the roles until the context ends or one of them cannot go on. Events come to rest first, then the browsers leave.
func (h *house) live(ctx context.Context, rules *fanout.Rules) error {
	nc, err := h.connect("tidings")
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	defer js.CleanupPublisher()
	h.pages.Store(&js)

	admin := &http.Server{Handler: h.adminPages(), ReadHeaderTimeout: 10 * time.Second}
	go admin.Serve(h.admin)
	defer admin.Close()
	h.listening("admin", h.admin.Addr().String())

	if h.nats != nil { // after a loss of power the epoch is raised before anybody follows the log
		if _, err := h.ensureLog(ctx, nc, js); err != nil {
			return err
		}
	}
	work, fail := context.WithCancel(ctx) // ends with ctx, or when a role fails
	defer fail()
	browsers, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	if h.memory != nil {
		go h.memory.Run(browsers)
	}
	go memory.Pace(browsers)
	var roles errgroup.Group
	roles.Go(func() error { h.history.Run(work); return nil })
	if h.gateway != nil {
		h.listening("browsers", h.gateway.Addr().String())
		context.AfterFunc(work, h.gateway.Retire) // while events come to rest
		roles.Go(func() error { defer fail(); return h.gateway.Run(browsers) })
	}
	roles.Go(func() error {
		defer leave()
		if !h.cfg.has("fanout") {
			<-work.Done()
			return nil
		}
		defer fail()
		return h.fanout(work, nc, js, rules)
	})
	h.greet()
	err = roles.Wait()
	h.log.Info("ended", "error", err)
	return err
}

// fanout takes events, one by one of each aggregate, and stores the records they make.
func (h *house) fanout(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, rules *fanout.Rules) error {
	logConfig, err := h.ensureLog(ctx, nc, js)
	if err != nil || ctx.Err() != nil {
		return err
	}
	publisher := fanout.NewPublisher(js, logConfig, h.log, h.reg)
	fan := fanout.New(rules, publisher, h.log, h.reg)
	source, err := ingest.NewSource(nc, h.cfg.IngestConfig, h.log, h.reg)
	if err != nil {
		return err
	}
	source.Trace(h.traces.Provider())
	h.source.Store(source)
	var asked sync.WaitGroup
	defer asked.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	asked.Go(func() { inquiry.AnswerRules(ctx, js, rules, publisher.Shards(), h.log) })
	return source.Run(ctx, fan.Handle)
}

// ensureLog makes the log's streams, and waits for NATS to be able to.
func (h *house) ensureLog(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) (c fanout.LogConfig, err error) {
	for told := false; ; {
		powerLost := h.nats != nil && h.nats.PowerLost()
		c = h.cfg.FanoutConfig.Log(h.cfg.ReplicasOn(nc), h.cfg.Duplicates)
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		if err = errNotConnected; nc.IsConnected() {
			err = fanout.EnsureLog(try, js, c, powerLost)
			if err == nil {
				err = fanout.EnsureControl(try, js, h.cfg.Control(c.Replicas))
			}
		}
		cancel()
		switch {
		case err == nil && powerLost:
			h.log.Warn("the machine went down under the last run, so the end of the log may be missing: browsers that were further are told to reload")
			return c, h.nats.PowerLossSettled()
		case err == nil, ctx.Err() != nil:
			return c, nil
		case errors.Is(err, fanout.ErrShards):
			return c, err
		case !told:
			h.log.Info("waiting for NATS to make the log", "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

var errNotConnected = errors.New("not connected")

// connect is a connection of its own to NATS, within this process or outside.
func (h *house) connect(name string) (*nats.Conn, error) {
	if h.nats != nil {
		return h.nats.Connect(name)
	}
	return h.cfg.NATSAccess.Dial(h.cfg.NATSURL, name, h.cfg.speaksFor(), h.log, h.denied)
}

// publish is for the page of development mode.
func (h *house) publish(ctx context.Context, subject string, body []byte, headers map[string]string) error {
	js := h.pages.Load()
	if js == nil {
		return errors.New("NATS is not there yet, try again in a moment")
	}
	header := nats.Header{}
	for k, v := range headers {
		header.Set(k, v)
	}
	return ingest.Publish(ctx, *js, subject, body, header)
}

// search is for the page /tidings; nil while NATS is not there yet.
func (h *house) search() *inquiry.Search {
	js := h.pages.Load()
	if js == nil {
		return nil
	}
	return &inquiry.Search{JS: *js, Limit: inquiry.DefaultLimit, Patience: inquiry.PagePatience}
}

// devPages are on the browsers' address in development mode only.
func (h *house) devPages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", demo.Handler(h.publish))
	mux.Handle("/tidings", h.picture)
	mux.Handle("/tidings/", h.picture)
	return mux
}

func (h *house) listening(what, address string) {
	h.log.Info("listening", "what", what, "address", address)
}

// greet tells a newcomer what to do next.
func (h *house) greet() {
	if h.nats == nil || h.gateway == nil || !h.gateway.Development() {
		return
	}
	_, port, _ := net.SplitHostPort(h.gateway.Addr().String())
	fmt.Printf(`
Tidings is running, with NATS on %s and its data in %s.

  open     http://localhost:%s/?user=alice  and  http://localhost:%[3]s/?user=bob
  publish  go run . publish events.orders.1042.shipped '{"userIds":["alice","bob"],"status":"shipped"}'
  or       nats pub events.orders.1042.shipped '{"userId":"alice","status":"shipped"}'
  stop     Ctrl-C

`, h.nats.ClientURL(), h.cfg.NATSStore, port)
}

// adminPages answers operators and Kubernetes. Ready asks: may browsers and events be sent here? Health asks: is it stuck?
func (h *house) adminPages() *admin.Pages {
	pages := admin.New(h.cfg.AdminConfig, admin.Needs{
		Alive: h.alive, Ready: h.ready, Metrics: h.reg, Development: h.gateway != nil && h.gateway.Development(),
	})
	pages.Handle("/tidings", h.picture)
	pages.Handle("/tidings/", h.picture)
	return pages
}

func (h *house) alive() error {
	if h.gateway == nil {
		return nil
	}
	return h.gateway.Alive()
}

func (h *house) ready() error {
	errs := []error{h.denied.Ready()}
	if h.nats != nil {
		if err := h.nats.Ready(); err != nil {
			errs = append(errs, fmt.Errorf("nats: %w", err))
		}
	}
	if h.gateway != nil {
		if err := h.gateway.Ready(); err != nil {
			errs = append(errs, fmt.Errorf("gateway: %w", err))
		}
	}
	if h.cfg.has("fanout") {
		source := h.source.Load()
		if source == nil {
			errs = append(errs, errors.New("fanout: waiting for NATS"))
		} else if err := source.Ready(); err != nil {
			errs = append(errs, fmt.Errorf("fanout: %w", err))
		}
	}
	return errors.Join(errs...)
}

// connectOnce is the connection of a command: to NATS outside, or within a process that runs on this machine.
func (c *config) connectOnce(name string, role natsd.Role) (*nats.Conn, error) {
	url := c.NATSURL
	if url == "" {
		url = "nats://" + c.NATSListen
	}
	return c.NATSAccess.DialOnce(url, name, role)
}

// asOperator is connectOnce for who asks.
func (c *config) asOperator(_ context.Context, name string) (*nats.Conn, error) {
	return c.connectOnce(name, natsd.RoleOperator)
}

// operate does a command that was read from the command line over a connection with the role's permissions.
func (c *config) operate(ctx context.Context, command string, role natsd.Role, do control.Do, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	nc, err := c.connectOnce("tidings "+command, role)
	if err != nil {
		return err
	}
	defer nc.Close()
	return do(ctx, nc, os.Stdout)
}
