package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerPin is what the server puts on every message of a pinned consumer. It is no part of the event.
const headerPin = "Nats-Pin-Id"

// Decode turns a stored message into an Event. An error means that the message claims to be a CloudEvent and is none:
// errors.Is(err, ErrPermanent) holds.
func Decode(m *jetstream.RawStreamMsg) (*Event, error) {
	e := eventOf(m)
	if err := decodeForm(e, m); err != nil {
		return nil, Permanent(err)
	}
	traceContext(e)
	return e, nil
}

// eventOf is what is known of an event without looking at its form.
func eventOf(m *jetstream.RawStreamMsg) *Event {
	return &Event{
		NATSSubject: strings.ToValidUTF8(Published(m.Subject), "\uFFFD"),
		Headers:     lowerHeaders(m.Header),
		Time:        m.Time,
		Stored:      m.Time,
		Sequence:    m.Sequence,
	}
}

// undecoded is what is said of an event that is none, on its way to the DLQ.
func undecoded(m *jetstream.RawStreamMsg) *Event {
	e := eventOf(m)
	e.ID = e.Headers["nats-msg-id"]
	traceContext(e)
	return e
}

// decodeForm finds the form of the event, in the order of the design: the first that claims it has it.
func decodeForm(e *Event, m *jetstream.RawStreamMsg) error {
	if _, ok := e.Headers[headerSpecVersion]; ok {
		return decodeBinary(e, m.Data)
	}
	content := e.Headers["content-type"]
	if isCloudEvents(content) {
		return decodeStructured(e, content, m.Data)
	}
	if fields := looksStructured(m.Data); fields != nil {
		return decodeFields(e, fields)
	}
	decodeRaw(e, content, m)
	return nil
}

// decodeRaw: any bytes are an event; its type is the subject.
func decodeRaw(e *Event, content string, m *jetstream.RawStreamMsg) {
	e.Key = storageKey(m)
	e.ID = e.Headers["nats-msg-id"]
	if e.ID == "" {
		e.ID = e.Key
	}
	e.Type = strings.TrimPrefix(e.NATSSubject, publishedPrefix)
	e.DataContentType = content
	data, ok := toJSON(content, m.Data)
	if !ok {
		data, _ = toJSON("", m.Data) // a wrong claim of JSON
	}
	e.Data = data
}

// lowerHeaders is h by lower-case name: NATS header names differ by case, those of CloudEvents do not. Of two names that
// differ in nothing else the one that sorts first wins, so that every decoding of a message agrees.
func lowerHeaders(h nats.Header) map[string]string {
	if len(h) == 0 {
		return nil
	}
	out, from := make(map[string]string, len(h)), map[string]string(nil)
	for name, values := range h {
		if len(values) == 0 || name == headerPin {
			continue
		}
		lower := strings.ToLower(name)
		if lower != name {
			if from == nil {
				from = make(map[string]string, len(h))
			}
			if first, ok := from[lower]; ok && first < name {
				continue
			}
			from[lower] = name // capitals sort before the name that has none
		} else if from[lower] != "" {
			continue
		}
		value := values[0]
		if !strings.HasPrefix(lower, headerPrefix) { // those are refused when they are not UTF-8
			value = strings.ToValidUTF8(value, "\uFFFD")
		}
		out[lower] = value
	}
	return out
}

// storageKey identifies an event that has no id of its own: the time of storage, in nanoseconds, and the sequence are the same
// at every redelivery, and a stream that was deleted and made again repeats the one but not the other.
func storageKey(m *jetstream.RawStreamMsg) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(m.Time.UnixNano()))
	binary.BigEndian.PutUint64(b[8:], m.Sequence)
	return key("seq", string(b[:]))
}

// cloudKey identifies a CloudEvent: "Producers MUST ensure that source + id is unique for each distinct event"
// (CloudEvents 1.0.2, section 3.1.1).
func cloudKey(source, id string) string { return key("ce", source, id) }

// key hashes the parts, each behind its length, so that no two lists of parts look alike.
func key(parts ...string) string {
	b := make([]byte, 0, 128)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// toJSON is body as a JSON value, by its declared type: as it is when that is JSON, a string when it is text, a
// base64 string otherwise. Without a type the bytes decide. It fails when declared JSON is none.
func toJSON(content string, body []byte) ([]byte, bool) {
	if len(body) == 0 {
		return nil, true
	}
	switch kind := contentKind(content); {
	case kind == kindJSON:
		return body, isJSON(body)
	case kind == kindUnknown && isJSON(body):
		return body, true
	case kind != kindBinary && utf8.Valid(body):
		return quote(string(body)), true
	}
	return quote(base64.StdEncoding.EncodeToString(body)), true
}

// isJSON asks for UTF-8 too, which json.Valid does not: the bytes go out in a text frame.
func isJSON(b []byte) bool { return json.Valid(b) && utf8.Valid(b) }

// quote is s as a JSON string, without the escapes that only HTML needs.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

type kind int

const (
	kindUnknown kind = iota
	kindJSON
	kindText
	kindBinary
)

func contentKind(content string) kind {
	if content == "" {
		return kindUnknown
	}
	media := mediaType(content)
	top, sub, _ := strings.Cut(media, "/")
	switch {
	case sub == "json" || strings.HasSuffix(sub, "+json"):
		return kindJSON
	case top == "text" || sub == "xml" || strings.HasSuffix(sub, "+xml") || sub == "yaml" || strings.HasSuffix(sub, "+yaml"),
		sub == "x-www-form-urlencoded":
		return kindText
	}
	return kindBinary
}

// mediaType is the type of a Content-Type, in lower case, whatever its parameters are worth.
func mediaType(content string) string {
	media, _, _ := mime.ParseMediaType(content)
	if media == "" {
		media, _, _ = strings.Cut(content, ";")
	}
	return strings.ToLower(strings.TrimSpace(media))
}
