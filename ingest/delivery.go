package ingest

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// delivery is one stored event on its way to the handler, delivered by the consumer or read from the stream by a take-over.
type delivery struct {
	msg    *jetstream.RawStreamMsg
	ack    ackReply
	pin    string // under which we got it
	number uint64 // of this delivery in the consumer: 1, 2, 3 …
	times  int    // delivered so often; 0: read from the stream
}

// eventID tells one stored event from any other, also from one of the same sequence in a stream that was deleted and made again.
type eventID struct {
	seq    uint64
	stored int64 // Unix nanoseconds
}

func (d *delivery) id() eventID { return eventID{d.msg.Sequence, d.msg.Time.UnixNano()} }

// ackReply is the subject that a delivery is acknowledged on. The server finds the event by the stream sequence in it.
type ackReply string

// Where the numbers are in an acknowledgement subject: $JS.ACK, in the longer form a domain and an account, then
// <stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending> (ADR-15).
const (
	shortReply = 9
	longReply  = 11 // or more
)

// readReply reads a delivery's acknowledgement subject. It fails for a message that no consumer delivered.
func readReply(m *nats.Msg) (*delivery, bool) {
	t := strings.Split(m.Reply, ".")
	at := replyNumbers(t)
	if at < 0 {
		return nil, false
	}
	times, err1 := strconv.Atoi(t[at])
	seq, err2 := strconv.ParseUint(t[at+1], 10, 64)
	number, err3 := strconv.ParseUint(t[at+2], 10, 64)
	stored, err4 := strconv.ParseInt(t[at+3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return nil, false
	}
	pin := m.Header.Get(headerPin)
	m.Header.Del(headerPin) // it is no part of the event
	return &delivery{
		msg: &jetstream.RawStreamMsg{
			Subject:  m.Subject,
			Sequence: seq,
			Header:   m.Header,
			Data:     m.Data,
			Time:     time.Unix(0, stored).UTC(),
		},
		ack:    ackReply(m.Reply),
		pin:    pin,
		number: number,
		times:  times,
	}, true
}

func replyNumbers(tokens []string) int {
	switch n := len(tokens); {
	case n < shortReply || tokens[0] != "$JS" || tokens[1] != "ACK":
		return -1
	case n == shortReply:
		return 4
	case n >= longReply:
		return 6
	}
	return -1
}

// forEvent is the acknowledgement subject of another event of the same consumer: of one that was delivered to a worker which
// died, and that we have read from the stream. It saves waiting for the redelivery, and the room it takes among those
// the server lets be unacknowledged.
func (r ackReply) forEvent(m *jetstream.RawStreamMsg) ackReply {
	t := strings.Split(string(r), ".")
	at := replyNumbers(t)
	if at < 0 {
		return ""
	}
	t[at+1] = strconv.FormatUint(m.Sequence, 10)
	t[at+3] = strconv.FormatInt(m.Time.UnixNano(), 10)
	return ackReply(strings.Join(t, "."))
}
