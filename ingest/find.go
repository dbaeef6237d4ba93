package ingest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Is tells whether a stored event is the one that a person calls id: its Nats-Msg-Id, its id as a CloudEvent, or its Key. Most
// are told apart without decoding them: whoever looks for one event walks over many.
func Is(m *jetstream.RawStreamMsg, id string) bool {
	if id == "" {
		return false
	}
	for name, values := range m.Header {
		if len(values) == 0 {
			continue
		}
		switch {
		case strings.EqualFold(name, nats.MsgIdHdr) || strings.EqualFold(name, originalPrefix+nats.MsgIdHdr):
			if values[0] == id {
				return true
			}
		case strings.EqualFold(name, headerPrefix+"id"):
			if value, err := decodeHeader(values[0]); err == nil && value == id {
				return true
			}
		}
	}
	if isKey(id) && isKeyed(m, id) {
		return true
	}
	return isStructured(m, id)
}

// isKey: 32 hexadecimal digits.
func isKey(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

func isKeyed(m *jetstream.RawStreamMsg, id string) bool {
	e, err := Decode(m)
	if err != nil {
		return storageKey(m) == id
	}
	return e.Key == id
}

// isStructured: an id within JSON may be escaped, so a body that has neither it nor a backslash is none.
func isStructured(m *jetstream.RawStreamMsg, id string) bool {
	if !bytes.Contains(m.Data, []byte(`"specversion"`)) || !bytes.Contains(m.Data, []byte(id)) && !bytes.Contains(m.Data, []byte{'\\'}) {
		return false
	}
	if e, err := Decode(m); err == nil {
		return e.ID == id
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(m.Data, &fields) != nil {
		return false
	}
	var have string
	return json.Unmarshal(fields["id"], &have) == nil && have == id
}

// ConsumerOf is the consumer that reads an event, given the subject that it is stored under.
func ConsumerOf(stored string) string {
	rest, ok := strings.CutPrefix(stored, storedPrefix)
	if !ok {
		return consumerName(Partitions)
	}
	token, _, _ := strings.Cut(rest, ".")
	p, err := strconv.Atoi(token)
	if err != nil || p < 0 || p >= Partitions {
		return consumerName(Partitions)
	}
	return consumerName(p)
}

// DeadLetterSubject is where dead letters of events are that were published on subject.
func DeadLetterSubject(subject string) string { return "dlq." + subject }

// DeadLetter is what a message of the DLQ says about an event.
type DeadLetter struct {
	Reason     string
	Rule       string
	Expression string
	Attempts   int
	Subject    string    // as published
	Sequence   uint64    // in EVENTS
	Stored     time.Time // in EVENTS
	Event      *jetstream.RawStreamMsg
}

// ReadDeadLetter reads a message of the DLQ. What is missing or not readable, since anyone can publish there, is left empty.
func ReadDeadLetter(m *jetstream.RawStreamMsg) DeadLetter {
	d := DeadLetter{
		Reason: m.Header.Get(HeaderReason), Rule: m.Header.Get("Tidings-Rule"), Expression: m.Header.Get("Tidings-Expression"),
		Subject: m.Header.Get(HeaderSubject),
	}
	d.Attempts, _ = strconv.Atoi(m.Header.Get(HeaderAttempts))
	d.Sequence, _ = strconv.ParseUint(m.Header.Get(HeaderSequence), 10, 64)
	d.Stored, _ = time.Parse(time.RFC3339Nano, m.Header.Get(HeaderTime))
	if d.Subject == "" {
		d.Subject = strings.TrimPrefix(m.Subject, "dlq.")
	}
	d.Event = &jetstream.RawStreamMsg{Subject: d.Subject, Sequence: d.Sequence, Time: d.Stored, Header: m.Header, Data: m.Data}
	return d
}
