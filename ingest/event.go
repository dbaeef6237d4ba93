package ingest

import "time"

// Event is one domain event, decoded, whatever form it arrived in.
type Event struct {
	// Key identifies the event for ever: 32 hexadecimal digits, a hash of (source, id) where the event has them, and of the
	// time of storage (nanoseconds) and the stream sequence otherwise. A producer's retry and a redelivery have the same Key.
	Key string

	// The CloudEvents context attributes (CloudEvents 1.0.2, section 3). A raw event gets an ID from Key or its
	// Nats-Msg-Id, no Source, and its Type from the subject without "events.".
	ID              string
	Source          string
	Type            string
	Subject         string
	Time            time.Time // when it happened; the time of storage where the event does not say
	DataContentType string
	Extensions      map[string]string // CloudEvents extensions, by lower-case name

	// Data is the payload as JSON: as sent where it was JSON, a JSON string where it was text, a base64 JSON string
	// where it was neither, nil where there was none.
	Data []byte

	TraceParent string // W3C trace context, "" without one
	TraceState  string

	NATSSubject string            // as published, "events.orders.1042.shipped"
	Headers     map[string]string // NATS headers, first value each, names in lower case

	Stored      time.Time // when NATS stored it, by the server's clock
	Sequence    uint64    // in the stream EVENTS
	Redelivered bool      // it may have been handled before, in part or whole
}
