package netpoll

// Event is what happened to one descriptor. Several may be true; Hangup means that both directions are over or the socket
// failed, and what it has received may still be readable.
type Event struct {
	FD       int32
	Gen      uint32
	Readable bool
	Writable bool
	Hangup   bool
}
