package stored

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/load/loadgen"
)

// Read follows LOG, which must be there, in the place of tabs, and answers the parent until in ends.
func Read(ctx context.Context, url string, in io.Reader, out io.Writer) error {
	nc, err := nats.Connect(url, nats.Name("reader"))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", url, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var r loadgen.Reader
	following, err := follow(ctx, js, func(m jetstream.Msg) { r.Read(m.Data(), time.Now()) })
	if err != nil {
		return err
	}
	defer following.Stop()
	return r.Serve(in, out)
}

// follow gives read every record of LOG, in order and once. What a gap or a silence reports to nobody, the library mends; a record that
// did not come would be missed in the count.
func follow(ctx context.Context, js jetstream.JetStream, read func(jetstream.Msg)) (jetstream.ConsumeContext, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	c, err := js.OrderedConsumer(ctx, log, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", log, err)
	}
	return c.Consume(read, jetstream.PullMaxMessages(inHand))
}
