package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// pull brings a consumer's messages in order. nats.go has iterators for that; this one hands messages over as they are read from the
// connection, with no goroutine in between, and never makes the consumer anew. At most one request is open.
type pull struct {
	// Fixed at creation.
	nc      *nats.Conn
	subject string
	inbox   string
	sub     *nats.Subscription
	msgs    chan *nats.Msg // messages and statuses, to be shown to take

	// Owned by the caller.
	body    []byte    // of a request
	request int       // number of the open one
	open    int       // messages that it can still bring
	came    bool      // something has, since silent was last asked
	heard   time.Time // when that was known
}

const (
	pullBatch     = 1024
	pullExpires   = 10 * time.Second
	pullHeartbeat = time.Second
	pullSilence   = 2*pullHeartbeat + 500*time.Millisecond
)

func newPull(nc *nats.Conn, stream, consumer string) (*pull, error) {
	body, err := json.Marshal(map[string]any{"batch": pullBatch, "expires": pullExpires, "idle_heartbeat": pullHeartbeat})
	if err != nil {
		return nil, err
	}
	p := &pull{
		nc: nc, subject: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer, inbox: nc.NewInbox(), body: body,
		msgs: make(chan *nats.Msg, 2*pullBatch), // a request, a lost one that answers after all, and statuses
	}
	if p.sub, err = nc.ChanSubscribe(p.inbox+".*", p.msgs); err != nil {
		return nil, err
	}
	return p, p.ask()
}

func (p *pull) close() { _ = p.sub.Unsubscribe() } // the connection may be closed already

func (p *pull) ask() error {
	p.request++
	p.open = pullBatch
	p.heard = time.Now()
	if err := p.nc.PublishRequest(p.subject, p.inbox+"."+strconv.Itoa(p.request), p.body); err != nil {
		return fmt.Errorf("ask for records: %w", err)
	}
	return nil
}

// silent tells that the consumer has not said anything for so long that it must be gone.
func (p *pull) silent(now time.Time) bool {
	if p.came {
		p.came, p.heard = false, now
	}
	return now.Sub(p.heard) > pullSilence
}

// take looks at what came: seq is the sequence of a message in its stream, 0 for a status, which is dealt with.
func (p *pull) take(m *nats.Msg) (seq uint64, err error) {
	p.came = true
	if m.Reply != "" { // a status has none, a message always has
		if seq, err = streamSequence(m.Reply); err != nil {
			return 0, err
		}
		if p.open--; p.open <= 0 {
			err = p.ask()
		}
		return seq, err
	}
	if status := m.Header.Get("Status"); status == "100" { // heartbeat
		return 0, nil
	} else if status == "503" {
		return 0, errors.New("the consumer is gone")
	}
	if about := strings.ToLower(m.Header.Get("Description")); strings.Contains(about, "consumer deleted") {
		return 0, errors.New("the consumer was deleted")
	}
	if strings.HasSuffix(m.Subject, "."+strconv.Itoa(p.request)) { // the request has ended
		return 0, p.ask()
	}
	return 0, nil
}

// streamSequence reads the sequence out of a message's acknowledgement subject: $JS.ACK, in the longer form a domain and an account,
// then <stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending> (ADR-15).
func streamSequence(reply string) (uint64, error) {
	place := 5
	if strings.Count(reply, ".") > 8 {
		place = 7
	}
	rest := reply
	for range place {
		var ok bool
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return 0, fmt.Errorf("%q is not the reply subject of a stored message", reply)
		}
	}
	text, _, _ := strings.Cut(rest, ".")
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || !strings.HasPrefix(reply, "$JS.ACK.") {
		return 0, fmt.Errorf("%q is not the reply subject of a stored message", reply)
	}
	return seq, nil
}
