package ingest

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var stored = time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)

// stored message: headers as "name: value" lines, then an empty line, then the body.
func message(text string) *jetstream.RawStreamMsg {
	m := &jetstream.RawStreamMsg{Subject: "ev.3.orders.1042.shipped", Sequence: 17, Time: stored, Header: nats.Header{}}
	head, body, _ := strings.Cut(text, "\n\n")
	for line := range strings.SplitSeq(head, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			m.Header[name] = append(m.Header[name], value)
		}
	}
	m.Data = []byte(body)
	return m
}

const (
	binaryEvent = "ce-specversion: 1.0\nce-id: a-1\nce-source: /orders\nce-type: order.shipped\n"
	jsonEvent   = `{"specversion":"1.0","id":"a-1","source":"/orders","type":"order.shipped"`
)

func TestDecode(t *testing.T) {
	ceKey := cloudKey("/orders", "a-1")
	ce := func(change func(*Event)) Event {
		e := Event{Key: ceKey, ID: "a-1", Source: "/orders", Type: "order.shipped", Time: stored}
		if change != nil {
			change(&e)
		}
		return e
	}
	raw := func(change func(*Event)) Event {
		key := storageKey(message(""))
		e := Event{Key: key, ID: key, Type: "orders.1042.shipped", Time: stored}
		if change != nil {
			change(&e)
		}
		return e
	}
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, c := range []struct {
		name, message string
		want          Event
	}{
		{"raw JSON", "\n\n{\"a\":1}", raw(func(e *Event) { e.Data = []byte(`{"a":1}`) })},
		{"raw text", "\n\nhello \"you\" <b>", raw(func(e *Event) { e.Data = []byte(`"hello \"you\" <b>"`) })},
		{"raw bytes", "\n\n\xff\x00", raw(func(e *Event) { e.Data = []byte(`"/wA="`) })},
		{"raw nothing", "", raw(nil)},
		{"raw JSON that is not UTF-8", "\n\n\"\xff\"", raw(func(e *Event) { e.Data = []byte(`"Iv8i"`) })},
		{"raw text by its type", "Content-Type: text/plain\n\n12", raw(func(e *Event) { e.Data, e.DataContentType = []byte(`"12"`), "text/plain" })},
		{"raw bytes by their type", "Content-Type: application/x-protobuf\n\n12", raw(func(e *Event) { e.Data, e.DataContentType = []byte(`"MTI="`), "application/x-protobuf" })},
		{"raw with a wrong claim of JSON", "content-type: application/json\n\n{", raw(func(e *Event) { e.Data, e.DataContentType = []byte(`"{"`), "application/json" })},
		{"raw with a message id", "Nats-Msg-Id: m-1\n\n1", raw(func(e *Event) { e.ID, e.Data = "m-1", []byte("1") })},
		{"raw that looks a little like a CloudEvent", "\n\n{\"specversion\":\"1.0\",\"id\":\"x\"}", raw(func(e *Event) { e.Data = []byte(`{"specversion":"1.0","id":"x"}`) })},
		{"raw with trace", "traceparent: " + parent + "\nTracestate: a=b\n\n1", raw(func(e *Event) { e.TraceParent, e.TraceState, e.Data = parent, "a=b", []byte("1") })},
		{"raw with a bad trace", "traceparent: 00-x\ntracestate: a=b\n\n1", raw(func(e *Event) { e.Data = []byte("1") })},

		{"binary", binaryEvent + "\n{\"a\":1}", ce(func(e *Event) { e.Data = []byte(`{"a":1}`) })},
		{"binary, capitals", "CE-SpecVersion: 1.0\nCe-Id: a-1\nce-Source: /orders\nCE-TYPE: order.shipped\nCE-NotifyUsers: alice\n\n1",
			ce(func(e *Event) { e.Extensions, e.Data = map[string]string{"notifyusers": "alice"}, []byte("1") })},
		{"binary, all attributes", binaryEvent + "ce-time: 2026-01-02t03:04:05.5z\nce-subject: 1042\nce-dataschema: /s\nce-datacontenttype: text/xml\nce-a: b\n\n<x/>",
			ce(func(e *Event) {
				e.Time, e.Subject, e.DataContentType = time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC), "1042", "text/xml"
				e.Extensions, e.Data = map[string]string{"a": "b"}, []byte(`"<x/>"`)
			})},
		{"binary, percent", binaryEvent + "ce-subject: Euro%20%e2%82%ac%20%F0%9F%98%80 50% %2541\n\n", ce(func(e *Event) { e.Subject = "Euro € 😀 50% %41" })},
		{"binary, quoted", binaryEvent + "ce-subject: \"a \\\"b\\\" %41\"\n\n", ce(func(e *Event) { e.Subject = `a "b" A` })},
		{"binary, content type as in HTTP", "Content-Type: text/plain\n" + binaryEvent + "\n12", ce(func(e *Event) { e.Data, e.DataContentType = []byte(`"12"`), "text/plain" })},
		{"binary goes before structured", "Content-Type: application/cloudevents+json\n" + binaryEvent + "\n12", ce(func(e *Event) { e.Data = []byte("12") })},
		{"binary, trace extension", binaryEvent + "ce-traceparent: " + parent + "\nce-tracestate: x=y\n\n",
			ce(func(e *Event) {
				e.TraceParent, e.TraceState = parent, "x=y"
				e.Extensions = map[string]string{"traceparent": parent, "tracestate": "x=y"}
			})},
		{"the trace header goes before the extension", binaryEvent + "traceparent: " + parent + "\nce-traceparent: " + strings.Replace(parent, "4b", "4c", 1) + "\n\n",
			ce(func(e *Event) {
				e.TraceParent, e.Extensions = parent, map[string]string{"traceparent": strings.Replace(parent, "4b", "4c", 1)}
			})},

		{"structured", "Content-Type: Application/CloudEvents+JSON; charset=utf-8\n\n" + jsonEvent + `,"data":{"a":1}}`, ce(func(e *Event) { e.Data = []byte(`{"a":1}`) })},
		{"structured, short type", "content-type: application/cloudevents\n\n" + jsonEvent + `}`, ce(nil)},
		{"structured without a header", "\n\n" + jsonEvent + `,"data":[1, 2]}`, ce(func(e *Event) { e.Data = []byte(`[1, 2]`) })},
		{"structured, all attributes", "\n\n" + jsonEvent + `,"time":"2026-01-02T03:04:05+02:00","subject":"s","datacontenttype":"application/json","a":true,"B":7,"c":null,"d":["x"],"data":null}`,
			ce(func(e *Event) {
				e.Time, e.Subject, e.DataContentType = time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC), "s", "application/json"
				e.Extensions = map[string]string{"a": "true", "b": "7", "d": `["x"]`}
			})},
		{"structured, base64 of JSON", "\n\n" + jsonEvent + `,"datacontenttype":"application/json","data_base64":"eyJhIjoxfQ=="}`,
			ce(func(e *Event) { e.Data, e.DataContentType = []byte(`{"a":1}`), "application/json" })},
		{"structured, base64 of bytes", "\n\n" + jsonEvent + `,"datacontenttype":"image/png","data_base64":"/wA="}`,
			ce(func(e *Event) { e.Data, e.DataContentType = []byte(`"/wA="`), "image/png" })},
		{"structured, text", "\n\n" + jsonEvent + `,"datacontenttype":"text/xml","data":"<x/>"}`,
			ce(func(e *Event) { e.Data, e.DataContentType = []byte(`"<x/>"`), "text/xml" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(message(c.message))
			if err != nil {
				t.Fatalf("got %v, want an event", err)
			}
			compareEvents(t, *got, c.want)
		})
	}
}

func compareEvents(t *testing.T, got, want Event) {
	t.Helper()
	if !got.Time.Equal(want.Time) {
		t.Errorf("time: got %v, want %v", got.Time, want.Time)
	}
	if string(got.Data) != string(want.Data) || (got.Data == nil) != (want.Data == nil) {
		t.Errorf("data: got %s, want %s", got.Data, want.Data)
	}
	if !maps.Equal(got.Extensions, want.Extensions) {
		t.Errorf("extensions: got %v, want %v", got.Extensions, want.Extensions)
	}
	for _, f := range []struct{ name, got, want string }{
		{"key", got.Key, want.Key}, {"id", got.ID, want.ID}, {"source", got.Source, want.Source}, {"type", got.Type, want.Type},
		{"subject", got.Subject, want.Subject}, {"content type", got.DataContentType, want.DataContentType},
		{"traceparent", got.TraceParent, want.TraceParent}, {"tracestate", got.TraceState, want.TraceState},
		{"NATS subject", got.NATSSubject, "events.orders.1042.shipped"},
	} {
		if f.got != f.want {
			t.Errorf("%s: got %q, want %q", f.name, f.got, f.want)
		}
	}
	if got.Sequence != 17 || !got.Stored.Equal(stored) {
		t.Errorf("stored: got %d at %v, want 17 at %v", got.Sequence, got.Stored, stored)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"no id", "ce-specversion: 1.0\nce-source: s\nce-type: t\n\n1", `"id" is missing`},
		{"empty source", "ce-specversion: 1.0\nce-id: 1\nce-source: \nce-type: t\n\n1", `"source" is missing or empty`},
		{"old version", "ce-specversion: 0.3\nce-id: 1\nce-source: s\nce-type: t\n\n1", `specversion "0.3" is not supported`},
		{"not UTF-8 behind percent", binaryEvent + "ce-subject: %C0%A0\n\n", "not UTF-8"},
		{"not UTF-8", binaryEvent + "ce-subject: \xc0\n\n", "not UTF-8"},
		{"bad time", binaryEvent + "ce-time: yesterday\n\n", "not RFC 3339"},
		{"data is not what it claims", binaryEvent + "ce-datacontenttype: application/json\n\n{", "the data is not JSON"},
		{"batch", "Content-Type: application/cloudevents-batch+json\n\n[]", "a batch"},
		{"other format", "Content-Type: application/cloudevents+avro\n\nx", "application/cloudevents+avro is not supported"},
		{"structured, not JSON", "Content-Type: application/cloudevents+json\n\nx", "not a JSON object"},
		{"structured, null", "Content-Type: application/cloudevents+json\n\nnull", "not a JSON object"},
		{"structured, not UTF-8", "Content-Type: application/cloudevents+json\n\n{\"a\":\"\xff\"}", "not UTF-8"},
		{"structured, no type", "Content-Type: application/cloudevents+json\n\n" + `{"specversion":"1.0","id":"1","source":"s"}`, `"type" is missing`},
		{"two kinds of data", "\n\n" + jsonEvent + `,"data":1,"data_base64":"MQ=="}`, "both data and data_base64"},
		{"not base64", "\n\n" + jsonEvent + `,"data_base64":"%"}`, "not base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Decode(message(c.message))
			if !errors.Is(err, ErrPermanent) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want a permanent error with %q", e, err, c.want)
			}
		})
	}
}

// Key tells events apart, and only those.
func TestKey(t *testing.T) {
	one, err := Decode(message(binaryEvent + "\n{\"a\":1}"))
	if err != nil {
		t.Fatal(err)
	}
	other := message("\n\n" + jsonEvent + `,"data":{"a":1}}`)
	other.Sequence, other.Time, other.Subject = 99, stored.Add(time.Hour), "events.x"
	two, err := Decode(other)
	if err != nil {
		t.Fatal(err)
	}
	if one.Key != two.Key || len(one.Key) != 32 {
		t.Errorf("the same (source, id): got keys %q and %q, want one of 32 digits", one.Key, two.Key)
	}
	if a, b := cloudKey("ab", "c"), cloudKey("a", "bc"); a == b {
		t.Errorf("(ab, c) and (a, bc): got the same key %q", a)
	}
	raw := message("\n\n1")
	first, again := storageKey(raw), storageKey(raw)
	raw.Time = raw.Time.Add(1)
	if anew := storageKey(raw); first != again || first == anew {
		t.Errorf("raw: got %q, again %q, in a new stream %q", first, again, anew)
	}
}

func TestHeaderNamesThatDifferByCase(t *testing.T) {
	h := nats.Header{"a": {"small"}, "A": {"capital"}, "B": {"1", "2"}, "Nats-Pin-Id": {"p"}, "bad": {"\xff"}, "none": {}}
	want := map[string]string{"a": "capital", "b": "1", "bad": "\uFFFD"}
	for range 50 { // the order of a map differs
		if got := lowerHeaders(h); !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestTraceParent(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for s, want := range map[string]bool{
		"00-" + id:                  true,
		"01-" + id:                  true,
		"01-" + id + "-more":        true,
		"01-" + id + "more":         false,
		"00-" + id + "-more":        false,
		"ff-" + id:                  false,
		"00-" + id[:50]:             false,
		"00-" + id[:51] + "X":       false,
		"00_" + id:                  false,
		"":                          false,
		"01-" + id + "-\n":          false,
		strings.ToUpper("00-" + id): false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
	} {
		if got := isTraceParent(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	seed := func(text string) {
		m := message(text)
		var names, values []string
		for n, v := range m.Header {
			names, values = append(names, n), append(values, v[0])
		}
		f.Add("ev.3.orders.1.x", strings.Join(names, "\n"), strings.Join(values, "\n"), m.Data)
	}
	for _, s := range []string{
		"", "\n\n{\"a\":1}", binaryEvent + "\n1", "CE-SpecVersion: 1.0\nCE-ID: \"%41\"\nce-source: s\nce-type: %c3%a4\n\n\xff",
		"Content-Type: application/cloudevents+json\n\n" + jsonEvent + `,"data":{"a":1}}`, "\n\n" + jsonEvent + `,"data_base64":"eyJhIjoxfQ=="}`,
		"Content-Type: application/cloudevents-batch+json\n\n[]", "\n\n" + jsonEvent + `,"ID":"2","Data":1,"x":{"y":[null]}}`,
		"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\n", "content-type: text/plain\n\nx",
	} {
		seed(s)
	}
	f.Fuzz(func(t *testing.T, subject, names, values string, body []byte) {
		m := &jetstream.RawStreamMsg{Subject: subject, Sequence: 1, Time: stored, Data: body, Header: nats.Header{}}
		v := strings.Split(values, "\n")
		for i, n := range strings.Split(names, "\n") {
			if i < len(v) {
				m.Header[n] = []string{v[i]}
			}
		}
		e, err := Decode(m)
		again, err2 := Decode(m)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("decoded twice: got %v, then %v", err, err2)
		}
		if err != nil {
			if !errors.Is(err, ErrPermanent) {
				t.Fatalf("got %v, want a permanent error", err)
			}
			return
		}
		if e.Key != again.Key || len(e.Key) != 32 {
			t.Errorf("keys %q and %q", e.Key, again.Key)
		}
		if e.ID == "" || e.Data != nil && !json.Valid(e.Data) || !utf8.Valid(e.Data) {
			t.Errorf("id %q, data %q", e.ID, e.Data)
		}
		for _, s := range []string{e.ID, e.Source, e.Type, e.Subject, e.NATSSubject, e.TraceParent} {
			if !utf8.ValidString(s) {
				t.Errorf("not UTF-8: %q", s)
			}
		}
		for name, value := range e.Extensions {
			if name != strings.ToLower(name) || !utf8.ValidString(value) {
				t.Errorf("extension %q: %q", name, value)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, text := range map[string]string{
		"raw":        "\n\n" + `{"orderId":1042,"customerId":"alice","total":12.5,"items":[{"sku":"a","n":1}]}`,
		"binary":     binaryEvent + "ce-time: 2026-01-02T03:04:05Z\n\n" + `{"orderId":1042,"customerId":"alice"}`,
		"structured": "\n\n" + jsonEvent + `,"time":"2026-01-02T03:04:05Z","data":{"orderId":1042,"customerId":"alice"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			m := message(text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A raw event, the most usual one, costs the Event, its key and nothing per byte of its body.
func TestDecodeAllocations(t *testing.T) {
	m := message("\n\n" + `{"orderId":1042,"text":"` + strings.Repeat("x", 10_000) + `"}`)
	m.Header = nil
	if got := testing.AllocsPerRun(100, func() { _, _ = Decode(m) }); got > 6 {
		t.Errorf("got %v allocations, want at most 6", got)
	}
}
