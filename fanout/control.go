package fanout

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// ControlConfig is what the stream CONTROL is made with.
type ControlConfig struct {
	MaxAge   time.Duration // how long a revocation holds
	Replicas int           // 0: left as it is, 1 for a new stream
}

// Control is the part of c that makes the stream of control messages.
func (c Config) Control(replicas int) ControlConfig {
	return ControlConfig{MaxAge: c.RevokedFor, Replicas: replicas}
}

// EnsureControl makes the stream CONTROL, or brings an existing one to what the contract needs. It may be called at any time, by several processes
// at once.
func EnsureControl(ctx context.Context, js jetstream.JetStream, cfg ControlConfig) error {
	old, err := readStream(ctx, js, wire.ControlStream)
	if err != nil {
		return err
	}
	if old == nil {
		_, err := js.CreateStream(ctx, cfg.stream(nil))
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			return nil
		}
		return fmt.Errorf("create stream %s: %w", wire.ControlStream, err)
	}
	want := cfg.stream(old)
	if reflect.DeepEqual(want, *old) {
		return nil
	}
	if _, err := js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("update stream %s: %w", wire.ControlStream, err)
	}
	return nil
}

func (cfg ControlConfig) stream(old *jetstream.StreamConfig) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:         wire.ControlStream,
		Description:  "Tidings: users whose tokens are revoked (subjects.md)",
		Storage:      jetstream.FileStorage,
		MaxConsumers: -1,
		MaxMsgs:      -1,
		MaxBytes:     -1,
		Replicas:     1,
		MaxMsgSize:   4096,
	}
	if old != nil {
		c = *old
	}
	c.Subjects = []string{wire.SubjectRevoke}
	c.Retention = jetstream.LimitsPolicy
	c.Discard = jetstream.DiscardOld
	c.MaxAge = cfg.MaxAge
	c.NoAck = false
	if cfg.Replicas > 0 {
		c.Replicas = cfg.Replicas
	}
	return c
}
