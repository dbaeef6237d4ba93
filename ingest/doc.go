// Package ingest is where events come in: it reads the stream EVENTS, decodes each message into an Event, and hands the
// Events of one aggregate one after the other, those of different aggregates in parallel, to whoever handles them.
//
// Source owns the consumers, the order, the retries and the acknowledgements; the handler owns nothing and only says by its
// error whether trying again could help (errors.go). What cannot be handled goes to the stream DLQ. The package makes both
// streams and heals them; subjects.md is the contract, natsd/ the server.
package ingest
