// Package wsclient is a browser's tab for tests and measurements: what a page with a WebSocket would do, and what a page
// cannot do, such as reading slowly, never answering a ping, or vanishing without a word.
//
// A Tab has no goroutine. Its owner calls Next, Text or Frame, which block and answer pings on the way; an owner that does not
// call them does not read, and the server's bytes pile up as they do behind a slow tab. The server is watched while it
// is read: a frame that a browser would refuse is an error.
package wsclient
