package gateway

import (
	"net/http"
	"time"
)

// checkStream is checkUpgrade for an event stream, at /sse: what an EventSource asks for, or fetch. HTTP/1.0 will do, which some
// proxies speak to what is behind them.
func (up *upgrade) checkStream(r *http.Request, rules *upgradeRules) *refusal {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodOptions:
		return refuseStreamMethod
	case r.ProtoMajor != 1:
		return refuseStreamVersion
	case r.Host == "":
		return refuseHost
	case r.ContentLength != 0: // -1 in chunks
		return refuseBody
	}
	if ref := up.checkPage(r, rules); ref != nil {
		return ref
	}
	if r.Method == http.MethodOptions {
		return preflight
	}
	if ref := up.place(r); ref != nil {
		return ref
	}
	if rules.dev {
		return up.devIdentity(r.URL.RawQuery)
	}
	var ref *refusal
	up.token, ref = findToken(r, rules, "")
	return ref
}

// checkPage applies the rules of origins. Pages send no Origin with a GET to their own host, nor where they could not read the answer
// anyway (<img src=…>): the latter would take the visitor's connections away, but say that they are cross-site (W3C Fetch
// Metadata, 2.4).
func (up *upgrade) checkPage(r *http.Request, rules *upgradeRules) *refusal {
	lines := r.Header["Origin"]
	if ref := rules.origins.check(lines, r.Host); ref != nil {
		return ref
	}
	if len(lines) == 1 {
		up.origin = lines[0]
		return nil
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return refuseOrigin
		}
	}
	return nil
}

// place takes the cursor. An EventSource that comes back says it in a header, and goes on asking for its first URL, with the cursor
// that was true then.
func (up *upgrade) place(r *http.Request) *refusal {
	if lines := r.Header["Last-Event-Id"]; len(lines) > 0 && lines[0] != "" {
		up.cursor = lines[0]
		return nil
	}
	var ok bool
	if up.cursor, ok = queryValue(r.URL.RawQuery, "cursor"); !ok {
		return refuseQuery
	}
	return nil
}

// cors are the fields, names and values by turns, that let a page of an allowed origin read an answer of /sse, a refusal too. The WHATWG's
// Fetch standard, 3.3.5, wants the origin by name where cookies are sent along.
func (up *upgrade) cors() []string {
	switch {
	case up.dialect != eventStream:
		return nil
	case up.origin == "":
		return []string{"Vary", "Origin"}
	}
	return []string{"Vary", "Origin", "Access-Control-Allow-Origin", up.origin, "Access-Control-Allow-Credentials", "true"}
}

// appendStreamHead puts the head of the answer that is an event stream behind dst. Its body has no length and is not in chunks: it ends with
// the connection (RFC 9112, 6.3, 8). Every client and proxy knows that, those of HTTP/1.0 too, and an event is the same bytes for all.
// What a broken connection cuts off is no event: the WHATWG's HTML standard, 9.2.6, has an incomplete one discarded.
func appendStreamHead(dst []byte, up upgrade) []byte {
	dst = append(dst, "HTTP/1.1 200 OK\r\nDate: "...)
	dst = time.Now().UTC().AppendFormat(dst, http.TimeFormat)
	dst = append(dst, "\r\nConnection: close\r\nContent-Type: text/event-stream\r\nX-Content-Type-Options: nosniff"+
		"\r\nCache-Control: no-store\r\nX-Accel-Buffering: no"...)
	dst = appendFields(dst, up.cors())
	return append(dst, "\r\n\r\n"...)
}
