package fanout

import "tidings/ingest"

// timeFormat is RFC 3339 with the milliseconds that a browser's Date has.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// encode makes the JSON object that browsers get, but for its type and cursor, which the gateway puts in front:
//
//	{"id":"…","kind":"…","time":"2026-01-02T15:04:05.678Z","data":…,"traceparent":"…"}
func (n *Notification) encode(e *ingest.Event) []byte {
	b := make([]byte, 0, 160+len(e.ID)+len(n.Kind)+len(n.Data)+len(e.TraceParent))
	b = appendString(append(b, `{"id":`...), e.ID)
	b = appendString(append(b, `,"kind":`...), n.Kind)
	b = e.Time.UTC().AppendFormat(append(b, `,"time":"`...), timeFormat)
	b = append(append(b, `","data":`...), n.Data...)
	if e.TraceParent != "" {
		b = appendString(append(b, `,"traceparent":`...), e.TraceParent)
	}
	return append(b, '}')
}
