//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"

	"tidings/integration/load/stored"
)

// startStored starts the same NATS as the product's, and between its streams one process that does nothing but copy. Another reads in
// the place of tabs.
func startStored(ctx context.Context, b *builder) (s *server, err error) {
	s = &server{}
	defer s.stopOn(&err)
	if err := s.startNATS(ctx, b); err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, "relay", again(ctx, "relay", s.nats), "events")
	if err != nil {
		return nil, err
	}
	s.procs = slices.Insert(s.procs, 0, p) // before NATS, which it needs
	s.reader = func(ctx context.Context) *exec.Cmd { return again(ctx, "reader", s.nats) }
	if err := s.stream(b); err != nil {
		return nil, err
	}
	s.events.sink = &storedSink{s.events.sink.(*streamSink), b.o.users}
	return s, nil
}

// storedSink is for events that nobody multiplies.
type storedSink struct {
	*streamSink
	users int
}

// all is one event for each user.
func (s *storedSink) all() error {
	for u := range s.users {
		if err := s.one(u); err != nil {
			return err
		}
	}
	return nil
}

// serveRelay is the process that copies. args is the address of NATS.
func serveRelay(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("got %d arguments, want the address of NATS", len(args))
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	return stored.Relay(ctx, args[0], func() { log.Info("listening", "what", "events", "address", args[0]) })
}

// serveReader is the process that reads in the place of tabs. args is the address of NATS.
func serveReader(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("got %d arguments, want the address of NATS", len(args))
	}
	return stored.Read(ctx, args[0], os.Stdin, os.Stdout)
}
