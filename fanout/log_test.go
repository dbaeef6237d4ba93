package fanout

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

func streamInfo(t *testing.T, js jetstream.JetStream, name string) *jetstream.StreamInfo {
	t.Helper()
	s, err := js.Stream(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

func TestEnsureLog(t *testing.T) {
	js := startNode(t).connect()
	ctx := context.Background()
	cfg := logConfig(4)
	cfg.MaxBytes = 1 << 20
	if err := EnsureLog(ctx, js, cfg, false); err != nil {
		t.Fatal(err)
	}
	for s := range cfg.Shards {
		c := streamInfo(t, js, wire.Stream(s)).Config
		if c.Subjects[0] != strings.Replace("log.S.>", "S", string(rune('0'+s)), 1) || len(c.Subjects) != 1 {
			t.Errorf("shard %d: got subjects %q", s, c.Subjects)
		}
		if c.MaxAge != time.Hour || c.MaxBytes != 1<<20 || c.Duplicates != 2*time.Minute || c.Storage != jetstream.FileStorage || c.MaxMsgsPerSubject != -1 ||
			!c.DenyDelete || !c.DenyPurge || !c.AllowDirect || !c.AllowAtomicPublish || !c.AllowBatchPublish || c.Discard != jetstream.DiscardOld {
			t.Errorf("shard %d: got %+v", s, c)
		}
		if c.Metadata[wire.MetaShards] != "4" || c.Metadata[wire.MetaEpoch] != "0" {
			t.Errorf("shard %d: got metadata %v", s, c.Metadata)
		}
	}
}

// Settings that the contract needs come back; others stay as the operator wants them, and so does the epoch.
func TestEnsureLogHeals(t *testing.T) {
	js := startNode(t).connect()
	ctx := context.Background()
	cfg := logConfig(2)
	if err := EnsureLog(ctx, js, cfg, true); err != nil { // new streams have lost nothing
		t.Fatal(err)
	}
	created := streamInfo(t, js, "LOG_0").Created
	c := streamInfo(t, js, "LOG_0").Config
	c.Subjects = []string{"log.0.m"}
	c.MaxAge = 10 * time.Minute
	c.Duplicates = time.Second
	c.MaxMsgsPerSubject = 5
	c.AllowDirect = false
	c.Description = "ours"
	c.MaxMsgSize = 123456
	c.Metadata["team"] = "web"
	if _, err := js.UpdateStream(ctx, c); err != nil {
		t.Fatal(err)
	}
	cfg.MaxAge = 3 * time.Hour
	for range 2 { // the second finds nothing to do
		if err := EnsureLog(ctx, js, cfg, false); err != nil {
			t.Fatal(err)
		}
	}
	i := streamInfo(t, js, "LOG_0")
	c = i.Config
	if c.Subjects[0] != "log.0.>" || c.MaxAge != 3*time.Hour || c.Duplicates != 2*time.Minute || c.MaxMsgsPerSubject != -1 || !c.AllowDirect {
		t.Errorf("got %+v, want what the contract needs", c)
	}
	if c.Description != "ours" || c.MaxMsgSize != 123456 || c.Metadata["team"] != "web" || !i.Created.Equal(created) {
		t.Errorf("got %+v, want the operator's settings kept", c)
	}
	if c.Metadata[wire.MetaEpoch] != "0" {
		t.Errorf("got epoch %q, want 0", c.Metadata[wire.MetaEpoch])
	}
	if err := EnsureLog(ctx, js, cfg, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LOG_0", "LOG_1"} {
		i := streamInfo(t, js, name)
		if got, want := wire.Epoch(i.Created, i.Config.Metadata), uint64(i.Created.UnixMilli())+1; got != want {
			t.Errorf("%s: got epoch %d, want %d", name, got, want)
		}
	}
}

func TestEnsureLogIdleWhenNothingDiffers(t *testing.T) {
	js := startNode(t).connect()
	ctx := context.Background()
	if err := EnsureLog(ctx, js, logConfig(1), false); err != nil {
		t.Fatal(err)
	}
	sub, err := js.Conn().SubscribeSync("$JS.EVENT.ADVISORY.STREAM.UPDATED.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := EnsureLog(ctx, js, logConfig(1), false); err != nil {
		t.Fatal(err)
	}
	c := logConfig(1)
	c.MaxAge = 2 * time.Hour
	if err := EnsureLog(ctx, js, c, false); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sub.Pending(); n != 0 || err != nil {
		t.Errorf("got %d more updates (%v), want only that of the real change", n, err)
	}
}

func TestEnsureLogRefuses(t *testing.T) {
	ctx := context.Background()
	tests := map[string]struct {
		before func(t *testing.T, js jetstream.JetStream)
		shards int
		want   string
	}{
		"more shards":  {made(2), 4, "stream LOG_0 belongs to a log of 2 shards, but TIDINGS_SHARDS is 4: set it back"},
		"fewer shards": {made(4), 2, "stream LOG_0 belongs to a log of 4 shards, but TIDINGS_SHARDS is 2: set it back"},
		"fewer shards, the first deleted": {func(t *testing.T, js jetstream.JetStream) {
			made(2)(t, js)
			if err := js.DeleteStream(ctx, "LOG_0"); err != nil {
				t.Fatal(err)
			}
		}, 1, "stream LOG_1 belongs to a log of 2 shards, but TIDINGS_SHARDS is 1"},
		"in memory": {func(t *testing.T, js jetstream.JetStream) {
			_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "LOG_0", Subjects: []string{"log.0.>"}, Storage: jetstream.MemoryStorage})
			if err != nil {
				t.Fatal(err)
			}
		}, 1, "stream LOG_0 is kept in memory"},
		"subjects taken": {func(t *testing.T, js jetstream.JetStream) {
			_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"log.>"}})
			if err != nil {
				t.Fatal(err)
			}
		}, 1, "create stream LOG_0: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			js := startNode(t).connect()
			tt.before(t, js)
			err := EnsureLog(ctx, js, logConfig(tt.shards), false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func made(shards int) func(*testing.T, jetstream.JetStream) {
	return func(t *testing.T, js jetstream.JetStream) {
		if err := EnsureLog(context.Background(), js, logConfig(shards), false); err != nil {
			t.Fatal(err)
		}
	}
}

// Several processes start at once.
func TestEnsureLogTogether(t *testing.T) {
	n := startNode(t)
	var wg sync.WaitGroup
	for i := range 4 {
		js := n.connect()
		wg.Go(func() {
			cfg := logConfig(3)
			cfg.MaxAge += time.Duration(i) * time.Minute // they do not even agree
			if err := EnsureLog(context.Background(), js, cfg, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestConfig(t *testing.T) {
	good := Config{Shards: 1, LogMaxAge: 24 * time.Hour, LogMaxBytes: 1 << 30, RevokedFor: time.Hour}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Shards: 65, LogMaxAge: time.Second, LogMaxBytes: 0}
	err := bad.Validate()
	for _, name := range []string{"TIDINGS_SHARDS is 65", "TIDINGS_LOG_MAX_AGE is 1s", "TIDINGS_LOG_MAX_BYTES is 0", "TIDINGS_REVOKED_FOR is 0s"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q in it", err, name)
		}
	}
	if got := (Config{LogMaxAge: time.Minute}).Log(1, 2*time.Minute).Duplicates; got != time.Minute {
		t.Errorf("got a window of %s, want one no longer than the age", got)
	}
	want := LogConfig{Shards: 1, MaxAge: 24 * time.Hour, MaxBytes: 1 << 30, Replicas: 3, Duplicates: time.Minute}
	if got := good.Log(3, time.Minute); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
