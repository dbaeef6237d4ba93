package gateway

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// browserHandshake is a handshake as Chromium makes it.
func browserHandshake(t testing.TB) []byte {
	return handshake("Origin: https://app.example.com", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0", "Accept-Encoding: gzip, br",
		"Accept-Language: en", "Cache-Control: no-cache", "Pragma: no-cache", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
		"Sec-WebSocket-Protocol: tidings.v1, bearer."+sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil))
}

// compareHead holds what a headReader reads against http.ReadRequest.
func compareHead(t testing.TB, h *headReader, b []byte) (read bool) {
	t.Helper()
	got, ok := h.read(b)
	if !ok {
		return false
	}
	want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatalf("net/http does not read %q: %v", b, err)
	}
	if got.Method != want.Method || got.Proto != want.Proto || got.ProtoMajor != want.ProtoMajor || got.ProtoMinor != want.ProtoMinor ||
		got.Host != want.Host || got.ContentLength != want.ContentLength {
		t.Errorf("%q: got %+v, want %+v", b, got, want)
	}
	if got.URL.Path != want.URL.Path || got.URL.EscapedPath() != want.URL.EscapedPath() || got.URL.RawQuery != want.URL.RawQuery {
		t.Errorf("%q: got %+v, want %+v", b, got.URL, want.URL)
	}
	for _, name := range headFields[1:] {
		if !slices.Equal(got.Header[name], want.Header[name]) {
			t.Errorf("%q: got %s %q, want %q", b, name, got.Header[name], want.Header[name])
		}
	}
	for name := range got.Header {
		if !slices.Contains(headFields[1:], name) {
			t.Errorf("%q: got a field %s", b, name)
		}
	}
	return true
}

func TestHead(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want bool // read without net/http
	}{
		{"the least", handshake(), true},
		{"a browser's", browserHandshake(t), true},
		{"a query", handshake("GET /ws?cursor=0.a.1&token=%20 HTTP/1.1"), true},
		{"an empty query", handshake("GET /ws? HTTP/1.1"), true},
		{"the plain dialect", handshake("GET /websocket/alice?x=1 HTTP/1.1"), true},
		{"no user", handshake("GET /websocket/ HTTP/1.1"), true},
		{"an event stream", handshake("GET /sse?user=alice HTTP/1.1", "Last-Event-ID: 0.a.1", "Sec-Fetch-Site: same-origin", "Accept: text/event-stream"), true},
		{"asked beforehand", handshake("OPTIONS /sse HTTP/1.1"), false},
		{"names in other letters", handshake("-Host", "HOST: a", "-Upgrade", "upGRADE: websocket"), true},
		{"a line twice", handshake("+Cookie: a=b", "+Cookie: c=d", "+Sec-WebSocket-Version: 13"), true},
		{"blanks around values", handshake("Origin: \t http://a \t"), true},
		{"bytes that are not ASCII", handshake("Cookie: a=\xff; b=ü"), true},
		{"a name like one of ours", handshake("Hos\x74s: b", "Kookie: a=b", "[ookie: a"), false},
		{"a user that is encoded", handshake("GET /websocket/a%2Fb HTTP/1.1"), false},
		{"another path", handshake("GET /wss HTTP/1.1"), false},
		{"an absolute target", handshake("GET http://a/ws HTTP/1.1"), false},
		{"another method", handshake("POST /ws HTTP/1.1"), false},
		{"HTTP/1.0", handshake("GET /ws HTTP/1.0"), false},
		{"a fragment", handshake("GET /ws?a#b HTTP/1.1"), false},
		{"a blank in the query", handshake("GET /ws?a b HTTP/1.1"), false},
		{"no host", handshake("-Host"), false},
		{"two hosts", handshake("+Host: b"), false},
		{"a body", handshake("Content-Length: 3"), false},
		{"a body of no bytes", handshake("content-length: 0"), false},
		{"chunks", handshake("Transfer-Encoding: chunked"), false},
		{"an expectation", handshake("Expect: 100-continue"), false},
		{"a line that is folded", handshake("Origin: a\r\n b"), false},
		{"a blank before the colon", handshake("Origin : a"), false},
		{"no colon", handshake("+Origin"), false},
		{"a line break of one byte", handshake("Origin: a\nb: c"), false},
		{"a carriage return in a value", handshake("Origin: a\rb"), false},
		{"a zero byte", handshake("Origin: a\x00"), false},
		{"something behind the head", append(handshake(), 'x'), false},
		{"half a head", handshake()[:80], false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHeadReader()
			for range 2 { // the second must not see the first
				if got := compareHead(t, h, tt.b); got != tt.want {
					t.Errorf("read: got %v, want %v", got, tt.want)
				}
				compareHead(t, h, handshake("GET /websocket/bob?other HTTP/1.1", "Origin: http://other", "Cookie: other=1", "+Cookie: other=2"))
			}
		})
	}
}

// A head costs its own copy, and nothing of it stays with the session.
func TestHeadAllocations(t *testing.T) {
	h, b := newHeadReader(), browserHandshake(t)
	if got := testing.AllocsPerRun(100, func() {
		if _, ok := h.read(b); !ok {
			t.Fatal("not read")
		}
	}); got > 1 {
		t.Errorf("got %v allocations, want 1", got)
	}
}

func FuzzHead(f *testing.F) {
	f.Add(handshake())
	f.Add(browserHandshake(f))
	f.Add(handshake("GET /websocket/alice?x=1 HTTP/1.1", "+Cookie: a=b", "+Cookie: c=d"))
	f.Add(handshake("GET /sse HTTP/1.1", "Last-Event-ID: 0.a.1", "Sec-Fetch-Site: same-origin"))
	f.Add(handshake("GET /ws?a#b HTTP/1.1", "Origin: a\r\n b", "Content-Length: 0"))
	h := newHeadReader()
	f.Fuzz(func(t *testing.T, b []byte) { compareHead(t, h, b) })
}
