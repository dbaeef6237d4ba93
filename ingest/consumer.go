package ingest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// priorityGroup is the one group of each consumer, in which one worker is pinned.
	priorityGroup = "fanout"

	// pinnedTTL is how long a worker that asks for nothing keeps its partition.
	pinnedTTL = 4 * time.Second

	// ackWait is how soon an event is delivered again that a dead worker had in hand and that no newer event brings to light.
	// Living workers report progress, so it need not be as long as the longest event takes.
	ackWait       = 6 * time.Second
	progressEvery = ackWait / 3

	// maxAckPending bounds what one partition has under way.
	maxAckPending = 256

	// metaRedo in a consumer's metadata is the last sequence of the stream when the consumer was made: events up to it may have
	// been handled under its predecessor.
	metaRedo = "tidings-redo"
)

func consumerName(p int) string { return fmt.Sprintf("fanout-%d", p) }

// consumers makes and heals the consumers of EVENTS.
type consumers struct{ js jetstream.JetStream }

// ensure returns the state of partition p's consumer, and what had to be done. A consumer that is missing is made
// anew behind floor, up to which all events are known to be handled; 0 is the beginning of the stream.
func (c consumers) ensure(ctx context.Context, p int, floor, last uint64) (*jetstream.ConsumerInfo, string, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	name := consumerName(p)
	old, err := c.js.Consumer(ctx, StreamEvents, name)
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return nil, "", wrongKind(name)
	}
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		made, err := c.js.CreateConsumer(ctx, StreamEvents, newConsumer(p, floor, last))
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return nil, "", nil // another process was faster; we look again soon
		}
		if err != nil {
			return nil, "", fmt.Errorf("create consumer %s: %w", name, err)
		}
		return made.CachedInfo(), didCreate, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("look for consumer %s: %w", name, err)
	}
	have := old.CachedInfo().Config
	if have.AckPolicy != jetstream.AckExplicitPolicy {
		return nil, "", wrongKind(name)
	}
	want := have
	needConsumer(&want, p)
	if reflect.DeepEqual(want, have) {
		return old.CachedInfo(), "", nil
	}
	updated, err := c.js.UpdateConsumer(ctx, StreamEvents, want)
	if err != nil {
		return nil, "", fmt.Errorf("update consumer %s: %w", name, err)
	}
	return updated.CachedInfo(), didUpdate, nil
}

func wrongKind(name string) error {
	return fmt.Errorf("%w: consumer %s of %s is not a pull consumer with explicit acknowledgement, and cannot be changed into one; delete it, and Tidings makes it anew",
		errSetup, name, StreamEvents)
}

func newConsumer(p int, floor, last uint64) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable:     consumerName(p),
		Description: "Tidings: partition " + strconv.Itoa(p) + " of the events",
		AckPolicy:   jetstream.AckExplicitPolicy,
		Metadata:    map[string]string{metaRedo: strconv.FormatUint(last, 10)},
	}
	if floor > 0 {
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, floor+1
	}
	needConsumer(&c, p)
	return c
}

// needConsumer is what nothing works without, whoever made the consumer. A pause is the operator's, and stays.
func needConsumer(c *jetstream.ConsumerConfig, p int) {
	c.FilterSubject, c.FilterSubjects = filter(p), nil
	c.AckWait = max(c.AckWait, ackWait)
	c.BackOff = nil   // it would replace AckWait
	c.MaxDeliver = -1 // the DLQ is ours to fill; the server would just stop
	c.HeadersOnly = false
	if c.MaxAckPending <= 0 || c.MaxAckPending > maxAckPending {
		c.MaxAckPending = maxAckPending
	}
	c.MaxRequestBatch, c.MaxRequestExpires, c.MaxRequestMaxBytes = 0, 0, 0 // they refuse our requests
	c.InactiveThreshold = 0                                                // it deletes the consumer, and the position with it
	c.PriorityPolicy = jetstream.PriorityPolicyPinned
	c.PriorityGroups = []string{priorityGroup}
	c.PinnedTTL = pinnedTTL
}

func redoUntil(metadata map[string]string) uint64 {
	n, _ := strconv.ParseUint(metadata[metaRedo], 10, 64) // absent: made by somebody else
	return n
}
