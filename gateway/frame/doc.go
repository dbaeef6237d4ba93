// Package frame reads and writes WebSocket frames (RFC 6455, section 5) for the server's side.
//
// Bytes of one connection enter in whatever pieces the socket gave them; whole frames leave: text and binary put together
// from their fragments, pings, pongs and the close frame. The bytes stay the caller's, and are unmasked where they lie.
// A Reader holds something only while a frame or a fragmented text is incomplete; an idle connection needs no Reader.
// For the way back, the Append functions put frames behind a slice.
package frame
