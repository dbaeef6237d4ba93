package gateway

import (
	"net/http"
	"strconv"
	"strings"
)

// refusal is the answer to a request that does not become a WebSocket. Its texts are constants: nothing that a client sent
// comes back in them.
type refusal struct {
	name   string // in metrics
	status int
	header []string // names and values by turns, besides those of every refusal
	text   string   // one sentence
}

// They are made once. The values are shared: do not modify them.
var (
	refusePath    = &refusal{"path", http.StatusNotFound, nil, "There is nothing here. WebSockets connect to /ws or /websocket/{userId}, event streams to /sse."}
	refuseMethod  = &refusal{"method", http.StatusMethodNotAllowed, []string{"Allow", "GET"}, "A WebSocket begins with GET."}
	refuseVersion = &refusal{"http_version", http.StatusBadRequest, nil,
		"A WebSocket begins with HTTP/1.1. If a proxy stands in front, let it speak HTTP/1.1 (nginx: proxy_http_version 1.1)."}
	// RFC 9110, 15.5.22: "The server MUST send an Upgrade header field in a 426 response".
	refusePlainHTTP = &refusal{"not_websocket", http.StatusUpgradeRequired, []string{"Upgrade", "websocket"},
		"Connect with a WebSocket. If you did, a proxy on the way drops its Upgrade and Connection headers."}
	refuseKey = &refusal{"key", http.StatusBadRequest, nil, "Sec-WebSocket-Key must be there once, 16 bytes in base64."}
	// RFC 6455, 4.4: "the server MUST respond with one or more |Sec-WebSocket-Version| header fields containing all versions
	// the server is capable of".
	refuseWSVersion = &refusal{"websocket_version", http.StatusUpgradeRequired, []string{"Upgrade", "websocket", "Sec-WebSocket-Version", "13"},
		"Only version 13 of the WebSocket protocol is spoken here."}
	refuseBody    = &refusal{"body", http.StatusBadRequest, nil, "A request that begins a connection must not have a body."}
	refuseHost    = &refusal{"host", http.StatusBadRequest, nil, "The request has no Host."}
	refuseOrigins = &refusal{"origin", http.StatusBadRequest, nil, "The request has more than one Origin."}
	refuseOrigin  = &refusal{"origin", http.StatusForbidden, nil,
		"Pages of this origin may not connect. The operator allows origins with TIDINGS_ORIGINS."}
	refuseRebinding = &refusal{"rebinding", http.StatusForbidden, nil,
		"In development mode only localhost is served. Configure a key to serve other names."}
	refuseProtocols  = &refusal{"subprotocol", http.StatusBadRequest, nil, "Sec-WebSocket-Protocol must be a list of different names."}
	refuseExtensions = &refusal{"extensions", http.StatusBadRequest, nil, "Sec-WebSocket-Extensions must be a list of extensions with their parameters."}
	refuseDialect    = &refusal{"subprotocol", http.StatusBadRequest, nil,
		"Offer the subprotocol tidings.v1, or none: new WebSocket(url, ['tidings.v1', …])."}
	refusePlainProtocol = &refusal{"subprotocol", http.StatusBadRequest, nil,
		"/websocket/{userId} knows no subprotocols: use new WebSocket(url), and a cookie for the token."}
	refuseBearer        = &refusal{"token", http.StatusBadRequest, nil, "Give one token: one Authorization header, and one subprotocol bearer.<token> at most."}
	refuseUser          = &refusal{"user", http.StatusBadRequest, nil, "The user ID must be 1 to 128 bytes of UTF-8, percent-encoded."}
	refuseNoUser        = &refusal{"user", http.StatusBadRequest, nil, "In development mode say who you are: /ws?user=alice"}
	refuseGroups        = &refusal{"groups", http.StatusBadRequest, nil, "groups must be at most 256 names, separated by commas, each of 1 to 128 bytes of UTF-8."}
	refuseStreamMethod  = &refusal{"method", http.StatusMethodNotAllowed, []string{"Allow", "GET, OPTIONS"}, "An event stream begins with GET."}
	refuseStreamVersion = &refusal{"http_version", http.StatusBadRequest, nil, "An event stream begins with HTTP/1.1 or HTTP/1.0."}
	refuseQuery         = &refusal{"query", http.StatusBadRequest, nil, "The query is not percent-encoded correctly."}
)

// preflight refuses nothing: it answers a browser that asks beforehand whether its page may send these headers. Status 200 will do (WHATWG
// Fetch, 4.8, "an ok status"), and may have a body as the others do.
var preflight = &refusal{"preflight", http.StatusOK, []string{
	"Access-Control-Allow-Methods", "GET", "Access-Control-Allow-Headers", "Authorization, Last-Event-ID, Cache-Control", "Access-Control-Max-Age", "600",
}, "Pages of this origin may connect."}

// label is the refusal's word in metrics.
func (f *refusal) label() string { return f.name }

// append puts the whole response behind dst, with more names and values by turns. The connection ends with it.
func (f *refusal) append(dst []byte, more ...string) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(f.status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(f.status)...)
	dst = append(dst, "\r\nConnection: "...)
	dst = append(dst, strings.Join(f.connection(), ", ")...)
	dst = appendFields(dst, f.header)
	dst = appendFields(dst, more)
	dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(f.text)+1), 10)
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, f.text...)
	return append(dst, '\n')
}

// appendFields puts header lines behind dst, each with its line break in front.
func appendFields(dst []byte, fields []string) []byte {
	for i := 0; i < len(fields); i += 2 {
		dst = append(dst, "\r\n"...)
		dst = append(dst, fields[i]...)
		dst = append(dst, ": "...)
		dst = append(dst, fields[i+1]...)
	}
	return dst
}

// ServeHTTP is append for net/http.
func (f *refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Connection"] = f.connection()
	for i := 0; i < len(f.header); i += 2 {
		h[f.header[i]] = []string{f.header[i+1]}
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(f.status)
	w.Write([]byte(f.text + "\n")) // an error is the client's leaving
}

// connection names the Upgrade header where there is one. RFC 9110, 7.8: "A sender of Upgrade MUST also send an "Upgrade"
// connection option in the Connection header field". net/http closes when the first value is "close".
func (f *refusal) connection() []string {
	if f.status == http.StatusUpgradeRequired {
		return []string{"close", "Upgrade"}
	}
	return []string{"close"}
}
