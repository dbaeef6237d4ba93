package ingest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestIs(t *testing.T) {
	raw := &jetstream.RawStreamMsg{Subject: "ev.3.orders.1.shipped", Sequence: 7, Time: time.Unix(1_800_000_000, 5), Data: []byte(`{"userId":"a"}`),
		Header: nats.Header{"Nats-Msg-Id": {"m-1"}}}
	binary := &jetstream.RawStreamMsg{Subject: "events.a", Sequence: 8, Data: []byte(`{}`), Header: nats.Header{
		"ce-specversion": {"1.0"}, "CE-Id": {"50%25%20off"}, "ce-source": {"/s"}, "ce-type": {"t"}}}
	structured := &jetstream.RawStreamMsg{Subject: "events.a", Sequence: 9, Data: []byte(`{"specversion":"1.0","id":"a\/b","source":"/s","type":"t"}`)}
	broken := &jetstream.RawStreamMsg{Subject: "events.a", Sequence: 10, Data: []byte(`{"specversion":"9","id":"old","source":"/s","type":"t"}`)}
	dead := deadLetter{err: ErrPermanent, attempts: 1}.message(raw)
	buried := &jetstream.RawStreamMsg{Subject: dead.Subject, Header: dead.Header, Data: dead.Data}
	for _, c := range []struct {
		name string
		m    *jetstream.RawStreamMsg
		id   string
		want bool
	}{
		{"Nats-Msg-Id", raw, "m-1", true},
		{"another", raw, "m-2", false},
		{"nothing", raw, "", false},
		{"key of a raw event", raw, storageKey(raw), true},
		{"key of another", binary, storageKey(raw), false},
		{"binary, percent-encoded", binary, "50% off", true},
		{"binary, as sent", binary, "50%25%20off", false},
		{"key of a CloudEvent", binary, cloudKey("/s", "50% off"), true},
		{"structured, escaped", structured, "a/b", true},
		{"structured, another", structured, "b", false},
		{"a CloudEvent that is none", broken, "old", true},
		{"key of a CloudEvent that is none", broken, storageKey(broken), true},
		{"a dead letter", buried, "m-1", true},
		{"key of a dead letter", ReadDeadLetter(buried).Event, storageKey(raw), true},
	} {
		if got := Is(c.m, c.id); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestConsumerOf(t *testing.T) {
	for stored, want := range map[string]string{
		"ev.3.orders.1.shipped": "fanout-3",
		"ev.15.a.b.c":           "fanout-15",
		"events.ping":           "fanout-16",
		"ev.16.a.b.c":           "fanout-16",
		"ev.x.a":                "fanout-16",
		"":                      "fanout-16",
	} {
		if got := ConsumerOf(stored); got != want {
			t.Errorf("%q is read by %s, want %s", stored, got, want)
		}
	}
}

func TestReadDeadLetter(t *testing.T) {
	event := &jetstream.RawStreamMsg{Subject: "ev.3.orders.1.shipped", Sequence: 7, Time: time.Unix(1_800_000_000, 5).UTC(), Data: []byte("x")}
	m := deadLetter{err: ErrPermanent, attempts: 6}.message(event)
	d := ReadDeadLetter(&jetstream.RawStreamMsg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if d.Reason != ErrPermanent.Error() || d.Attempts != 6 || d.Subject != "events.orders.1.shipped" || d.Sequence != 7 || !d.Stored.Equal(event.Time) {
		t.Errorf("got %+v", d)
	}
}

func FuzzFind(f *testing.F) {
	f.Add("ev.3.a.b.c", "ce-id", "a%20b", "a b", []byte(`{"specversion":"1.0","id":"x"}`))
	f.Add("dlq.events.a", "Tidings-Sequence", "-1", "x", []byte(`{`))
	f.Add("events.a", "Tidings-Time", "yesterday", "0123456789abcdef0123456789abcdef", []byte(`{"specversion":"1.0","id":1,"source":"","type":""}`))
	f.Fuzz(func(t *testing.T, subject, header, value, id string, data []byte) {
		m := &jetstream.RawStreamMsg{Subject: subject, Header: nats.Header{header: {value}}, Data: data}
		ConsumerOf(subject)
		d := ReadDeadLetter(m)
		if Is(m, id) && id == "" {
			t.Error("nothing is an id")
		}
		Is(d.Event, id)
	})
}
