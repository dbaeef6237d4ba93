package gateway

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

func TestStreamSequence(t *testing.T) {
	for reply, want := range map[string]uint64{
		"$JS.ACK.LOG_0.abc.1.7.3.1700000000000000000.12":                   7,
		"$JS.ACK.dom.HASH.LOG_0.abc.1.7.3.1700000000000000000.12":          7,
		"$JS.ACK.dom.HASH.LOG_0.abc.1.7.3.1700000000000000000.12.random":   7,
		"$JS.ACK.LOG_0.abc.1.18446744073709551615.3.1700000000000000000.0": 1<<64 - 1,
		"": 0, "_INBOX.abc": 0, "$JS.ACK.LOG_0.abc.1": 0, "$JS.ACK.LOG_0.abc.1.x.3.4.5": 0, "other.ACK.LOG_0.abc.1.7.3.4.5": 0,
	} {
		got, err := streamSequence(reply)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: got %d, %v, want %d", reply, got, err, want)
		}
	}
}

// More messages than a request brings come without a hole, whoever asks again and when; a consumer that is deleted says so.
func TestPull(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	const n = 2*pullBatch + 10
	for range n {
		h.tell(wire.Record{Kind: wire.All, Notification: note(1)})
	}
	log, err := h.js.Stream(t.Context(), "LOG_0")
	if err != nil {
		t.Fatal(err)
	}
	cons, err := log.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPull(h.js.Conn(), "LOG_0", cons.CachedInfo().Name)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	next := func() (uint64, error) {
		for {
			select {
			case m := <-p.msgs:
				if seq, err := p.take(m); seq != 0 || err != nil {
					return seq, err
				}
			case <-time.After(10 * time.Second):
				t.Fatal("nothing comes")
			}
		}
	}
	for want := range uint64(n) {
		if got, err := next(); got != want+1 || err != nil {
			t.Fatalf("got %d, %v, want %d", got, err, want+1)
		}
	}
	if now := time.Now(); p.silent(now) || p.silent(now.Add(pullSilence)) || !p.silent(now.Add(pullSilence+time.Second)) {
		t.Error("silence is not that long without a word")
	}
	if err := log.DeleteConsumer(t.Context(), cons.CachedInfo().Name); err != nil {
		t.Fatal(err)
	}
	if got, err := next(); err == nil {
		t.Errorf("got %d from a consumer that was deleted", got)
	}
}
