package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// syncInterval is how much of the streams' end a power loss can take. One second costs nothing that could be measured
// (81k/126k msgs/s against 109k/136k, inside the noise); always would cost a single node 95 %.
const syncInterval = time.Second

// startTimeout bounds the recovery of a large store.
const startTimeout = 2 * time.Minute

// Server is a nats-server within this process.
type Server struct {
	// Fixed at creation.
	ns    *server.Server
	store *store
	log   *slog.Logger

	// Guarded by mu.
	mu     sync.Mutex
	marker *marker

	down sync.Once
}

// Start runs the server and returns once clients can connect. Its errors are sentences for the terminal.
func Start(cfg Config, log *slog.Logger) (*Server, error) {
	return start(cfg, log, readBootID, freeBytes)
}

func start(cfg Config, log *slog.Logger, bootID func() (string, error), free func(string) (int64, error)) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	st, err := openStore(cfg.NATSStore, free)
	if err != nil {
		return nil, err
	}
	mk, err := openMarker(cfg.NATSStore, bootID)
	if err != nil {
		st.close()
		return nil, err
	}
	ns, err := serve(cfg, st, log, free)
	if err != nil {
		st.close()
		return nil, err
	}
	return &Server{ns: ns, store: st, log: log, marker: mk}, nil
}

func serve(cfg Config, st *store, log *slog.Logger, free func(string) (int64, error)) (*server.Server, error) {
	opts, err := options(cfg, st, free)
	if err != nil {
		return nil, err
	}
	if err := checkPort(cfg, opts); err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	lines := newLogger(log)
	ns.SetLoggerV2(lines, false, false, false)
	ns.Start()
	if err := ready(ns, lines); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, err
	}
	return ns, nil
}

func options(cfg Config, st *store, free func(string) (int64, error)) (*server.Options, error) {
	host, port, err := cfg.address()
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName:   "tidings",
		Host:         host,
		Port:         port,
		JetStream:    true,
		StoreDir:     st.dir,
		SyncInterval: syncInterval,
		NoSigs:       true, // the program owns the signals
	}
	// Left alone, the server allows three quarters of (free + used): a store that has grown past that of a nearly full disk
	// would refuse every message although there is room.
	if n, err := free(st.dir); err == nil {
		opts.JetStreamMaxStore = st.size() + n/4*3
	}
	return opts, nil
}

// checkPort asks for the address before the server does, which would only log that it is taken.
func checkPort(cfg Config, opts *server.Options) error {
	if opts.Port == server.RANDOM_PORT {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(opts.Host, fmt.Sprint(opts.Port)))
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the NATS address %s is taken by another program: stop it, connect to it with TIDINGS_NATS_URL=nats://%s, or choose another with TIDINGS_NATS_LISTEN", cfg.NATSListen, cfg.NATSListen)
	}
	return fmt.Errorf("cannot listen on the NATS address %s (%v): choose another with TIDINGS_NATS_LISTEN", cfg.NATSListen, reason(err))
}

func ready(ns *server.Server, lines *logger) error {
	for end := time.Now().Add(startTimeout); !ns.ReadyForConnections(20 * time.Millisecond); {
		select {
		case line := <-lines.fatal:
			return fmt.Errorf("the embedded NATS server does not start: %s", line)
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("the embedded NATS server is not ready after %v", startTimeout)
		}
	}
	if !ns.JetStreamEnabled() {
		return errors.New("the embedded NATS server runs without JetStream; its log lines say why")
	}
	return nil
}

// Connect is a connection within the process: no socket, and none of the listener's limits.
func (s *Server) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{
		nats.Name(name),
		nats.InProcessServer(s.ns),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // see Dial
	}, opts...)
	nc, err := nats.Connect(s.ns.ClientURL(), all...)
	if err != nil {
		return nil, fmt.Errorf("connect %s to the embedded NATS server: %w", name, err)
	}
	return nc, nil
}

// ClientURL is where other NATS clients connect, with the port that was really taken.
func (s *Server) ClientURL() string { return s.ns.ClientURL() }

// Ready tells why something cannot be stored here; nil if all can. nats-server stores nothing more in a stream after a write to its
// files has failed once, room on the disk or not, and does not answer its publishers: it takes a new start.
func (s *Server) Ready() error {
	h := s.ns.Healthz(nil)
	if h.Error == "" {
		return nil
	}
	return fmt.Errorf("%s: see to the disk of %s, then restart Tidings", h.Error, s.store.dir)
}

// PowerLost tells whether the machine went down under the run before, so that the end of the streams may be missing. It stays
// true, over restarts too, until PowerLossSettled.
func (s *Server) PowerLost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marker.cut
}

// PowerLossSettled is said by whoever has drawn the consequence of PowerLost (new epochs for the log).
func (s *Server) PowerLossSettled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marker.settle()
}

// Shutdown ends the server and waits for it; the store is then complete on the disk and free for another process.
func (s *Server) Shutdown() {
	s.down.Do(func() {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.marker.remove(); err != nil {
			s.log.Error("the clean end could not be marked; after a restart of the machine browsers will be told to reload", "error", err)
		}
		s.store.close()
	})
}
