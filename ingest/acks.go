package ingest

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ackDelay is how long an acknowledgement waits for others. Sent alone, each wakes three goroutines on its way, in front of those
// that bring records to browsers; together they wake them once. A process that dies in between leaves as many more events to
// recognise, ten at 5,000 a second.
const ackDelay = 2 * time.Millisecond

// acks acknowledges events. One that is lost is delivered again, recognised, and acknowledged again.
type acks struct {
	nc *nats.Conn // fixed at creation

	// Guarded by mu.
	mu      sync.Mutex
	waiting []ackReply
	spare   []ackReply  // for the next of them
	timer   *time.Timer // runs send; set when something waits
}

// add acknowledges a before long.
func (a *acks) add(ack ackReply) {
	if ack == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, ack)
	if len(a.waiting) > 1 {
		return
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(ackDelay, a.send)
	} else {
		a.timer.Reset(ackDelay)
	}
}

func (a *acks) send() {
	a.mu.Lock()
	acks := a.waiting
	a.waiting, a.spare = a.spare, nil
	a.mu.Unlock()
	for i, ack := range acks {
		_ = a.nc.Publish(string(ack), ackBody)
		acks[i] = ""
	}
	a.mu.Lock()
	a.spare = acks[:0]
	a.mu.Unlock()
}

var ackBody = []byte("+ACK")

// end sends what waits. Nothing is added any more.
func (a *acks) end() {
	a.mu.Lock()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.send()
}
