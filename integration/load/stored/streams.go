package stored

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	events = "EVENTS"
	log    = "LOG"
	prefix = "log." // of an event's subject in LOG
)

// streams makes both, as the product does (ingest/stream.go, fanout/log.go), but for the subject transform of EVENTS.
func streams(ctx context.Context, js jetstream.JetStream) error {
	for _, c := range []jetstream.StreamConfig{
		{Name: events, Subjects: []string{"events.>"}, MaxBytes: -1},
		{Name: log, Subjects: []string{prefix + ">"}, MaxBytes: 1 << 30, DenyDelete: true, DenyPurge: true, AllowDirect: true},
	} {
		c.Storage, c.Replicas, c.MaxAge, c.Duplicates = jetstream.FileStorage, 1, 24*time.Hour, 2*time.Minute
		if _, err := js.CreateStream(ctx, c); err != nil {
			return fmt.Errorf("create stream %s: %w", c.Name, err)
		}
	}
	return nil
}
