package house

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Insist publishes as a service should: with the same id, until it is acknowledged or the context ends. retry is called before each
// further attempt.
func Insist(ctx context.Context, js jetstream.JetStream, m *nats.Msg, retry func()) error {
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.PublishMsg(try, m)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s was never acknowledged: %w", m.Header.Get(nats.MsgIdHdr), err)
		}
		retry()
		time.Sleep(50 * time.Millisecond)
	}
}
