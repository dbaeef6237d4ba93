package netpoll

// Tag is what the caller knows a descriptor by. Numbers of descriptors are reused, and so may slots be: a generation that is
// never used again tells an old event from one of the descriptor that has its number now.
type Tag struct {
	Slot int32 // ≥ 0
	Gen  uint32
}

// Event is what happened to one descriptor. Several may be true; Hangup means that both directions are over or the socket
// failed, and what it has received may still be readable.
type Event struct {
	Tag
	Readable bool
	Writable bool
	Hangup   bool
}
