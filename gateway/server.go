package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
	"tidings/gateway/frame"
	"tidings/gateway/netpoll"
	"tidings/gateway/tlsfront"
)

// Gateway serves browsers what the log has for them.
type Gateway struct {
	// Fixed at creation.
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	auth      *Authenticator
	rules     upgradeRules
	readers   *frame.Readers
	forms     forms
	spans     *spans
	pages     *pages
	connect   func(name string) (*nats.Conn, error)
	began     time.Time
	address   net.Addr
	pod       string // this process's name among all
	alone     bool
	admission *admission

	heartSeconds, handshakeSeconds, authSeconds, slowSeconds, lifeSeconds uint32

	listener int             // -1 when it is closed, or front listens
	front    *tlsfront.Front // nil without TLS
	loops    []*loop
	turning  atomic.Bool // loops is complete
	replay   *replay
	revoked  *revocations

	shards  atomic.Pointer[[]*shard] // nil until the log is known
	feeds   atomic.Pointer[[]*feed]
	session atomic.Uint64 // the last session's id
	open    atomic.Int64  // sessions that are not closed
	retired atomic.Bool   // not ready any more
	leaving atomic.Bool   // who comes is sent elsewhere

	background sync.WaitGroup  // short work of sessions that must not hold up a loop
	running    context.Context // of Run
}

// Needs is what a Gateway gets from outside.
type Needs struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
	Connect  func(name string) (*nats.Conn, error) // to NATS; each call a connection of its own
	Pages    http.Handler                          // what is served beside WebSockets in development mode; nil: nothing
	Full     func() bool                           // the memory is used up, so that nobody else can be taken; nil: never
	Pod      string                                // its name among all; empty: ask.PodName
	Alone    bool                                  // no other gateway can take the sessions of this one
	Traces   trace.TracerProvider                  // what makes spans; nil: none are made
}

// New checks the settings and binds the address, so that a mistake is known before anything runs.
func New(ctx context.Context, cfg Config, n Needs) (*Gateway, error) {
	if n.Registry == nil {
		n.Registry = prometheus.NewRegistry()
	}
	g := &Gateway{
		cfg: cfg, log: n.Log, metrics: newMetrics(n.Registry), connect: n.Connect, began: time.Now(), pod: cmp.Or(n.Pod, ask.PodName()), alone: n.Alone,
		readers:      frame.NewReaders(frame.Limits{MaxSize: cfg.MaxMessageBytes, RefuseBinary: true}),
		heartSeconds: seconds(cfg.Heartbeat), handshakeSeconds: seconds(cfg.HandshakeTimeout),
		authSeconds: seconds(cfg.AuthTimeout), slowSeconds: seconds(cfg.SlowTimeout), lifeSeconds: seconds(cfg.MaxLifetime),
	}
	g.revoked = &revocations{gate: g, log: n.Log, users: map[string]time.Time{}}
	var err error
	if g.rules, err = newUpgradeRules(cfg.AuthConfig); err != nil {
		return nil, err
	}
	if g.rules.dev && !IsLoopback(cfg.Listen) {
		return nil, fmt.Errorf("TIDINGS_LISTEN is %s, where others could connect as anyone: configure a key (TIDINGS_AUTH_HMAC_SECRET, TIDINGS_AUTH_PUBLIC_KEY or TIDINGS_AUTH_JWKS_URL), or listen on 127.0.0.1", cfg.Listen)
	}
	g.admission = newAdmission(&cfg, n.Full)
	g.rules.deflate = cfg.Compression
	g.forms.least, g.forms.metrics = cfg.CompressionMin, g.metrics
	g.metrics.latency.most = cfg.MetricKinds
	g.spans = newSpans(n.Traces)
	if g.auth, err = NewAuthenticator(ctx, cfg.AuthConfig, n.Log); err != nil {
		return nil, err
	}
	if err = g.listen(n); err != nil {
		g.auth.Close()
		return nil, err
	}
	var id [8]byte
	rand.Read(id[:])
	g.session.Store(binary.NativeEndian.Uint64(id[:]))
	if !g.rules.dev {
		n.Pages = nil
	}
	g.pages = newPages(g, n.Pages)
	return g, nil
}

func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// Development tells that no key is configured.
func (g *Gateway) Development() bool { return g.rules.dev }

// Addr is the bound address.
func (g *Gateway) Addr() net.Addr { return g.address }

func (g *Gateway) seconds() uint32 { return uint32(time.Since(g.began)/time.Second) + 1 }

// secondAfter is the first second that begins when d has passed.
func (g *Gateway) secondAfter(d time.Duration) uint32 {
	return uint32((time.Since(g.began)+d)/time.Second) + 2
}

func (g *Gateway) nextSession() uint64 { return g.session.Add(1) }

// Run serves until the context ends; then it closes every session with 1012 and returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	g.running = work
	defer g.auth.Close()
	defer g.closeListener()
	if g.rules.dev {
		g.log.Warn("DEVELOPMENT MODE: no key is configured, so anyone on this machine is whoever they say they are")
	}

	feedConn, err := g.connect("tidings-gateway")
	if err != nil {
		return err
	}
	defer feedConn.Close()
	replayConn, err := g.connect("tidings-gateway-replay")
	if err != nil {
		return err
	}
	defer replayConn.Close()
	js, err := jetstream.New(feedConn)
	if err != nil {
		return err
	}
	replayJS, err := jetstream.New(replayConn)
	if err != nil {
		return err
	}
	g.replay = newReplay(replayJS, &g.cfg, g.log, g.metrics)
	for i := range g.cfg.loops() {
		l, err := newLoop(i, g, g.listener)
		if err != nil {
			for _, l := range g.loops {
				l.poller.Close()
			}
			return err
		}
		g.loops = append(g.loops, l)
	}
	g.turning.Store(true)

	var loops, rest sync.WaitGroup
	serving, kill := context.WithCancel(work)
	for _, l := range g.loops {
		loops.Go(func() {
			if err := l.run(serving); err != nil {
				stop(err)
			}
		})
	}
	endTLS := g.runTLS(stop)
	rest.Go(func() { g.pages.run() })
	rest.Go(func() { g.replay.Run(work) })
	rest.Go(func() { g.revoked.Run(work, js) })
	rest.Go(func() { g.answerWho(work, feedConn) })
	rest.Go(func() { g.heed(work, feedConn) })
	rest.Go(func() {
		if err := g.follow(work, js); err != nil {
			stop(err)
		}
	})

	select {
	case <-ctx.Done():
	case <-work.Done():
	}
	g.leave(work, &loops)
	kill()
	loops.Wait()
	g.pages.stop()
	endTLS()
	err = context.Cause(work)
	stop(nil)
	rest.Wait()
	g.background.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

func (g *Gateway) closeListener() {
	if g.listener >= 0 {
		netpoll.Close(g.listener)
	}
	g.listener = -1
	g.refuseTLS()
}

// follow finds out how many shards the log has, and follows them.
func (g *Gateway) follow(ctx context.Context, js jetstream.JetStream) error {
	n, err := g.countShards(ctx, js)
	if err != nil {
		return err
	}
	shards, feeds := make([]*shard, n), make([]*feed, n)
	for i := range n {
		shards[i] = newShard(i, g.cfg.TailBytes, g.loops)
		shards[i].spans = g.spans
		feeds[i] = &feed{
			shard: shards[i], js: js, metrics: g.metrics, warm: g.cfg.TailRecords, shards: n, pod: g.pod,
			log: g.log.With("shard", i),
		}
	}
	g.shards.Store(&shards)
	g.feeds.Store(&feeds)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, f := range feeds {
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// countShards waits for the log. It is the fanout role that makes it.
func (g *Gateway) countShards(ctx context.Context, js jetstream.JetStream) (int, error) {
	for told := false; ; {
		ask, cancel := context.WithTimeout(ctx, leaderTimeout)
		stream, err := js.Stream(ask, wire.Stream(0))
		cancel()
		if err == nil {
			return shardsOf(stream.CachedInfo())
		}
		if !told && ctx.Err() == nil {
			g.log.Info("waiting for the log, which the fanout role makes", "stream", wire.Stream(0), "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(feedPause):
		}
	}
}

func shardsOf(info *jetstream.StreamInfo) (int, error) {
	text := info.Config.Metadata[wire.MetaShards]
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("stream %s has %q for %s in its metadata, want a number: it was not made by tidings", info.Config.Name, text, wire.MetaShards)
	}
	return n, nil
}

// shardOf is the shard of a user's log; nil while it cannot serve.
func (g *Gateway) shardOf(user string) *shard {
	shards := g.shards.Load()
	if shards == nil || len(*shards) == 0 {
		return nil
	}
	sh := (*shards)[wire.Shard(user, len(*shards))]
	if _, ready := sh.lag(); !ready {
		return nil
	}
	return sh
}

// positions is where each shard is, in dst's storage, with those heartbeats of old that are still true.
func (g *Gateway) positions(dst, old []followed) []followed {
	dst = dst[:0]
	shards := g.shards.Load()
	if shards == nil {
		return dst
	}
	for i, sh := range *shards {
		f := followed{position: sh.promised()}
		if i < len(old) && old[i].position == f.position {
			f = old[i]
		}
		dst = append(dst, f)
	}
	return dst
}

// verifyLater checks a token whose key must be fetched first.
func (g *Gateway) verifyLater(s *Session, token string) {
	g.background.Go(func() {
		ctx, cancel := context.WithTimeout(g.running, g.cfg.HandshakeTimeout)
		defer cancel()
		who, err := g.auth.VerifyWait(ctx, token)
		s.loop.call(func() {
			if s.verifying {
				s.verified(who, err)
			}
		})
	})
}

// refusalOf is what a browser is told when its token is not accepted.
func refusalOf(err error) (CloseCode, string) {
	var t *TokenError
	if errors.As(err, &t) {
		return t.Code, t.Reason
	}
	return closeOverloaded, "the token cannot be checked now"
}

// Ready tells why browsers should not be sent here now; nil if they should.
func (g *Gateway) Ready() error {
	feeds := g.feeds.Load()
	switch {
	case g.retired.Load():
		return errors.New("leaving")
	case feeds == nil:
		return errors.New("waiting for the log")
	}
	for i, f := range *feeds {
		if err := f.ready(g.cfg.FeedTimeout); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	return g.revoked.ready()
}

// Name is how operators address this gateway.
func (g *Gateway) Name() string { return g.pod }

// Alive tells that the process is stuck and should be ended; nil if it is not. NATS has no part in it.
func (g *Gateway) Alive() error {
	if !g.turning.Load() {
		return nil // it is about to
	}
	for _, l := range g.loops {
		if d := time.Since(time.Unix(l.alive.Load(), 0)); d > stuckAfter && !g.leaving.Load() {
			return fmt.Errorf("loop %d has not turned for %v", l.index, d.Round(time.Second))
		}
	}
	return nil
}

const stuckAfter = 20 * time.Second

// unsentBytes is what the kernel keeps of a session's unsent bytes, beyond what is on its way to the browser.
const unsentBytes = 64 << 10
