//go:build linux

package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"tidings/integration/load/floor/order"
)

func main() {
	bytes := flag.Int("bytes", 256, "bytes of an event's data, which is the frame's payload")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(log, *bytes); err != nil {
		log.Error("ended", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger, bytes int) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	s, err := newServer(order.NewFrame(bytes))
	if err != nil {
		return err
	}
	address, err := unix.Getsockname(s.listener)
	if err != nil {
		return err
	}
	log.Info("listening", "what", "browsers", "address", fmt.Sprintf("127.0.0.1:%d", address.(*unix.SockaddrInet4).Port))
	return s.run()
}
