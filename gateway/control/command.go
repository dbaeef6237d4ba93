package control

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Do is a command with its arguments, to be done over a connection.
type Do func(ctx context.Context, nc *nats.Conn, out io.Writer) error

// Command reads a command line: shed, balance or revoke and its arguments. Mistakes are found before anything is done.
func Command(args []string) (Do, error) {
	switch args[0] {
	case "shed":
		return shedCommand(args[1:])
	case "balance":
		return balanceCommand(args[1:])
	case "revoke":
		if len(args) != 2 || args[1] == "" || strings.HasPrefix(args[1], "-") {
			return nil, errors.New("revoke needs a user: tidings revoke alice")
		}
		return func(ctx context.Context, nc *nats.Conn, out io.Writer) error { return revoke(ctx, nc, out, args[1]) }, nil
	}
	return nil, fmt.Errorf("unknown command %q", args[0])
}

const shedUsage = "shed needs a gateway, or all, and a share or a number of its sessions: tidings shed tidings-gateway-7d9f/1 20% [--over 30s]"

func shedCommand(args []string) (Do, error) {
	flags, over := overFlag("shed")
	rest, err := parseAnywhere(flags, args)
	if err != nil {
		return nil, err
	}
	if len(rest) == 0 {
		return list, nil
	}
	if len(rest) != 2 {
		return nil, errors.New(shedUsage)
	}
	s := Shed{Gateway: rest[0], Over: *over}
	if s.Gateway == "all" {
		s.Gateway = ""
	}
	if text, ok := strings.CutSuffix(rest[1], "%"); ok {
		percent, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errors.New(shedUsage)
		}
		s.Share = percent / 100
	} else if s.Sessions, err = strconv.Atoi(rest[1]); err != nil {
		return nil, errors.New(shedUsage)
	}
	if _, err := s.Check(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, nc *nats.Conn, out io.Writer) error { return shed(ctx, nc, out, s) }, nil
}

func overFlag(command string) (flags *flag.FlagSet, over *string) {
	flags = flag.NewFlagSet("tidings "+command, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is returned
	return flags, flags.String("over", DefaultOver.String(), "the time over which sessions leave, one after the other")
}

// parseAnywhere takes flags behind arguments too.
func parseAnywhere(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	return rest, nil
}

func list(ctx context.Context, nc *nats.Conn, out io.Writer) error {
	loads, err := Loads(ctx, nc)
	if err != nil {
		return err
	}
	tabs := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tabs, "GATEWAY\tSESSIONS\t")
	for _, l := range loads {
		leaving := ""
		if l.Leaving {
			leaving = "leaving"
		}
		fmt.Fprintf(tabs, "%s\t%d\t%s\n", l.Gateway, l.Sessions, leaving)
	}
	return tabs.Flush()
}

func shed(ctx context.Context, nc *nats.Conn, out io.Writer, s Shed) error {
	answers, err := Ask[Shedding](ctx, nc, SubjectShed, s)
	switch {
	case errors.Is(err, ErrNobody) && s.Gateway != "":
		return fmt.Errorf("%s: %w (tidings shed lists the gateways)", s.Gateway, err)
	case err != nil:
		return err
	}
	var errs []error
	for _, a := range answers {
		if a.Error != "" {
			errs = append(errs, fmt.Errorf("%s gives none away: %s", a.Gateway, a.Error))
			continue
		}
		fmt.Fprintf(out, "%s gives about %d sessions away over %s\n", a.Gateway, a.Sessions, s.Over)
	}
	return errors.Join(errs...)
}

func balanceCommand(args []string) (Do, error) {
	flags, over := overFlag("balance")
	least := flags.Bool("least-connections", false, "new connections go to the gateway with the fewest")
	rest, err := parseAnywhere(flags, args)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errors.New("balance takes no arguments: tidings balance [--over 30s] [--least-connections]")
	}
	if _, err := (&Shed{Share: 1, Over: *over}).Check(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, nc *nats.Conn, out io.Writer) error {
		return balance(ctx, nc, out, *over, *least)
	}, nil
}

func balance(ctx context.Context, nc *nats.Conn, out io.Writer, over string, least bool) error {
	loads, err := Loads(ctx, nc)
	if err != nil {
		return err
	}
	sheds := Balance(loads, least)
	if len(sheds) == 0 {
		fmt.Fprintf(out, "nothing to do: %d gateways have the same\n", len(loads))
		return nil
	}
	for _, s := range sheds {
		s.Over = over
		if err := shed(ctx, nc, out, s); err != nil {
			return err
		}
	}
	return nil
}

func revoke(ctx context.Context, nc *nats.Conn, out io.Writer, user string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if err := Revoke(ctx, js, user); err != nil {
		return err
	}
	fmt.Fprintf(out, "revoked %s: sessions are closed, and tokens issued until now are refused\n", user)
	return nil
}
