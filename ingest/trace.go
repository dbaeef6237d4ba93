package ingest

import "strings"

// traceContext: a header of the message is nearer to us than an attribute of the event, which may be older.
func traceContext(e *Event) {
	if parent := strings.TrimSpace(e.Headers["traceparent"]); isTraceParent(parent) {
		e.TraceParent, e.TraceState = parent, strings.TrimSpace(e.Headers["tracestate"])
	} else if parent := e.Extensions["traceparent"]; isTraceParent(parent) {
		e.TraceParent, e.TraceState = parent, e.Extensions["tracestate"]
	}
}

// isTraceParent checks the form "version-traceid-parentid-flags" (W3C Trace Context, section 3.2). A version after 00 may
// have more behind it.
func isTraceParent(s string) bool {
	if len(s) < 55 || s[:2] == "ff" || !printable(s) {
		return false
	}
	if len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return false
	}
	for i := range 55 {
		dash := i == 2 || i == 35 || i == 52
		if c := s[i]; dash != (c == '-') || !dash && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return s[3:35] != strings.Repeat("0", 32) && s[36:52] != strings.Repeat("0", 16)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
