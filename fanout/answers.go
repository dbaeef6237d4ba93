package fanout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answers receives the acknowledgements of published Records. jetstream.PublishMsgAsync does so too, for 5 µs and 25 allocations
// more: it keeps a future with channels and a header for each message, parses each answer as any JSON, and sends again by itself what
// the Publisher sends again anyway.
type answers struct {
	nc *nats.Conn // fixed at creation

	// Guarded by mu.
	mu      sync.Mutex
	sub     *nats.Subscription // as long as the connection; made with the first publish
	prefix  string             // of the subjects that answers come to
	last    uint64             // number of the newest question
	waiting map[uint64]question
}

// question is a message that is not acknowledged: entry i of a flight.
type question struct {
	f *flight
	i int
}

func newAnswers(nc *nats.Conn) *answers {
	return &answers{nc: nc, waiting: make(map[uint64]question)}
}

// ask gives the number of a new question, and the subject that its answer is to come to.
func (a *answers) ask(f *flight, i int) (number uint64, reply string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.subscribe(); err != nil {
		return 0, "", err
	}
	a.last++
	a.waiting[a.last] = question{f, i}
	b := append(make([]byte, 0, 64), a.prefix...)
	return a.last, string(strconv.AppendUint(b, a.last, 10)), nil
}

func (a *answers) subscribe() error {
	if a.sub != nil {
		return nil
	}
	prefix := a.nc.NewInbox() + "."
	sub, err := a.nc.Subscribe(prefix+"*", a.take)
	if err != nil {
		return fmt.Errorf("subscribe for acknowledgements: %w", err)
	}
	a.sub, a.prefix = sub, prefix
	return nil
}

// take gives an answer to the flight that waits for it. One that comes too late, nobody waits for.
func (a *answers) take(m *nats.Msg) {
	number, _ := strconv.ParseUint(m.Subject[len(a.prefix):], 10, 64) // 0 is nobody's
	err := readAnswer(m)
	var news chan struct{}
	a.mu.Lock()
	q, ok := a.waiting[number]
	if ok {
		delete(a.waiting, number)
		news = q.f.news // unlocked, f may be another's already
		q.f.answered[q.i] = answer{done: true, err: err}
	}
	a.mu.Unlock()
	if !ok {
		return
	}
	select {
	case news <- struct{}{}:
	default: // it has not looked at the one before yet
	}
}

// get is the answer to a flight's entry i, if it has come.
func (a *answers) get(f *flight, i int) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return f.answered[i]
}

// forget: nobody waits for this answer any more.
func (a *answers) forget(number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, number)
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
