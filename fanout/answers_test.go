package fanout

import (
	"errors"
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
