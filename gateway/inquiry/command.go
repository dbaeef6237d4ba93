package inquiry

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout"
)

// Usage is for the help of the whole program.
const Usage = `  tidings trace EVENT_ID [--user alice]         what became of an event, and whether a user got it
  tidings who USER [--last 10]                  a user's sessions on all gateways, and the newest records for them
`

// Environment is what the commands get from outside.
type Environment struct {
	Connect func(ctx context.Context, name string) (*nats.Conn, error)
	Rules   string // file; "": none
	Out     io.Writer
}

// Command runs `tidings trace` or `tidings who`.
func Command(ctx context.Context, args []string, env Environment) error {
	o, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(env.Out, "usage:\n%s\n%s", Usage, o.help)
		return nil
	}
	if err != nil {
		return err
	}
	s := &Search{Limit: o.limit, Patience: o.patience}
	if env.Rules != "" {
		if s.Rules, err = fanout.LoadRules(env.Rules); err != nil {
			return err
		}
		s.HasRules = true
	}
	nc, err := env.Connect(ctx, "tidings "+args[0])
	if err != nil {
		return err
	}
	defer nc.Close()
	if s.JS, err = jetstream.New(nc); err != nil {
		return err
	}
	if args[0] == "who" {
		u, err := s.Who(ctx, o.what, o.last)
		if err != nil {
			return err
		}
		return show(env.Out, o.json, u, u.Steps, u.Conclusion)
	}
	t, err := s.Trace(ctx, o.what, o.user)
	if err != nil {
		return err
	}
	return show(env.Out, o.json, t, t.Steps, t.Conclusion)
}

type options struct {
	what     string
	user     string
	json     bool
	last     int
	limit    int
	patience time.Duration
	help     string
}

// parseOptions reads the arguments; flags may stand before and behind what is asked for.
func parseOptions(args []string) (o options, err error) {
	var help strings.Builder
	flags := flag.NewFlagSet("tidings "+args[0], flag.ContinueOnError)
	flags.SetOutput(&help)
	flags.Usage = flags.PrintDefaults
	flags.BoolVar(&o.json, "json", false, "print one JSON object")
	flags.IntVar(&o.limit, "limit", DefaultLimit, "messages that may be read of a stream; the newest are read first")
	flags.DurationVar(&o.patience, "timeout", DefaultPatience, "time that reading may take")
	want := "a user: tidings who alice"
	if args[0] == "trace" {
		want = "an event: tidings trace EVENT_ID, its Nats-Msg-Id, CloudEvents id or key, or seq: and its sequence in EVENTS"
		flags.StringVar(&o.user, "user", "", "tell whether this user got it")
	} else {
		flags.IntVar(&o.last, "last", DefaultLatest, fmt.Sprintf("records of the log to list, at most %d", MaxLatest))
	}
	var rest []string
	for list := args[1:]; ; list = flags.Args()[1:] {
		if err = flags.Parse(list); err != nil {
			o.help = help.String()
			if !errors.Is(err, flag.ErrHelp) {
				err = fmt.Errorf("%s: %w", args[0], err)
			}
			return o, err
		}
		if flags.NArg() == 0 {
			break
		}
		rest = append(rest, flags.Arg(0))
	}
	switch {
	case len(rest) != 1:
		return o, fmt.Errorf("%s needs %s", args[0], want)
	case o.limit < 1:
		return o, fmt.Errorf("--limit is %d, want at least 1", o.limit)
	case o.patience < 100*time.Millisecond || o.patience > time.Hour:
		return o, fmt.Errorf("--timeout is %v, want 100ms to 1h", o.patience)
	}
	o.what = rest[0]
	return o, nil
}

var signs = map[string]string{yes: "✓", no: "✗", unknown: "?", noted: "·"}

// show prints a report, for people or for machines.
func show(w io.Writer, asJSON bool, report any, steps []Step, conclusion string) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s\n", signs[s.Mark], printable(s.Text))
		for _, d := range s.Details {
			fmt.Fprintf(&b, "    %s\n", printable(d))
		}
	}
	fmt.Fprintf(&b, "\n→ %s\n", printable(conclusion))
	_, err := io.WriteString(w, b.String())
	return err
}

// printable keeps what events and users say from commanding the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return '\uFFFD'
	}, s)
}
