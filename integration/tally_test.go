package integration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// tally publishes events of some aggregates, each numbered 1, 2, 3 …, and checks what comes of them: each once, in the order of its
// aggregate, none left out. Its two halves may be used by a goroutine each.
type tally struct {
	size int // bytes that each event is longer

	// Owned by who publishes.
	published int
	pending   *nats.Msg // the event that was not acknowledged

	// Owned by who receives.
	received int
	last     [tallied]int
}

// tallied is the number of aggregates, which are spread over the partitions.
const tallied = 12

// publish publishes the next event for alice, or the last one again if it was not acknowledged.
func (y *tally) publish(ctx context.Context, js jetstream.JetStream, patience time.Duration) error {
	if y.pending == nil {
		a, n := y.published%tallied, y.published/tallied+1
		y.pending = nats.NewMsg(fmt.Sprintf("events.tally.%d.counted", a))
		y.pending.Header.Set(nats.MsgIdHdr, fmt.Sprintf("t-%d-%d", a, n))
		y.pending.Data = fmt.Appendf(nil, `{"userIds":["alice"],"pad":"%*s"}`, y.size, "")
	}
	try, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := js.PublishMsg(try, y.pending)
	if err == nil {
		y.pending = nil
		y.published++
	}
	return err
}

// take checks the next notification that alice gets.
func (y *tally) take(id string) error {
	var a, n int
	if _, err := fmt.Sscanf(id, "t-%d-%d", &a, &n); err != nil || a < 0 || a >= tallied {
		return fmt.Errorf("got event %q, which was not published", id)
	}
	if want := y.last[a] + 1; n != want {
		return fmt.Errorf("got %s, want number %d of that aggregate", id, want)
	}
	y.last[a] = n
	y.received++
	return nil
}

// all takes notifications until there are so many.
func (y *tally) all(v *viewer, want int) {
	v.t.Helper()
	for y.received < want {
		n, ok := v.next().(wsclient.Notification)
		if !ok {
			v.t.Fatalf("%s got another frame than a notification, after %d of %d", v.user, y.received, want)
		}
		if err := y.take(n.ID); err != nil {
			v.t.Fatalf("%s, after %d of %d: %v", v.user, y.received, want, err)
		}
	}
}

// rest takes what still comes, until there are two heartbeats: the tab is there, and nothing happens.
func (y *tally) rest(v *viewer) {
	v.t.Helper()
	for beats := 0; beats < 2; {
		switch f := v.frame().(type) {
		case wsclient.Heartbeat:
			v.cursor = f.Cursor
			beats++
		case wsclient.Notification:
			v.cursor = f.Cursor
			if err := y.take(f.ID); err != nil {
				v.t.Fatalf("%s: %v", v.user, err)
			}
		default:
			v.t.Fatalf("%s got %+v", v.user, f)
		}
	}
}

// flow publishes until ctx ends and nothing is left unacknowledged; then is called after each event.
func (y *tally) flow(ctx context.Context, js jetstream.JetStream, then func(n int)) error {
	for began := time.Now(); ctx.Err() == nil || y.pending != nil; {
		err := y.publish(context.Background(), js, 2*time.Second)
		if err == nil {
			then(y.published)
			began = time.Now()
		} else if time.Since(began) > house.Patience {
			return fmt.Errorf("event %d is not acknowledged: %w", y.published+1, err)
		}
		time.Sleep(5 * time.Millisecond) // the pace
	}
	return nil
}

// fails publishes until that has failed so often without a success between, at most n events.
func (y *tally) fails(ctx context.Context, js jetstream.JetStream, times, n int) error {
	for failed := 0; failed < times; {
		if y.published == n {
			return errors.New("everything was acknowledged")
		}
		failed++
		if y.publish(ctx, js, time.Second) == nil {
			failed = 0
		}
	}
	return nil
}
