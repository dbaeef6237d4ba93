// Package netpoll watches many descriptors for one goroutine: epoll, without a goroutine, a buffer or a runtime poller entry
// per connection.
//
// Descriptors enter with a generation, and come back in Events with it: the kernel reuses numbers, so an event that was
// already fetched when its descriptor was closed must not reach the next one of that number. Whoever adds a
// descriptor owns it and closes it.
//
// The goroutine in Wait is parked by the Go runtime, not blocked in a system call: an epoll descriptor can itself be polled.
package netpoll
