// Package natsd is the NATS that Tidings brings along: Start runs a nats-server with JetStream inside the process, on a
// directory that survives a restart, and Dial reaches an external server or cluster instead. Both give the same
// *nats.Conn, so that whoever holds one does not know which it is.
//
// A Server owns its directory alone (a lock file), knows after a crash of the machine that the end of its streams may be
// cut (a marker file), and leaves signals to the program.
package natsd
