// Package loadgen holds many browser tabs in a few processes, with raw epoll and some hundred bytes for a tab, and measures
// what reaches them.
//
// The parent starts a Fleet of processes of its own program; each calls Serve, holds its share of the tabs, and answers
// commands on its standard input with Reports on its standard output. A tab opens, answers pings, and counts every text
// frame that carries a time of sending (see Stamp); the way of such a frame is measured on the clock of this machine.
// Where a server has no tabs, a Reader counts in their place, and the parent asks it in the same way.
package loadgen
