package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	pullBatch     = maxAckPending // one request never brings more
	pullBytes     = 2 << 20       // nor more than this, so that 17 pullers stay below 40 MiB
	pullExpires   = pinnedTTL / 2 // each request renews the pin
	pullHeartbeat = time.Second
	pullSilence   = 2*pullHeartbeat + 500*time.Millisecond // then the request is taken for lost
)

// errGone: nobody answers for the consumer. It was deleted, or its leader is being elected.
var errGone = errors.New("no consumer answers")

// puller asks one consumer for messages. nats.go has iterators for that; this one tells a consumer that is gone from a
// quiet one at once, and can keep its pin without taking a message. At most one request is open, except for those of keep.
type puller struct {
	// Fixed at creation.
	nc      *nats.Conn
	subject string
	inbox   string
	sub     *nats.Subscription
	ch      chan *nats.Msg

	// Owned by the caller.
	pin     string // of the last message
	request int    // number of the open request
	open    int    // messages it can still bring; 0: none is open
	heard   func() // called on every sign of life
	keptAt  time.Time
	silence *time.Timer // runs while next waits
}

func newPuller(nc *nats.Conn, consumer string, heard func()) (*puller, error) {
	p := &puller{
		nc:      nc,
		subject: "$JS.API.CONSUMER.MSG.NEXT." + StreamEvents + "." + consumer,
		inbox:   nc.NewInbox(),
		ch:      make(chan *nats.Msg, 4*pullBatch), // a request, a lost one that answers after all, and statuses
		heard:   heard,
		silence: time.NewTimer(pullSilence),
	}
	sub, err := nc.ChanSubscribe(p.inbox+".*", p.ch)
	if err != nil {
		return nil, fmt.Errorf("subscribe for %s: %w", consumer, err)
	}
	p.sub = sub
	return p, nil
}

// leave ends the open request: the server sends nothing any more, and what it has sent can be had from buffered.
func (p *puller) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if p.sub.Drain() == nil {
		_ = p.nc.FlushWithContext(ctx) // without an answer nothing more is to come either
	}
}

func (p *puller) close() { _ = p.sub.Unsubscribe() } // the connection may be closed already

type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int           `json:"max_bytes"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
	Group     string        `json:"group"`
	Pin       string        `json:"id,omitempty"`
}

// next waits for the next message. Its errors are ctx's, errGone, and what the server says is wrong with the request.
func (p *puller) next(ctx context.Context) (*nats.Msg, error) {
	p.silence.Reset(pullSilence)
	defer p.silence.Stop()
	for {
		if p.open == 0 {
			if err := p.ask(); err != nil {
				return nil, err
			}
			p.silence.Reset(pullSilence)
		}
		select {
		case m := <-p.ch:
			if m, err := p.take(m); m != nil || err != nil {
				return m, err
			}
			p.silence.Reset(pullSilence)
		case <-p.silence.C:
			p.open = 0
			p.silence.Reset(pullSilence)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// buffered returns what has arrived already, nil when nothing has.
func (p *puller) buffered() *nats.Msg {
	for {
		select {
		case m := <-p.ch:
			if m, _ := p.take(m); m != nil { // an error will be met again by next
				return m
			}
		default:
			return nil
		}
	}
}

func (p *puller) ask() error {
	p.request++
	p.open = pullBatch
	p.keptAt = time.Now()
	return p.send(p.inbox+"."+strconv.Itoa(p.request), pullRequest{
		Batch:     pullBatch,
		MaxBytes:  max(pullBytes, int(p.nc.MaxPayload())+64<<10),
		Expires:   pullExpires,
		Heartbeat: pullHeartbeat,
	})
}

// keep holds on to the pin while no message can be taken: a request that no message fits into. The server renews the pin
// when it arrives, and refuses it when there is something to send. Nobody listens for that refusal.
func (p *puller) keep() {
	if p.pin == "" || time.Since(p.keptAt) < pullExpires/2 {
		return
	}
	p.keptAt = time.Now()
	_ = p.send(p.inbox, pullRequest{Batch: 1, MaxBytes: 1, Expires: pullExpires}) // without a connection there is no pin to keep
}

func (p *puller) send(reply string, r pullRequest) error {
	r.Group, r.Pin = priorityGroup, p.pin
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := p.nc.PublishRequest(p.subject, reply, body); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// take looks at what arrived: a message is returned, a status is acted on.
func (p *puller) take(m *nats.Msg) (*nats.Msg, error) {
	status := ""
	if len(m.Data) == 0 {
		status = m.Header.Get("Status")
	}
	current := strings.HasSuffix(m.Subject, "."+strconv.Itoa(p.request))
	if m.Reply != "" { // a status has none, a message always has
		p.heard()
		p.pin = m.Header.Get(headerPin)
		p.open = max(p.open-1, 0)
		return m, nil
	}
	if status == "503" { // the only one that no consumer sends
		p.open = 0
		return nil, errGone
	}
	p.heard()
	switch status {
	case "100": // heartbeat
	case "423": // somebody else has the pin
		p.pin = ""
		p.end(current)
	case "409":
		p.end(current)
		switch about := strings.ToLower(m.Header.Get("Description")); {
		case strings.Contains(about, "consumer deleted"):
			return nil, errGone
		case strings.Contains(about, "exceeded"): // MaxRequestBatch and its kind, set by an operator
			return nil, fmt.Errorf("the consumer refuses our requests: %s", about)
		}
	case "400":
		p.end(current)
		return nil, fmt.Errorf("the consumer refuses our requests: %s", m.Header.Get("Description"))
	default: // 404, 408: the request has ended
		p.end(current)
	}
	return nil, nil
}

func (p *puller) end(current bool) {
	if current {
		p.open = 0
	}
}
