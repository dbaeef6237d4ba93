// Package inquiry answers "why did this user not get that": what became of an event, and what a user got.
//
// In goes an event's id or a user, out comes a report: facts, and the same as steps that a person reads, one after the other, from the
// event in EVENTS by way of the rules and the log to the sessions of each gateway. It reads streams through consumers that it
// deletes again, and asks the running processes (gateway/ask); it changes nothing.
//
// Every walk over a stream is bounded in messages and in time, and a report says where one stopped early. What cannot be known is said
// to be unknown.
package inquiry
