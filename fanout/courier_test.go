package fanout

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestReadAnswer(t *testing.T) {
	noResponders := nats.NewMsg("a")
	noResponders.Header.Set("Status", "503")
	tests := map[string]struct {
		m    *nats.Msg
		want error // nil: stored
	}{
		"stored":            {&nats.Msg{Data: []byte(`{"stream":"LOG_0","seq":1042}`)}, nil},
		"stored before":     {&nats.Msg{Data: []byte(`{"stream":"LOG_0","domain":"hub","seq":1042,"duplicate":true}`)}, nil},
		"written otherwise": {&nats.Msg{Data: []byte(`{ "seq": 1042, "stream": "LOG_0" }`)}, nil},
		"refused": {&nats.Msg{Data: []byte(`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"LOG_0","seq":0}`)},
			jetstream.ErrStreamMessageExceedsMaximum},
		"refused, written otherwise": {&nats.Msg{Data: []byte(`{"stream":"LOG_0","error":{"code":400,"err_code":10054},"seq":0}`)},
			jetstream.ErrStreamMessageExceedsMaximum},
		"no stream":       {noResponders, jetstream.ErrNoStreamResponse},
		"no stream named": {&nats.Msg{Data: []byte(`{"seq":1}`)}, jetstream.ErrInvalidJSAck},
		"no JSON":         {&nats.Msg{Data: []byte(`+OK`)}, jetstream.ErrInvalidJSAck},
		"nothing":         {&nats.Msg{}, jetstream.ErrInvalidJSAck},
	}
	for name, tt := range tests {
		if got := readAnswer(tt.m); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// What waits behind a slow connection and was given up meanwhile is not sent: it might come behind the duplicate window.
func TestCourierSendsOnlyWhatIsWaitedFor(t *testing.T) {
	js := startNode(t).connect()
	p := newLog(t, js, logConfig(1))
	entries := entriesFor(t, freshEvent("1"), 1, 1)[:1]
	c := p.courier
	c.sending = true // somebody is at it
	given := &flight{p: p, entries: entries, answers: make([]answer, 1), news: make(chan struct{}, 1)}
	kept := &flight{p: p, entries: entriesFor(t, freshEvent("2"), 1, 2), answers: make([]answer, 2), news: make(chan struct{}, 1)}
	kept.entries[0].MsgID, kept.entries[1].MsgID = "kept-0", "kept-1"
	c.forget(c.send(given, 0))
	c.send(kept, 0)
	c.send(kept, 1)
	if c.sendBatch() {
		t.Error("there is more to send, want nothing")
	}
	eventually(t, "both are acknowledged", func() bool { return c.get(kept, 0).done && c.get(kept, 1).done })
	var ids []string
	for _, r := range readLog(t, js, 1) {
		ids = append(ids, r.id)
	}
	if want := []string{"kept-0", "kept-1"}; !slices.Equal(ids, want) {
		t.Errorf("in the log: got %q, want %q", ids, want)
	}
	if len(c.waiting) > 0 {
		t.Errorf("%d questions are left", len(c.waiting))
	}
}
