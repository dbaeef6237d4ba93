//go:build linux

// Command load measures the house: Tidings beside a plain goroutine-per-connection server, in turn, in one run.
//
//	go run ./integration/load                                      the whole table, written into integration/load/README.md
//	go run ./integration/load -target ws://host:port/ws -tabs 2000 tabs on a deployment of your own
//
// It starts NATS, the servers and the tabs as processes of their own on loopback, so that what each costs can be told apart.
// README.md says what is measured and how to read it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"tidings/integration/load/badpeers"
	"tidings/integration/load/loadgen"
)

// roleVariable tells a process of this program what it is, when it is not the one that measures.
const roleVariable = "LOAD_ROLE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := role(ctx, os.Getenv(roleVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func role(ctx context.Context, name string) error {
	switch name {
	case "":
		o, err := parseOptions(os.Args[1:])
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, o.limit)
		defer cancel()
		if o.target != "" {
			return visit(ctx, o)
		}
		runtime.GOMAXPROCS(1) // publishing takes 25 µs an event of the two cores that are measured then, instead of 33
		return compare(ctx, o)
	case "tabs":
		return loadgen.Serve(os.Stdin, os.Stdout)
	case "peers":
		return badpeers.Serve(os.Stdin, os.Stdout)
	case "nats":
		return serveNATS(ctx, os.Args[1:])
	case "relay":
		return serveRelay(ctx, os.Args[1:])
	case "reader":
		return serveReader(ctx, os.Args[1:])
	}
	return fmt.Errorf("%s is %q, which is not a role", roleVariable, name)
}

// again is this program in another role.
func again(ctx context.Context, role string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	// A child must not outlive a parent that was killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}
