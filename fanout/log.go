package fanout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// ErrShards is what EnsureLog's error wraps when the log was made with another number of shards.
var ErrShards = errors.New("belongs to a log")

// LogConfig is what the streams of the log are made with.
type LogConfig struct {
	Shards     int
	MaxAge     time.Duration
	MaxBytes   int64         // per shard; -1: no limit
	Replicas   int           // 0: left as it is, 1 for a new stream
	Duplicates time.Duration // window in which NATS drops a repeated id
}

// EnsureLog makes the streams LOG_0 … LOG_<Shards-1>, or brings existing ones to what the contract needs; whatever else an
// operator has set on them stays. It may be called at any time, by several processes at once. powerLost says that this single
// node comes back from a loss of power that may have cut the end of the log: it raises the epoch, so that browsers whose cursor
// lies beyond the end start anew.
//
// DenyDelete and DenyPurge can never be taken back by an update: only by deleting the stream, and with it every cursor.
func EnsureLog(ctx context.Context, js jetstream.JetStream, cfg LogConfig, powerLost bool) error {
	// All are looked at before the first is touched, and one more than there should be.
	existing := make([]*jetstream.StreamConfig, cfg.Shards)
	for s := range cfg.Shards + 1 {
		old, err := readStream(ctx, js, wire.Stream(s))
		if err != nil {
			return err
		}
		if err := checkShards(old, s, cfg.Shards); err != nil {
			return err
		}
		if s < cfg.Shards {
			existing[s] = old
		}
	}
	for s, old := range existing {
		if err := ensureStream(ctx, js, cfg, s, old, powerLost); err != nil {
			return err
		}
	}
	return nil
}

// readStream is the configuration of a stream, nil where there is none.
func readStream(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamConfig, error) {
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for stream %s: %w", name, err)
	}
	return &stream.CachedInfo().Config, nil
}

// checkShards: a user's Records are where the hash of their ID says, so the number of shards cannot change under a log.
func checkShards(old *jetstream.StreamConfig, s, shards int) error {
	if old == nil {
		return nil
	}
	made := old.Metadata[wire.MetaShards]
	if made == strconv.Itoa(shards) || made == "" && s < shards {
		return nil
	}
	if made == "" {
		made = "at least " + strconv.Itoa(s+1)
	}
	return fmt.Errorf("stream %s %w of %s shards, but TIDINGS_SHARDS is %d: set it back, "+
		"or stop Tidings and delete all LOG_ streams (every browser then starts anew)", old.Name, ErrShards, made, shards)
}

func ensureStream(ctx context.Context, js jetstream.JetStream, cfg LogConfig, s int, old *jetstream.StreamConfig, powerLost bool) error {
	if old == nil {
		_, err := js.CreateStream(ctx, cfg.stream(s, nil, false))
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("create stream %s: %w", wire.Stream(s), err)
		}
		// Another process was faster, with a setting of its own.
		if old, err = readStream(ctx, js, wire.Stream(s)); err != nil || old == nil {
			return fmt.Errorf("create stream %s: it came and went: %w", wire.Stream(s), err)
		}
	}
	if old.Storage != jetstream.FileStorage {
		return fmt.Errorf("stream %s is kept in memory, and that cannot be changed: delete it (every browser then starts anew)", old.Name)
	}
	want := cfg.stream(s, old, powerLost)
	if reflect.DeepEqual(want, *old) {
		return nil
	}
	if _, err := js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("update stream %s: %w", want.Name, err)
	}
	return nil
}

// stream is the configuration of shard s: what the contract needs over what old has.
func (cfg LogConfig) stream(s int, old *jetstream.StreamConfig, powerLost bool) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:         wire.Stream(s),
		Description:  "Tidings: what each user is shown, in order (subjects.md)",
		MaxConsumers: -1,
		Replicas:     1,
	}
	if old != nil {
		c = *old
	}
	c.Subjects = []string{fmt.Sprintf("log.%d.>", s)}
	c.Storage = jetstream.FileStorage
	c.Retention = jetstream.LimitsPolicy
	c.Discard = jetstream.DiscardOld
	c.DiscardNewPerSubject = false
	c.MaxMsgs = -1
	c.MaxMsgsPerSubject = -1
	c.MaxAge = cfg.MaxAge
	c.MaxBytes = cfg.MaxBytes
	c.Duplicates = cfg.Duplicates
	c.NoAck = false
	c.DenyDelete, c.DenyPurge = true, true
	c.AllowDirect = true
	c.AllowAtomicPublish, c.AllowBatchPublish = true, true
	if cfg.Replicas > 0 {
		c.Replicas = cfg.Replicas
	}
	c.Metadata = maps.Clone(c.Metadata)
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	c.Metadata[wire.MetaShards] = strconv.Itoa(cfg.Shards)
	epoch, _ := strconv.ParseUint(c.Metadata[wire.MetaEpoch], 10, 32) // absent: never raised
	if powerLost {
		epoch++
	}
	c.Metadata[wire.MetaEpoch] = strconv.FormatUint(epoch, 10)
	return c
}
