package fanout

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// courier publishes entries and takes their acknowledgements. jetstream.PublishMsgAsync does so too, with 23 allocations more: it keeps a
// future with channels and a header for each message, parses each answer as any JSON, and sends again by itself what the Publisher
// sends again anyway.
//
// Whoever has something to send puts it into the queue, and one of them sends for all. The connection has a lock that is held while
// bytes go out; if thousands of lanes took it themselves they would queue for it, each woken for its one message, and on a busy
// machine that queue was where events spent seconds.
type courier struct {
	nc *nats.Conn // fixed at creation

	// Guarded by mu.
	mu      sync.Mutex
	last    uint64              // number of the newest question
	waiting map[uint64]question // without an answer
	queue   []uint64            // questions that are not sent
	sending bool                // somebody sends
	looked  time.Time           // when line was learnt
	line    line

	// Owned by whoever sends.
	sub    *nats.Subscription // as long as the connection; made with the first message
	prefix string             // of the subjects that answers come to
	batch  []parcel
	msg    nats.Msg
}

// question is a message that is not acknowledged: entry i of a flight.
type question struct {
	f *flight
	i int
}

// parcel is a message to be sent.
type parcel struct {
	*Entry
	number uint64
}

// line is the state of the connection. After a break no answer comes to what was sent before it.
type line struct {
	up      bool
	breaks  uint64
	payload int64 // max_payload of the server
}

// lookEvery is how old the known state of the connection may be.
const lookEvery = 100 * time.Millisecond

func newCourier(nc *nats.Conn) *courier {
	return &courier{
		nc:      nc,
		waiting: make(map[uint64]question),
		line:    line{up: true}, // until it is looked at
		msg:     nats.Msg{Header: nats.Header{jetstream.MsgIDHeader: {""}}},
	}
}

// send sends entry i of f behind all that were given before, and returns its number. The answer comes to f.
func (c *courier) send(f *flight, i int) (number uint64) {
	c.mu.Lock()
	c.last++
	number = c.last
	c.waiting[number] = question{f, i}
	c.queue = append(c.queue, number)
	mine := !c.sending
	c.sending = true
	c.mu.Unlock()
	if mine {
		runtime.Gosched() // who has events of the same read in hand joins in: one write, and NATS is woken once
		if c.sendBatch() {
			go c.sendAll() // f is not to wait for the others
		}
	}
	return number
}

func (c *courier) sendAll() {
	for c.sendBatch() {
	}
}

// sendBatch sends what is in the queue. It is false when that was all, and then the next one sends.
func (c *courier) sendBatch() (more bool) {
	now, err := c.open()
	c.takeQueue(now)
	for i, p := range c.batch {
		failed := err
		if err == nil {
			failed = c.publish(p)
		}
		if failed != nil {
			c.answer(p.number, failed)
		}
		c.batch[i] = parcel{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending = len(c.queue) > 0
	return c.sending
}

// open looks at the connection. While there is none, nats.go could keep messages and send them whenever it is connected again.
func (c *courier) open() (line, error) {
	now := c.look()
	if !now.up {
		return now, errDisconnected
	}
	if c.sub != nil {
		return now, nil
	}
	prefix := c.nc.NewInbox() + "."
	sub, err := c.nc.Subscribe(prefix+"*", func(m *nats.Msg) {
		number, _ := strconv.ParseUint(m.Subject[len(prefix):], 10, 64) // 0 is nobody's
		c.answer(number, readAnswer(m))
	})
	if err != nil {
		return now, err
	}
	c.sub, c.prefix = sub, prefix
	return now, nil
}

// takeQueue makes a batch of the queue, without what nobody waits for any more.
func (c *courier) takeQueue(now line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batch = c.batch[:0]
	for _, number := range c.queue {
		if q, ok := c.waiting[number]; ok {
			q.f.answers[q.i] = answer{sent: true, breaks: now.breaks}
			c.batch = append(c.batch, parcel{&q.f.entries[q.i], number})
		}
	}
	c.queue = c.queue[:0]
}

func (c *courier) publish(p parcel) error {
	var b [64]byte
	c.msg.Subject, c.msg.Data = p.Subject, p.Body
	c.msg.Reply = string(strconv.AppendUint(append(b[:0], c.prefix...), p.number, 10))
	c.msg.Header[jetstream.MsgIDHeader][0] = p.MsgID
	if p.TraceParent != "" {
		c.msg.Header[wire.HeaderTrace] = []string{p.TraceParent}
		defer delete(c.msg.Header, wire.HeaderTrace)
	}
	return c.nc.PublishMsg(&c.msg) // has copied all of it when it returns
}

// answer gives an answer to the flight that waits for it. One that comes too late, nobody waits for.
func (c *courier) answer(number uint64, err error) {
	c.mu.Lock()
	q, ok := c.waiting[number]
	if !ok {
		c.mu.Unlock()
		return
	}
	delete(c.waiting, number)
	q.f.answers[q.i] = answer{done: true, err: err}
	news := q.f.news // unlocked, f may be another's already
	c.mu.Unlock()
	select {
	case news <- struct{}{}:
	default: // it has not looked at the one before yet
	}
}

// get is what is known about a flight's entry i.
func (c *courier) get(f *flight, i int) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.answers[i]
}

// forget: nobody waits for this answer any more.
func (c *courier) forget(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

// look tells the state of the connection now.
func (c *courier) look() line {
	now := line{c.nc.IsConnected(), c.nc.Stats().Reconnects, c.nc.MaxPayload()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line, c.looked = now, time.Now()
	return now
}

// lineNow is the state of the connection a short while ago. It is asked for with every event, and the connection's own lock is
// wanted for sending.
func (c *courier) lineNow() line {
	c.mu.Lock()
	known, fresh := c.line, time.Since(c.looked) < lookEvery
	if !fresh {
		c.looked = time.Now()
	}
	c.mu.Unlock()
	if fresh {
		return known
	}
	return c.look()
}

var (
	storedAs = []byte(`{"stream":"`)
	notError = []byte(`"error"`)
)

// readAnswer is nil for an acknowledgement, otherwise why the message is not stored.
func readAnswer(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return jetstream.ErrNoStreamResponse
	}
	if bytes.HasPrefix(m.Data, storedAs) && !bytes.Contains(m.Data, notError) {
		return nil // {"stream":"LOG_0","seq":1042}
	}
	var answer struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil || answer.Error == nil && answer.Stream == "":
		return jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		return answer.Error
	}
	return nil
}
