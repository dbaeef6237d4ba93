// Package gateway is where records reach browsers. Records enter through a feed per shard of the log, bytes of browsers through the
// loops' sockets; frames leave.
//
// A loop owns sockets and everything of their sessions, and is the only one to touch them. A shard owns the newest part
// of its log (tail) and knows its users' sessions (hub), under one lock; a feed writes to it, loops read from it. What is older
// than the tail is read from the log again (replay, scan). protocol.md is the contract with browsers.
package gateway
