package ingest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Config is what two deployments truly differ in.
type Config struct {
	Replicas       int           `envconfig:"REPLICAS" default:"0" desc:"copies of each stream: 1, 3 or 5; 0 is 3 on a cluster and 1 elsewhere"`
	EventsMaxAge   time.Duration `envconfig:"EVENTS_MAX_AGE" default:"24h" desc:"how long the stream EVENTS keeps events, handled or not"`
	EventsMaxBytes int64         `envconfig:"EVENTS_MAX_BYTES" default:"0" desc:"bytes on disk of the stream EVENTS; the oldest events go first; 0 for no limit"`
	Duplicates     time.Duration `envconfig:"DUPLICATES" default:"2m" desc:"window in which NATS drops a repeated Nats-Msg-Id, of events and of records"`
	DLQMaxAge      time.Duration `envconfig:"DLQ_MAX_AGE" default:"720h" desc:"how long the stream DLQ keeps events that could not be handled"`
}

// Validate tells what is wrong with c, all of it.
func (c Config) Validate() error {
	var errs []error
	if !slices.Contains([]int{0, 1, 3, 5}, c.Replicas) {
		errs = append(errs, fmt.Errorf("TIDINGS_REPLICAS is %d, want 1, 3 or 5, or 0 for 3 on a cluster and 1 elsewhere", c.Replicas))
	}
	if c.Duplicates < 10*time.Second {
		errs = append(errs, fmt.Errorf("TIDINGS_DUPLICATES is %s, want at least 10s: a retry must fall into it", c.Duplicates))
	}
	if c.EventsMaxAge < c.Duplicates {
		errs = append(errs, fmt.Errorf("TIDINGS_EVENTS_MAX_AGE is %s, want at least TIDINGS_DUPLICATES, which is %s", c.EventsMaxAge, c.Duplicates))
	}
	if c.EventsMaxBytes < 0 || c.EventsMaxBytes > 0 && c.EventsMaxBytes < 1<<20 {
		errs = append(errs, fmt.Errorf("TIDINGS_EVENTS_MAX_BYTES is %d, want at least 1048576 (1 MiB), or 0 for no limit", c.EventsMaxBytes))
	}
	if c.DLQMaxAge < time.Minute {
		errs = append(errs, fmt.Errorf("TIDINGS_DLQ_MAX_AGE is %s, want at least 1m", c.DLQMaxAge))
	}
	return errors.Join(errs...)
}

// ReplicasOn is the number of copies a new stream gets on the server that nc is connected to.
func (c Config) ReplicasOn(nc *nats.Conn) int {
	switch {
	case c.Replicas > 0:
		return c.Replicas
	case nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// settings is what an update compares: the part of c that has gone into EVENTS and DLQ.
func (c Config) settings() string {
	return fmt.Sprintf("replicas=%d events_max_age=%s events_max_bytes=%d duplicates=%s dlq_max_age=%s",
		c.Replicas, c.EventsMaxAge, c.EventsMaxBytes, c.Duplicates, c.DLQMaxAge)
}
