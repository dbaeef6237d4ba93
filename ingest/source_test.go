package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// sendRounds sends event i of every aggregate, then i+1.
func (b *bench) sendRounds(aggregates, from, to int) {
	b.t.Helper()
	for i := from; i < to; i++ {
		for a := range aggregates {
			if _, err := b.js.PublishAsync(fmt.Sprintf("events.orders.%d.changed", a), []byte(strconv.Itoa(i))); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// publishRounds is sendRounds until all is stored.
func (b *bench) publishRounds(aggregates, from, to int) {
	b.t.Helper()
	b.sendRounds(aggregates, from, to)
	select {
	case <-b.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		b.t.Fatal("the events were not stored")
	}
}

// insistOnRounds is publishRounds as publishers do it who know that a stream may be gone for a moment: an acknowledgement that does
// not come is asked for again, under the same id.
func (b *bench) insistOnRounds(aggregates, from, to int) {
	b.t.Helper()
	insist := func(m *nats.Msg) (err error) {
		for range 5 {
			ctx, cancel := context.WithTimeout(b.ctx(), 3*time.Second)
			_, err = b.js.PublishMsg(ctx, m)
			cancel()
			if err == nil {
				break
			}
		}
		return err
	}
	for i := from; i < to; i++ {
		for a := range aggregates {
			m := nats.NewMsg(fmt.Sprintf("events.orders.%d.changed", a))
			m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%d-%d", a, i))
			m.Data = []byte(strconv.Itoa(i))
			if err := insist(m); err != nil {
				b.t.Fatalf("publish on %s: %v", m.Subject, err)
			}
		}
	}
}

func TestEventsOfAnAggregateKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	var busy sync.Map // aggregate → *atomic.Int32
	s := b.run(b.nc, func(_ context.Context, e *Event) error {
		v, _ := busy.LoadOrStore(Aggregate(e.NATSSubject), new(atomic.Int32))
		n := v.(*atomic.Int32)
		if n.Add(1) != 1 {
			t.Errorf("%s: two events at the same time", e.NATSSubject)
		}
		defer n.Add(-1)
		if rand.IntN(50) == 0 { // tried again in place, the others of its aggregate wait
			return errors.New("try again")
		}
		j.add(e)
		return nil
	})
	b.publishRounds(40, 0, 50)
	b.settled()
	j.checkOrder(t, 40, 50)
	if j.calls != 2000 {
		t.Errorf("got %d events handled, want 2000, none twice", j.calls)
	}
	s.stop()
}

func TestShortSubjects(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	s := b.run(b.nc, j.handle)
	want := []string{"events.a 1", "events.a 2", "events.a.b 3", "events.a.b.c 4", "events.a.b.c.d 5"}
	for _, line := range want {
		subject, body, _ := strings.Cut(line, " ")
		b.publish(subject, body)
		waitFor(t, line, func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return len(j.lines) > 0 && j.lines[len(j.lines)-1] == line
		})
	}
	b.settled()
	s.stop()
}

// A killed process had events in hand, of which some were handled. The next one must not let newer events pass them.
func TestTakeOverAfterKill(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc, line := b.killable()
	var j journal
	var dead atomic.Bool
	var stuck atomic.Int32
	end := make(chan struct{})
	first := b.run(nc, func(ctx context.Context, e *Event) error {
		n, _ := strconv.Atoi(string(e.Data))
		if n >= 5 && !dead.Load() { // in hand when the process dies
			stuck.Add(1)
			<-end
			return errors.New("dead")
		}
		j.add(e)
		return nil
	})
	defer close(end)
	b.publishRounds(20, 0, 8)
	waitFor(t, "events in hand", func() bool { return stuck.Load() == 20 })
	line.kill()
	killed := time.Now()
	first.die()

	second := b.run(b.nc, func(_ context.Context, e *Event) error {
		n, _ := strconv.Atoi(string(e.Data))
		if want := n >= 5 && n < 8; want && !e.Redelivered {
			t.Errorf("%s %s: got not redelivered, want redelivered", e.NATSSubject, e.Data)
		}
		j.add(e)
		return nil
	})
	b.publishRounds(20, 8, 12)
	waitFor(t, "the new process to handle all", func() bool { return j.len() == 20*12 })
	t.Logf("all handled %v after the kill", time.Since(killed))
	b.settled()
	j.checkOrder(t, 20, 12)
	second.stop()
}

// Nothing new arrives after the kill: what was in hand comes back by itself.
func TestTakeOverOfAQuietPartition(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc, line := b.killable()
	got, end := make(chan struct{}, 1), make(chan struct{})
	first := b.run(nc, func(context.Context, *Event) error {
		select {
		case got <- struct{}{}:
		default: // it does not know that it is dead, and tries again
		}
		<-end
		return errors.New("dead")
	})
	defer close(end)
	b.publish("events.orders.1.shipped", "1")
	<-got
	line.kill()
	first.die()
	killed := time.Now()

	handled := make(chan bool, 1)
	b.run(b.nc, func(_ context.Context, e *Event) error {
		handled <- e.Redelivered
		return nil
	})
	select {
	case redelivered := <-handled:
		if !redelivered {
			t.Error("got not redelivered, want redelivered")
		}
		if d := time.Since(killed); d > ackWait+2*time.Second {
			t.Errorf("handled %v after the kill, want at most %v", d, ackWait+2*time.Second)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the event was not handled")
	}
	b.settled()
}

// Deliveries are lost on the way again and again, while newer events arrive.
func TestOrderOverBrokenConnections(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc, line := b.killable()
	var j journal
	s := b.run(nc, j.handle)
	for i := range 10 {
		b.publishRounds(20, 20*i, 20*(i+1))
		line.drop()
	}
	waitFor(t, "all events", func() bool { return j.len() == 20*200 })
	b.settled()
	j.checkOrder(t, 20, 200)
	s.stop()
}

// Two processes share the work while one after the other leaves properly and comes back.
func TestHandOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	var longest time.Duration
	one, two := b.run(b.connect(), j.handle), b.run(b.connect(), j.handle)
	for i := range 4 {
		b.sendRounds(20, 50*i, 50*i+50)
		one.stop() // in the middle of them
		b.checkUnpinned(one)
		start := time.Now()
		waitFor(t, "the other process", func() bool { return j.len() == 20*50*(i+1) })
		longest = max(longest, time.Since(start))
		one, two = two, b.run(b.connect(), j.handle)
	}
	t.Logf("longest take-over after a proper end: %v", longest)
	b.settled()
	j.checkOrder(t, 20, 200)
	one.stop()
	two.stop()
}

// checkUnpinned: no partition waits for the pin of a process that has left to run out.
func (b *bench) checkUnpinned(left *running) {
	b.t.Helper()
	for _, r := range left.readers {
		c, err := b.js.Consumer(b.ctx(), StreamEvents, r.consumer)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, g := range c.CachedInfo().PriorityGroups {
			if pin := r.pinned.Load().(string); pin != "" && g.PinnedClientID == pin {
				b.t.Errorf("%s is still pinned to the process that left", r.consumer)
			}
		}
	}
}

func TestGracefulEndFinishesWhatIsInHand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	started, release := make(chan struct{}, 1), make(chan struct{})
	s := b.run(b.nc, func(ctx context.Context, e *Event) error {
		started <- struct{}{}
		<-release
		if ctx.Err() != nil {
			t.Error("the context of an event in hand ended with the Source's")
		}
		j.add(e)
		return nil
	})
	b.publish("events.orders.1.shipped", "1")
	<-started
	s.cancel()
	select {
	case <-s.done:
		t.Fatal("Run returned with an event in hand")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	s.stop()
	if j.len() != 1 {
		t.Errorf("got %d events handled, want 1", j.len())
	}
	b.settled()
}

func TestGracefulEndIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	started := make(chan struct{}, 1)
	s := b.run(b.nc, func(ctx context.Context, _ *Event) error {
		started <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	b.publish("events.orders.1.shipped", "1")
	<-started
	s.grace = time.Second
	if d := s.stop(); d < s.grace || d > s.grace+3*time.Second {
		t.Errorf("Run took %v to end, want about %v", d, s.grace)
	}
	c, err := b.js.Consumer(b.ctx(), StreamEvents, s.readers[partitionOf(t, b, 1)].consumer)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.CachedInfo().NumAckPending; got != 1 {
		t.Errorf("unacknowledged: got %d, want 1: it was not handled", got)
	}
}

func partitionOf(t *testing.T, b *bench, seq uint64) int {
	t.Helper()
	m, err := getFromLeader(b.ctx(), b.nc, seq, ">")
	if err != nil || m == nil {
		t.Fatalf("read event %d: %v", seq, err)
	}
	p, err := strconv.Atoi(strings.Split(m.Subject, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An event that takes longer than AckWait is not delivered to anybody else, and not handled twice.
func TestProgressOfASlowEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	slow := func(_ context.Context, e *Event) error {
		if string(e.Data) == `"slow"` {
			time.Sleep(ackWait + 2*time.Second) // this is the test: an event that takes long
		}
		j.add(e)
		return nil
	}
	one, two := b.run(b.connect(), slow), b.run(b.connect(), slow)
	b.publish("events.orders.1.a", "slow")
	b.publish("events.orders.1.b", "2")
	waitFor(t, "both events", func() bool { return j.len() == 2 })
	b.settled()
	one.stop()
	two.stop()
	if j.calls != 2 || !strings.HasSuffix(j.lines[0], `"slow"`) {
		t.Errorf("got %d calls in order %q, want each once, the slow one first", j.calls, j.lines)
	}
}

// len is how many events are in hand.
func (l *lanes) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inHand)
}

// An event behind a slow one of its aggregate may wait long in our hands. As long as the partition stays ours nobody else can have
// handled it; when it was somebody else's in between, somebody may have.
func TestDoubtAboutEventsThatWait(t *testing.T) {
	for name, tt := range map[string]struct {
		lose bool
		want bool
	}{
		"the partition stays ours":        {false, false},
		"the partition goes, and is back": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			cfg := testConfig()
			cfg.Duplicates = 10 * time.Second // so proof of 2.5 s ago is stale
			var ticks atomic.Int32
			var begun, end sync.WaitGroup
			begun.Add(1)
			end.Add(1)
			doubt := make(chan bool, 1)
			s := b.runWith(cfg, b.nc, func(_ context.Context, e *Event) error {
				switch string(e.Data) {
				case `"slow"`:
					begun.Done()
					end.Wait()
				case `"queued"`:
					doubt <- e.Redelivered
				default:
					ticks.Add(1)
				}
				return nil
			})
			// All of two tokens, so of one partition, and each an aggregate.
			b.publish("events.slow", "slow")
			b.publish("events.slow", "queued")
			begun.Wait()
			waitFor(t, "the second to be in hand under the same pin", func() bool { return s.readers[Partitions].lanes.len() == 2 })
			if tt.lose {
				stream, err := b.js.Stream(b.ctx(), StreamEvents)
				if err != nil {
					t.Fatal(err)
				}
				if err := stream.UnpinConsumer(b.ctx(), consumerName(Partitions), priorityGroup); err != nil {
					t.Fatal(err)
				}
			}
			since := time.Now()
			waitFor(t, "longer than proof lasts, with events", func() bool {
				n := ticks.Load()
				b.publish("events.tick", "tick")
				waitFor(t, "the tick", func() bool { return ticks.Load() > n })
				return time.Since(since) > cfg.Duplicates/4+time.Second
			})
			end.Done()
			if got := <-doubt; got != tt.want {
				t.Errorf("marked as redelivered: got %v, want %v", got, tt.want)
			}
			b.settled()
			s.stop()
		})
	}
}

func TestUnavailableIsTriedWithoutLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var calls atomic.Int32
	s := b.run(b.nc, func(_ context.Context, e *Event) error {
		if n := calls.Add(1); n <= maxAttempts {
			if n > 1 && !e.Redelivered {
				t.Error("a second attempt: got not redelivered, want redelivered")
			}
			return fmt.Errorf("no leader: %w", ErrUnavailable)
		}
		return nil
	})
	b.publish("events.orders.1.shipped", "{}")
	b.settled()
	if got := calls.Load(); got != maxAttempts+1 {
		t.Errorf("got %d attempts, want %d", got, maxAttempts+1)
	}
	s.stop()
	if got := b.dead(); len(got) != 0 {
		t.Errorf("got %d dead letters, want none", len(got))
	}
}

// dead is the content of the DLQ.
func (b *bench) dead() (all []*jetstream.RawStreamMsg) {
	b.t.Helper()
	stream, err := b.js.Stream(b.ctx(), StreamDLQ)
	if err != nil {
		b.t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := stream.GetMsg(b.ctx(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, m)
	}
}

func TestRunWithoutNATS(t *testing.T) {
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s, err := NewSource(nc, testConfig(), testLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(context.Context, *Event) error { return nil }) }()
	waitFor(t, "a first check", func() bool { return s.Ready() != nil && !strings.Contains(s.Ready().Error(), "not checked yet") })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

func TestRunOnAClosedConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc := b.connect()
	s, err := NewSource(nc, testConfig(), testLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), func(context.Context, *Event) error { return nil }) }()
	waitFor(t, "the source to follow", func() bool { return s.Ready() == nil })
	nc.Close()
	select {
	case err := <-done:
		if !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("Run: got %v, want %v", err, nats.ErrConnectionClosed)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run goes on without a connection")
	}
}
