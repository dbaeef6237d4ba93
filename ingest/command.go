package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxTyped bounds an event from standard input.
const maxTyped = 8 << 20

// Command reads the arguments of `tidings publish SUBJECT [JSON]`, and gives what is to be done over a connection. Without JSON the event is
// read from in. Mistakes are found before anything is done.
func Command(args []string, in io.Reader) (do func(context.Context, *nats.Conn, io.Writer) error, err error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, errors.New(`publish needs a subject and an event: tidings publish events.orders.1042.shipped '{"userId":"alice"}'`)
	}
	var body []byte
	if len(args) == 2 {
		body = []byte(args[1])
	} else if body, err = io.ReadAll(io.LimitReader(in, maxTyped)); err != nil {
		return nil, fmt.Errorf("read the event from standard input: %w", err)
	}
	subject := args[0]
	if err := CheckSubject(subject); err != nil {
		return nil, err
	}
	return func(ctx context.Context, nc *nats.Conn, out io.Writer) error {
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		if err := Publish(ctx, js, subject, body, nil); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "published %d bytes to %s\n", len(body), subject)
		return err
	}, nil
}
