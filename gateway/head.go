package gateway

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
)

// headReader reads the heads of requests for a WebSocket as browsers and proxies send them, with one allocation for each. What is
// in any way unusual it leaves to http.ReadRequest: where it reads a head at all, it must read the same (FuzzHead compares).
//
// http.ReadRequest took 11 of the 76 µs of a handshake, and 4 KiB of garbage with its buffer.
type headReader struct {
	request http.Request
	url     url.URL
	lines   [len(headFields)][]string
}

// headFields are those that checkUpgrade looks at, as net/http writes them. All others are read over.
var headFields = [...]string{
	"Host", "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Origin", "Authorization", "Cookie",
	"Sec-Fetch-Site", "Last-Event-Id", "Sec-Websocket-Extensions",
}

// headOthers make a request one that this reader does not understand: there is a body, or something is expected of us.
var headOthers = [...]string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect"}

func newHeadReader() *headReader {
	h := &headReader{}
	h.request = http.Request{Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, URL: &h.url}
	return h
}

// read reads a head with its empty line. What it returns is true until the next call, and holds no reference to b.
func (h *headReader) read(b []byte) (r *http.Request, ok bool) {
	text := string(b)
	line, rest, _ := strings.Cut(text, "\r\n")
	if !h.requestLine(line) {
		return nil, false
	}
	for i := range h.lines {
		clear(h.lines[i])
		h.lines[i] = h.lines[i][:0]
	}
	for {
		line, rest, ok = strings.Cut(rest, "\r\n")
		if !ok {
			return nil, false
		}
		if line == "" {
			break
		}
		if !h.field(line) {
			return nil, false
		}
	}
	if rest != "" || len(h.lines[0]) != 1 {
		return nil, false
	}
	clear(h.request.Header)
	for i, values := range h.lines {
		if i > 0 && len(values) > 0 {
			h.request.Header[headFields[i]] = values
		}
	}
	h.request.Host, h.request.RequestURI = h.lines[0][0], ""
	return &h.request, true
}

// requestLine takes GET /ws, GET /sse or GET /websocket/{userId}, whatever the query, where nothing is percent-encoded in the path.
func (h *headReader) requestLine(line string) bool {
	target, ok := strings.CutPrefix(line, "GET ")
	if ok {
		target, ok = strings.CutSuffix(target, " HTTP/1.1")
	}
	if !ok {
		return false
	}
	path, query, _ := strings.Cut(target, "?")
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	if user, is := strings.CutPrefix(path, "/websocket/"); is {
		for i := range len(user) {
			if !isUnreserved(user[i]) {
				return false
			}
		}
	} else if path != "/ws" && path != "/sse" {
		return false
	}
	h.url = url.URL{Path: path, RawQuery: query}
	return true
}

// isUnreserved tells of the characters that are never encoded (RFC 3986, 2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

func (h *headReader) field(line string) bool {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isFieldName(name) {
		return false
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	for i, known := range headFields {
		if len(known) == len(name) && sameFold(name, known) {
			h.lines[i] = append(h.lines[i], strings.Trim(value, " \t"))
			return true
		}
	}
	for _, other := range headOthers {
		if len(other) == len(name) && sameFold(name, other) {
			return false
		}
	}
	return true
}

// isFieldName tells of the characters that field names are made of in practice; RFC 9110, 5.6.2 allows a few more.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isUnreserved(c) || c == '~' {
			return false
		}
	}
	return name != ""
}

// sameFold compares two strings of one length without regard to the case of ASCII letters.
func sameFold(a, b string) bool {
	for i := range len(a) {
		if a[i] != b[i] && (a[i]^b[i] != 0x20 || a[i]|0x20 < 'a' || a[i]|0x20 > 'z') {
			return false
		}
	}
	return true
}

// startsUpgrade tells from the beginning of a request whether it is for a WebSocket or an event stream.
func startsUpgrade(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	_, target, _ := bytes.Cut(line, []byte(" "))
	for _, prefix := range [...]string{"/ws?", "/ws ", "/websocket/", "/sse?", "/sse "} {
		if len(target) >= len(prefix) && string(target[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}
