//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"tidings/ingest/natsd"
)

// serveNATS is a process with the product's own NATS, and nothing beside it. args is the directory of its streams.
func serveNATS(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("got %d arguments, want the directory for NATS", len(args))
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	s, err := natsd.Start(natsd.Config{NATSStore: args[0], NATSListen: "127.0.0.1:0"}, log)
	if err != nil {
		return err
	}
	defer s.Shutdown()
	log.Info("listening", "what", "nats", "address", s.ClientURL())
	<-ctx.Done()
	return nil
}
