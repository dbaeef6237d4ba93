package ingest

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// stallAfter: events wait, and the consumer has neither delivered nor seen acknowledged any for so long.
const stallAfter = 60 * time.Second

// movement is where a consumer was when it last moved.
type movement struct {
	delivered, floor uint64
	at               time.Time
	waiting          uint64 // events that wait now; 0 when nothing does, or when it is paused
}

func (m *movement) note(c *jetstream.ConsumerInfo, now time.Time) {
	if m.at.IsZero() || m.delivered != c.Delivered.Consumer || m.floor != c.AckFloor.Stream {
		m.delivered, m.floor, m.at = c.Delivered.Consumer, c.AckFloor.Stream, now
	}
	if m.waiting = c.NumPending; m.waiting == 0 || c.Paused {
		m.waiting, m.at = 0, now
	}
}
