package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// The log can be trimmed between the leader's word and the first Record of a new consumer: then what the leader said before
// makes a loss look like a hole.
func TestTrimmedBehindTheLeadersWord(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	for n := range 20 {
		h.say("alice", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, err := h.js.Stream(ctx, "LOG_0")
	if err != nil {
		t.Fatal(err)
	}
	info := log.CachedInfo()
	sh := newShard(0, 1<<20, nil)
	f := &feed{shard: sh, js: h.js, log: quiet, metrics: newMetrics(nil), shards: 1, began: true}
	f.restart(wire.Epoch(info.Created, info.Config.Metadata), 5, mark{})
	if _, _, err := f.ask(ctx); err != nil {
		t.Fatal(err)
	}
	life := sh.promised().life
	if err := log.Purge(ctx, jetstreamKeep(10)); err != nil {
		t.Fatal(err)
	}
	cons, err := log.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 6, AckPolicy: jetstream.AckNonePolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPull(h.js.Conn(), "LOG_0", cons.CachedInfo().Name)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ended := make(chan error, 1)
	go func() {
		_, err := f.take(ctx, p, 20)
		ended <- err
	}()
	eventually(t, "what is left is taken", func() error {
		if p := sh.promised(); p.seq != 20 {
			return fmt.Errorf("at %d", p.seq)
		}
		return nil
	})
	if got := sh.promised().life; got != life+1 {
		t.Errorf("got life %d, want that the loss of 6 to 10 was noticed: %d", got, life+1)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// While a scan reads, the log goes on losing its oldest Records: that is a loss for those who have not read them yet, and
// for no one else.
func TestTrimmedBetweenStepsOfAScan(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	const count = 2600
	for n := 1; n <= count; n++ {
		user := "bob"
		if n%500 == 0 {
			user = "alice"
		}
		h.tell(wire.Record{Kind: wire.Users, Users: []string{user, "zoe"}, Notification: note(n)})
	}
	log, err := h.js.Stream(t.Context(), "LOG_0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, nil)
	info := log.CachedInfo()
	b.shard.restart(wire.Epoch(info.Created, info.Config.Metadata), count, mark{count, mixed})
	b.drain()
	sc := &scan{replay: newReplay(h.js, &b.gate.cfg, quiet, b.gate.metrics), shard: b.shard, part: int8(wire.Partition("alice"))}
	sc.base, sc.mark, sc.life, sc.epoch = b.shard.tailStart()
	waiting := func(pos uint64) (browser int) {
		s, browser := b.session("alice")
		read(browser)
		b.shard.leave(s)
		s.state, s.pos = scanning, pos
		sc.add(&waiter{session: s, user: s.user, life: s.life, pos: pos, since: time.Now()})
		return browser
	}
	old, young := waiting(100), waiting(1700)
	sc.read = 100
	if err := sc.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer sc.close()
	sc.index()
	if err := sc.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := log.Purge(t.Context(), jetstream.WithPurgeSequence(1650)); err != nil { // the scan is at 1100
		t.Fatal(err)
	}
	for len(sc.waiters) > 0 && sc.read < sc.mark.seq {
		if err := sc.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sc.finish()
	b.turn()
	if got := string(read(old)); strings.Count(got, `"reset"`) != 1 || strings.Contains(got, `"notification"`) {
		t.Errorf("got %q for a cursor that left the log, want a reset and nothing else", got)
	}
	got := string(read(young))
	if strings.Contains(got, `"reset"`) || strings.Count(got, `"notification"`) != 2 ||
		!strings.Contains(got, `"data":2000`) || !strings.Contains(got, `"data":2500`) {
		t.Errorf("got %q for a cursor that is in the log, want 2000 and 2500", got)
	}
}
