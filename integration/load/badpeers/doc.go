// Package badpeers is a process full of connections that are stalled, slow or out to do harm: who measures what others suffer from
// them starts a Crowd, which is one process of its own program that calls Serve.
//
// Every peer is of one kind (kinds.go) and comes back some time after the server has thrown it out; how many there are, how often
// each comes and sends, and how long they stay is bounded, so that what is measured is the server and not the machine's end.
package badpeers
