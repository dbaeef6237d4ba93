//go:build linux

// Command floor is the least that a WebSocket server can do: it answers a handshake with 101, and then does nothing but one
// sendto(2) of a ready frame for each connection it is told to write to. It has no users, checks nothing, keeps nothing, and
// knows no WebSocket but the answer: what a real server costs beyond it is that server's own.
//
// It is one thread with raw system calls. That it is Go and not C costs it a hundredth: calls that do not wait go past the
// scheduler (RawSyscall), there is no garbage, and the collector is off. epoll_wait, once for up to 512 connections, is the only
// call the scheduler hears of.
//
// What to write comes on standard input, as orders: see the package order.
package main
