// Package netpoll watches many descriptors for one goroutine: epoll, without a goroutine, a buffer or a runtime poller entry
// per connection.
//
// Descriptors enter with a generation, and come back in Events with it: the kernel reuses numbers, so an event that was
// already fetched when its descriptor was closed must not reach the next one of that number. Whoever adds a
// descriptor owns it and closes it.
//
// The goroutine in Wait is parked by the Go runtime, not blocked in a system call: an epoll descriptor can itself be polled.
//
// What never blocks, and is short, is a raw system call, which the Go runtime does not learn of: accepting, looking for events, reading, the one
// write that answers a handshake. Otherwise the first of them after every pause, of which there are thousands a second, wakes the runtime's
// monitor, and that naps 20 µs at a time for as long as anything runs: 14 of the 95 µs of a handshake. It pays only when none of
// them is left that is not raw. Rows of writes are not raw: see Write.
package netpoll
