// Package ask is what processes of Tidings ask each other on behalf of a person who wants to know what became of an event, or
// what a user got: the subjects, the questions and the answers. Gateways and fanouts answer; gateway/inquiry asks.
//
// It is core NATS: a question has an inbox, everybody answers with one JSON text, and who does not answer in time is named as
// such by whoever asked. Everything in an answer is bounded, so that it fits into one message. It imports nothing of ours but the wire.
package ask
