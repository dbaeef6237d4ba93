// Command plain is what Tidings is measured against: a WebSocket server as most Go programs have one, made of the parts that
// gorilla/websocket's chat example shows, with two goroutines, two buffers and a channel of 256 for a connection.
//
// It is fed by a core NATS subscription on "plain.>" with the users in each message. It has no log, no cursor, no resume and no
// tokens, and a tab that falls behind is closed: so it does less than Tidings, for the same event to the same tab.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address for browsers")
	admin := flag.String("admin", "127.0.0.1:0", "address of pprof")
	url := flag.String("nats", "nats://127.0.0.1:4222", "NATS server")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log, *listen, *admin, *url); err != nil {
		log.Error("ended", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, listen, admin, url string) error {
	browsers, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer browsers.Close()
	operators, err := net.Listen("tcp", admin)
	if err != nil {
		return err
	}
	defer operators.Close()
	h := newHub()
	nc, err := nats.Connect(url, nats.Name("plain"))
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := nc.Subscribe("plain.>", func(m *nats.Msg) { h.dispatch(log, m.Data) }); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", h.serve)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	pprof := &http.Server{Handler: http.DefaultServeMux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(browsers) }()
	go func() { failed <- pprof.Serve(operators) }()
	log.Info("listening", "what", "browsers", "address", browsers.Addr().String())
	log.Info("listening", "what", "admin", "address", operators.Addr().String())
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	return errors.Join(err, pprof.Close(), server.Close()) // the connections end with the process
}
