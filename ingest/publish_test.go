package ingest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var j journal
	s := b.run(b.nc, j.handle)
	header := nats.Header{"notify-users": {"alice"}}
	if err := Publish(t.Context(), b.js, "events.orders.1.shipped", []byte("1"), header); err != nil {
		t.Fatal(err)
	}
	if len(header) != 1 {
		t.Errorf("the caller's headers: got %v, want them unchanged", header)
	}
	for range 2 { // a retry of the caller's own
		if err := Publish(t.Context(), b.js, "events.orders.1.paid", []byte("2"), nats.Header{nats.MsgIdHdr: {"m-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	b.settled()
	if j.len() != 2 || j.calls != 2 {
		t.Errorf("got %d events in %d calls, want 2 in 2", j.len(), j.calls)
	}
	s.stop()
}

func TestPublishSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := Publish(ctx, b.js, "events.a", nil, nil); err == nil || !strings.Contains(err.Error(), "is Tidings running") {
		t.Errorf("without a stream: got %v", err)
	}
	s := b.run(b.nc, func(context.Context, *Event) error { return nil })
	if err := Publish(t.Context(), b.js, "orders.1", nil, nil); err == nil || !strings.Contains(err.Error(), `"events."`) {
		t.Errorf("bad subject: got %v", err)
	}
	if err := Publish(t.Context(), b.js, "events.a", make([]byte, 2<<20), nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too large: got %v", err)
	}
	s.stop()
}
