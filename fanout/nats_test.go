package fanout

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// node is a NATS server with JetStream that a test may stop and start again on the same port and store.
type node struct {
	t    *testing.T
	opts server.Options
	srv  *server.Server
}

func startNode(t *testing.T, change ...func(*server.Options)) *node {
	t.Helper()
	n := &node{t: t, opts: server.Options{
		Host:      "127.0.0.1",
		Port:      server.RANDOM_PORT,
		JetStream: true,
		StoreDir:  t.TempDir(),
		NoLog:     true,
		NoSigs:    true,
	}}
	for _, f := range change {
		f(&n.opts)
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *node) start() {
	n.t.Helper()
	opts := n.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		n.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		n.t.Fatal("the NATS server does not start")
	}
	n.srv, n.opts.Port = srv, opts.Port
}

func (n *node) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// connect gives a JetStream context made the way main makes it.
func (n *node) connect() jetstream.JetStream {
	n.t.Helper()
	return connect(n.t, n.srv.ClientURL())
}

func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		js.CleanupPublisher()
		nc.Close()
		<-closed
	})
	return js
}

func logConfig(shards int) LogConfig {
	return LogConfig{Shards: shards, MaxAge: time.Hour, MaxBytes: -1, Replicas: 1, Duplicates: 2 * time.Minute}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newLog makes the streams, and a Publisher for them.
func newLog(t *testing.T, js jetstream.JetStream, cfg LogConfig) *Publisher {
	t.Helper()
	if err := EnsureLog(context.Background(), js, cfg, false); err != nil {
		t.Fatal(err)
	}
	return NewPublisher(js, cfg, quiet(), nil)
}

// stored is a Record as it lies in the log.
type stored struct {
	wire.Record
	shard int
	id    string
}

// readLog reads all Records of all shards, in order.
func readLog(t *testing.T, js jetstream.JetStream, shards int) []stored {
	t.Helper()
	var out []stored
	for s := range shards {
		stream, err := js.Stream(context.Background(), wire.Stream(s))
		if err != nil {
			t.Fatal(err)
		}
		n := stream.CachedInfo().State.Msgs
		if n == 0 {
			continue
		}
		c, err := js.OrderedConsumer(context.Background(), wire.Stream(s), jetstream.OrderedConsumerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		it, err := c.Messages(jetstream.PullHeartbeat(500 * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			m, err := it.Next(jetstream.NextMaxWait(10 * time.Second))
			if err != nil {
				t.Fatal(err)
			}
			v, err := wire.Parse(m.Data())
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, stored{v.Record(), s, m.Headers().Get(jetstream.MsgIDHeader)})
		}
		it.Stop()
	}
	return out
}

// eventually polls until ok, for 20 s at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
