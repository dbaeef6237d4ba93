// Package tlsfront ends TLS in the process, for those without an ingress. Connections enter through its listener; out come descriptors that
// speak in the clear, which the gateway's loops take for accepted sockets.
//
// A handshake runs in a goroutine with a deadline, and so many at once as the settings say. After it a connection belongs to a relay: one
// goroutine for many, with a poller of its own. Between a relay and a loop is a pair of Unix sockets, so that a browser that does not read fills
// its socket, then the pair, and the loop sees what it sees without TLS. An idle connection has no goroutine and no buffer of ours; what it
// costs is crypto/tls's own state and two more descriptors (k8s/security.md has the figures).
package tlsfront
