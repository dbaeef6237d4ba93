// Package fanout decides whom each event concerns and writes that down, once.
//
// An ingest.Event enters Fan.Handle. Rules (or, without a rules file, the event itself) turn it into Notifications with an
// Audience each; those become Records, at most 2,048 recipients in one; the Publisher stores them in the log, LOG_<shard>,
// under ids that are the same on every attempt. Handle returns nil when NATS has acknowledged all of them, and only then.
//
// Exactly once is made of three parts: the ids, the log's duplicate window, and beyond the window a search of the log.
package fanout
