package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"tidings/fanout/wire"
)

// handshake is a good request, its path and lines changed by edits: "Name: value" replaces or adds a line, "-Name" removes it, "+Name: value" adds
// one more, "GET /x HTTP/1.1" replaces the request line.
func handshake(edits ...string) []byte {
	lines := []string{
		"GET /ws HTTP/1.1", "Host: app.example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
	}
	for _, e := range edits {
		name, _, isLine := strings.Cut(e, ":")
		switch {
		case strings.HasPrefix(e, "-"):
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, e[1:]+":") })
		case strings.HasPrefix(e, "+"):
			lines = append(lines, e[1:])
		case !isLine || strings.Contains(name, " "):
			lines[0] = e
		default:
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
			lines = append(lines, e)
		}
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func checkBytes(t testing.TB, rules *upgradeRules, b []byte) (upgrade, *refusal) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatalf("request\n%s\n%v", b, err)
	}
	return checkUpgrade(r, rules)
}

func testUpgradeRules(t testing.TB, cfg AuthConfig) *upgradeRules {
	t.Helper()
	rules, err := newUpgradeRules(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &rules
}

const testSecret = "0123456789abcdef0123456789abcdef"

func TestHandshake(t *testing.T) {
	rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret, Cookie: "tidings_token"})
	for _, tt := range []struct {
		name  string
		edits []string
		want  *refusal // nil: upgraded
	}{
		{"as in RFC 6455, 1.3", nil, nil},
		{"path with a query", []string{"GET /ws?cursor=0.a.1 HTTP/1.1"}, nil},
		{"HTTP/1.2", []string{"GET /ws HTTP/1.2"}, nil},
		{"absolute form", []string{"GET http://app.example.com/ws HTTP/1.1"}, nil},
		{"other path", []string{"GET /wss HTTP/1.1"}, refusePath},
		{"path with more", []string{"GET /ws/ HTTP/1.1"}, refusePath},
		{"root", []string{"GET / HTTP/1.1"}, refusePath},
		{"POST", []string{"POST /ws HTTP/1.1"}, refuseMethod},
		{"HEAD", []string{"HEAD /ws HTTP/1.1"}, refuseMethod},
		{"method in small letters", []string{"get /ws HTTP/1.1"}, refuseMethod},
		{"HTTP/1.0", []string{"GET /ws HTTP/1.0"}, refuseVersion},
		{"HTTP/2", []string{"GET /ws HTTP/2.0"}, refuseVersion},
		{"no Host", []string{"-Host"}, refuseHost},
		{"no Upgrade", []string{"-Upgrade"}, refusePlainHTTP},
		{"Upgrade to something else", []string{"Upgrade: h2c"}, refusePlainHTTP},
		{"Upgrade in capitals", []string{"Upgrade: WebSocket"}, nil},
		{"Upgrade in a list", []string{"Upgrade: h2c, websocket"}, nil},
		{"Upgrade in several lines", []string{"Upgrade: h2c", "+Upgrade: websocket"}, nil},
		{"Upgrade is part of a word", []string{"Upgrade: websockets"}, refusePlainHTTP},
		{"Upgrade with a Kelvin sign", []string{"Upgrade: websoc\u212aet"}, refusePlainHTTP},
		{"no Connection", []string{"-Connection"}, refusePlainHTTP},
		{"Connection of Firefox", []string{"Connection: keep-alive, Upgrade"}, nil},
		{"Connection in several lines", []string{"Connection: keep-alive", "+Connection: upgrade"}, nil},
		{"Connection keep-alive only", []string{"Connection: keep-alive"}, refusePlainHTTP},
		{"no key", []string{"-Sec-WebSocket-Key"}, refuseKey},
		{"empty key", []string{"Sec-WebSocket-Key: "}, refuseKey},
		{"two keys", []string{"+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, refuseKey},
		{"key of 15 bytes", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"}, refuseKey},
		{"key of 17 bytes", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="}, refuseKey},
		{"key of 18 bytes", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"}, refuseKey},
		{"key is not base64", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="}, refuseKey},
		{"key with a longer tail", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==AAAA"}, refuseKey},
		{"no version", []string{"-Sec-WebSocket-Version"}, refuseWSVersion},
		{"version 8", []string{"Sec-WebSocket-Version: 8"}, refuseWSVersion},
		{"version 013", []string{"Sec-WebSocket-Version: 013"}, refuseWSVersion},
		{"two versions", []string{"Sec-WebSocket-Version: 13, 8"}, refuseWSVersion},
		{"two lines of versions", []string{"+Sec-WebSocket-Version: 13"}, refuseWSVersion},
		{"body", []string{"Content-Length: 3"}, refuseBody},
		{"body of no length", []string{"Content-Length: 0"}, nil},
		{"chunks", []string{"Transfer-Encoding: chunked"}, refuseBody},
		{"extensions are not agreed to", []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}, nil},
		{"own page", []string{"Origin: https://app.example.com"}, nil},
		{"page of another host", []string{"Origin: https://evil.example"}, refuseOrigin},
		{"two origins", []string{"Origin: https://app.example.com", "+Origin: https://app.example.com"}, refuseOrigins},
		{"bad query", []string{"GET /ws?cursor=%zz HTTP/1.1"}, refuseQuery},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up, ref := checkBytes(t, rules, handshake(tt.edits...))
			if ref != tt.want {
				t.Fatalf("got %s, want %s", refusalText(ref), refusalText(tt.want))
			}
			if ref == nil {
				// RFC 6455, 1.3, gives the answer to this key.
				if got, want := string(up.accept[:]), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
					t.Errorf("accept key: got %s, want %s", got, want)
				}
			}
		})
	}
}

func refusalText(f *refusal) string {
	if f == nil {
		return "an upgrade"
	}
	return f.text
}

func TestSubprotocols(t *testing.T) {
	rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret})
	for _, tt := range []struct {
		name   string
		path   string
		lines  []string
		chosen string
		token  string
		want   *refusal
	}{
		{"none", "/ws", nil, "", "", nil},
		{"ours", "/ws", []string{"tidings.v1"}, "tidings.v1", "", nil},
		{"ours with a token", "/ws", []string{"tidings.v1, bearer.a.b.c"}, "tidings.v1", "a.b.c", nil},
		{"token first, in two lines", "/ws", []string{"bearer.a.b.c", "tidings.v1"}, "tidings.v1", "a.b.c", nil},
		{"among others", "/ws", []string{"graphql-ws ,\ttidings.v1,x"}, "tidings.v1", "", nil},
		{"empty elements", "/ws", []string{", tidings.v1 ,,"}, "tidings.v1", "", nil},
		{"only others", "/ws", []string{"tidings.v2, graphql-ws"}, "", "", refuseDialect},
		{"ours in capitals", "/ws", []string{"Tidings.v1"}, "", "", refuseDialect},
		{"only a token", "/ws", []string{"bearer.a.b.c"}, "", "", refuseDialect},
		{"twice the same", "/ws", []string{"tidings.v1, tidings.v1"}, "", "", refuseProtocols},
		{"twice in two lines", "/ws", []string{"tidings.v1", "tidings.v1"}, "", "", refuseProtocols},
		{"empty", "/ws", []string{""}, "", "", refuseProtocols},
		{"not a token of HTTP", "/ws", []string{"tidings.v1, a b"}, "", "", refuseProtocols},
		{"separator", "/ws", []string{"tidings.v1, a=b"}, "", "", refuseProtocols},
		{"not ASCII", "/ws", []string{"tidings.v1, ü"}, "", "", refuseProtocols},
		{"too many", "/ws", []string{"tidings.v1,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"}, "", "", refuseProtocols},
		{"two tokens", "/ws", []string{"tidings.v1, bearer.a, bearer.b"}, "", "", refuseBearer},
		{"empty token", "/ws", []string{"tidings.v1, bearer."}, "", "", refuseBearer},
		{"plain, none", "/websocket/alice", nil, "", "", nil},
		{"plain, ours", "/websocket/alice", []string{"tidings.v1"}, "", "", refusePlainProtocol},
		{"plain, a token", "/websocket/alice", []string{"bearer.a.b.c"}, "", "", refusePlainProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			edits := []string{"GET " + tt.path + " HTTP/1.1"}
			for _, l := range tt.lines {
				edits = append(edits, "+Sec-WebSocket-Protocol: "+l)
			}
			up, ref := checkBytes(t, rules, handshake(edits...))
			if ref != tt.want {
				t.Fatalf("got %s, want %s", refusalText(ref), refusalText(tt.want))
			}
			if ref == nil && (up.protocol != tt.chosen || up.token != tt.token) {
				t.Errorf("got %q with token %q, want %q with %q", up.protocol, up.token, tt.chosen, tt.token)
			}
		})
	}
}

func TestPlainPath(t *testing.T) {
	rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret})
	long := strings.Repeat("a", wire.MaxUserBytes)
	for _, tt := range []struct {
		path, user string
		want       *refusal
	}{
		{"/websocket/alice", "alice", nil},
		{"/websocket/alice?cursor=0.a.1", "alice", nil},
		{"/websocket/a%2Fb", "a/b", nil},
		{"/websocket/%2F", "/", nil},
		{"/websocket/%E7%94%A8%E6%88%B7", "用户", nil},
		{"/websocket/alice+bob%20x%2B", "alice+bob x+", nil},
		{"/websocket/a%25b", "a%b", nil},
		{"/websocket/mail@example.com", "mail@example.com", nil},
		{"/websocket/a%0D%0AX:y", "a\r\nX:y", nil},
		{"/websocket/%61lice", "alice", nil},
		{"/websocket/" + long, long, nil},
		{"/websocket/" + long + "a", "", refuseUser},
		{"/websocket/", "", refuseUser},
		{"/websocket/%FF", "", refuseUser},
		{"/websocket/a/b", "", refusePath},
		{"/websocket/alice/", "", refusePath},
		{"/websocket", "", refusePath},
		{"/websockets/alice", "", refusePath},
		{"/x/websocket/alice", "", refusePath},
	} {
		up, ref := checkBytes(t, rules, handshake("GET "+tt.path+" HTTP/1.1"))
		if ref != tt.want {
			t.Errorf("%s: got %s, want %s", tt.path, refusalText(ref), refusalText(tt.want))
		} else if ref == nil && (up.dialect != plain || up.user != tt.user) {
			t.Errorf("%s: got user %q, want %q", tt.path, up.user, tt.user)
		}
	}
}

func TestTokenSources(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits []string
		query bool
		want  string
		ref   *refusal
	}{
		{"none", nil, true, "", nil},
		{"header", []string{"Authorization: Bearer h"}, false, "h", nil},
		{"header, scheme in capitals", []string{"Authorization: BEARER  h"}, false, "h", nil},
		{"header before all others", []string{"GET /ws?token=q HTTP/1.1", "Authorization: Bearer h",
			"Sec-WebSocket-Protocol: tidings.v1, bearer.p", "Cookie: tidings_token=c"}, true, "h", nil},
		{"subprotocol before cookie and query", []string{"GET /ws?token=q HTTP/1.1",
			"Sec-WebSocket-Protocol: tidings.v1, bearer.p", "Cookie: tidings_token=c"}, true, "p", nil},
		{"cookie before query", []string{"GET /ws?token=q HTTP/1.1", "Cookie: tidings_token=c"}, true, "c", nil},
		{"query", []string{"GET /ws?cursor=1&token=q HTTP/1.1"}, true, "q", nil},
		{"query, not switched on", []string{"GET /ws?token=q HTTP/1.1"}, false, "", nil},
		{"another scheme does not count", []string{"Authorization: Basic eDp5", "Cookie: tidings_token=c"}, false, "c", nil},
		{"two headers", []string{"Authorization: Bearer h", "+Authorization: Bearer i"}, false, "", refuseBearer},
		{"empty header", []string{"Authorization: Bearer ", "Cookie: tidings_token=c"}, false, "", refuseBearer},
		{"among cookies", []string{"Cookie: a=b; xtidings_token=x; tidings_token=c; tidings_token=d"}, false, "c", nil},
		{"in the second line of cookies", []string{"Cookie: a=b", "+Cookie: tidings_token=\"c\""}, false, "c", nil},
		{"bad query", []string{"GET /ws?token=%q HTTP/1.1"}, true, "", refuseQuery},
		{"plain dialect by cookie", []string{"GET /websocket/alice HTTP/1.1", "Cookie: tidings_token=c"}, false, "c", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret, Cookie: "tidings_token", Query: tt.query})
			up, ref := checkBytes(t, rules, handshake(tt.edits...))
			if ref != tt.ref || ref == nil && up.token != tt.want {
				t.Errorf("got token %q, %s; want %q, %s", up.token, refusalText(ref), tt.want, refusalText(tt.ref))
			}
		})
	}
	rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret})
	if up, _ := checkBytes(t, rules, handshake("Cookie: =c; tidings_token=c")); up.token != "" {
		t.Errorf("no cookie configured: got token %q", up.token)
	}
}

func TestQuery(t *testing.T) {
	dev, keyed := AuthConfig{}, AuthConfig{HMACSecret: testSecret}
	many := strings.Repeat("g,", maxTokenGroups) + "g"
	for _, tt := range []struct {
		name   string
		cfg    AuthConfig
		path   string
		user   string
		groups []string
		cursor string
		want   *refusal
	}{
		{"cursor", keyed, "/ws?cursor=0.mbq2v7dd.1042", "", nil, "0.mbq2v7dd.1042", nil},
		{"cursor among others", keyed, "/ws?a&cursors=1&cursor=0.a.1&cursor=2", "", nil, "0.a.1", nil},
		{"cursor escaped", keyed, "/ws?cursor=0%2Ea%2E1", "", nil, "0.a.1", nil},
		{"cursor, plain", keyed, "/websocket/alice?cursor=0.a.1", "alice", nil, "0.a.1", nil},
		{"user does not count with keys", keyed, "/ws?user=alice&groups=staff", "", nil, "", nil},
		{"development", dev, "/ws?user=alice&cursor=0.a.1", "alice", nil, "0.a.1", nil},
		{"development, any UTF-8", dev, "/ws?user=%E7%94%A8+%E6%88%B7", "用 户", nil, "", nil},
		{"development, groups", dev, "/ws?user=alice&groups=staff,berlin,staff", "alice", []string{"berlin", "staff"}, "", nil},
		{"development, plain", dev, "/websocket/bob?user=alice&groups=staff", "bob", []string{"staff"}, "", nil},
		{"development without a user", dev, "/ws", "", nil, "", refuseNoUser},
		{"development, user not UTF-8", dev, "/ws?user=%FF", "", nil, "", refuseUser},
		{"development, user too long", dev, "/ws?user=" + strings.Repeat("a", 129), "", nil, "", refuseUser},
		{"development, bad escape", dev, "/ws?user=%", "", nil, "", refuseQuery},
		{"development, empty group", dev, "/ws?user=alice&groups=a,,b", "", nil, "", refuseGroups},
		{"development, too many groups", dev, "/ws?user=alice&groups=" + many, "", nil, "", refuseGroups},
		{"development, groups badly escaped", dev, "/ws?user=alice&groups=%", "", nil, "", refuseQuery},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up, ref := checkBytes(t, testUpgradeRules(t, tt.cfg), handshake("GET "+tt.path+" HTTP/1.1", "Host: localhost:8080"))
			if ref != tt.want {
				t.Fatalf("got %s, want %s", refusalText(ref), refusalText(tt.want))
			}
			if ref == nil && (up.user != tt.user || up.cursor != tt.cursor || !slices.Equal(up.groups, tt.groups)) {
				t.Errorf("got user %q, groups %q, cursor %q; want %q, %q, %q", up.user, up.groups, up.cursor, tt.user, tt.groups, tt.cursor)
			}
		})
	}
	ref := func() *refusal {
		_, ref := checkBytes(t, testUpgradeRules(t, dev), handshake("GET /ws?user=alice HTTP/1.1", "Host: evil.example"))
		return ref
	}()
	if ref != refuseRebinding {
		t.Errorf("development for another name: got %s, want %s", refusalText(ref), refuseRebinding.text)
	}
}

// The library that browsers' peers are written with accepts our answer, with the token nowhere in it.
func TestSwitchingProtocols(t *testing.T) {
	for _, protocols := range [][]string{nil, {"tidings.v1", "bearer.a.b.c"}} {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer server.Close()
			r, err := http.ReadRequest(bufio.NewReader(server))
			if err != nil {
				return
			}
			up, ref := checkUpgrade(r, &upgradeRules{})
			if ref != nil {
				server.Write(ref.append(nil))
				return
			}
			answer := appendSwitchingProtocols([]byte{}, up)
			if bytes.Contains(answer, []byte("a.b.c")) {
				t.Errorf("the token stands in the answer:\n%s", answer)
			}
			server.Write(answer)
		}()
		d := ws.Dialer{Protocols: protocols}
		u := mustURL(t, "ws://app.example.com/ws")
		_, hs, err := d.Upgrade(client, u)
		client.Close()
		<-done
		if err != nil {
			t.Fatalf("offering %q: %v", protocols, err)
		}
		if want := strings.Join(protocols[:min(1, len(protocols))], ""); hs.Protocol != want {
			t.Errorf("offering %q: got subprotocol %q, want %q", protocols, hs.Protocol, want)
		}
	}
}

// Every refusal is a complete response that ends the connection, the same from both writers.
func TestRefusals(t *testing.T) {
	for _, ref := range allRefusals() {
		raw := ref.append([]byte("before"))[len("before"):]
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", ref.text, err, raw)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != ref.text+"\n" || resp.ContentLength != int64(len(body)) {
			t.Errorf("%s: got body %q, length %d, %v", ref.text, body, resp.ContentLength, err)
		}
		if resp.StatusCode != ref.status || !resp.Close && ref.status != 426 || ref.label() == "" {
			t.Errorf("%s: got status %d, close %v, label %q", ref.text, resp.StatusCode, resp.Close, ref.label())
		}
		w := httptest.NewRecorder()
		ref.ServeHTTP(w, nil)
		resp.Header.Del("Content-Length")            // net/http adds it later
		resp.Header["Connection"] = ref.connection() // the reader has taken "close" out
		served := http.Header{}
		for name, values := range w.Header() {
			served[http.CanonicalHeaderKey(name)] = values
		}
		if got, want := fmt.Sprintf("%d %q %q", w.Code, served, w.Body), fmt.Sprintf("%d %q %q", ref.status, resp.Header, body); got != want {
			t.Errorf("ServeHTTP: got %s, want %s", got, want)
		}
	}
	if b := string(refuseWSVersion.append(nil)); !strings.Contains(b, "HTTP/1.1 426 Upgrade Required\r\n") ||
		!strings.Contains(b, "\r\nSec-WebSocket-Version: 13\r\n") || !strings.Contains(b, "\r\nConnection: close, Upgrade\r\n") {
		t.Errorf("refused version: got\n%s", b)
	}
	if b := string(refuseMethod.append(nil)); !strings.Contains(b, "\r\nAllow: GET\r\n") {
		t.Errorf("refused method: got\n%s", b)
	}
}

func allRefusals() []*refusal {
	return []*refusal{
		refusePath, refuseMethod, refuseVersion, refusePlainHTTP, refuseKey, refuseWSVersion, refuseBody, refuseHost, refuseOrigins,
		refuseOrigin, refuseRebinding, refuseProtocols, refuseDialect, refusePlainProtocol, refuseBearer, refuseUser, refuseNoUser,
		refuseGroups, refuseQuery, refuseStreamMethod, refuseStreamVersion, preflight, refuseExtensions,
	}
}

// A request that net/http has parsed is checked in the same way.
func TestUpgradeFromNetHTTP(t *testing.T) {
	rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret})
	got := make(chan *refusal, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, ref := checkUpgrade(r, rules)
		got <- ref
		if ref != nil {
			ref.ServeHTTP(w, r)
		}
	}))
	defer srv.Close()
	for _, tt := range []struct {
		b    []byte
		want *refusal
	}{{handshake(), nil}, {handshake("Sec-WebSocket-Version: 12"), refuseWSVersion}, {handshake("Content-Length: 3", "+\r\nabc"), refuseBody}} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(tt.b)
		if ref := <-got; ref != tt.want {
			t.Errorf("got %s, want %s", refusalText(ref), refusalText(tt.want))
		}
		conn.Close()
	}
}

func TestUpgradeAllocations(t *testing.T) {
	cfg := AuthConfig{HMACSecret: testSecret, Cookie: "tidings_token"}
	for _, tt := range []struct {
		name  string
		edits []string
		most  float64
	}{
		{"cookie", []string{"Origin: https://app.example.com", "Cookie: a=b; tidings_token=c"}, 0},
		{"subprotocols", []string{"Origin: https://app.example.com", "Sec-WebSocket-Protocol: tidings.v1, bearer.a.b.c"}, 2},
		{"plain", []string{"GET /websocket/alice?cursor=0.a.1 HTTP/1.1", "Cookie: tidings_token=c"}, 0},
	} {
		rules := testUpgradeRules(t, cfg)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(handshake(tt.edits...))))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 0, 512)
		got := testing.AllocsPerRun(100, func() {
			up, ref := checkUpgrade(r, rules)
			if ref != nil {
				t.Fatal(ref.text)
			}
			buf = appendSwitchingProtocols(buf[:0], up)
		})
		if got > tt.most {
			t.Errorf("%s: got %v allocations, want at most %v", tt.name, got, tt.most)
		}
	}
}

// A whole handshake as a browser makes it, but for the sockets: parse, check, verify, answer.
func BenchmarkUpgrade(b *testing.B) {
	cfg := authConfig(func(c *AuthConfig) { c.HMACSecret = testSecret })
	rules, a := testUpgradeRules(b, cfg), mustAuth(b, cfg)
	head, reader := browserHandshake(b), newHeadReader()
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		r, ok := reader.read(head)
		if !ok {
			b.Fatal("not read")
		}
		up, ref := checkUpgrade(r, rules)
		if ref != nil {
			b.Fatal(ref.text)
		}
		if _, err := a.Verify(up.token); err != nil {
			b.Fatal(err)
		}
		buf = appendSwitchingProtocols(buf[:0], up)
	}
}

// Whatever bytes come, the answer is one of ours: nothing that a client sent is in it but the hash of its key.
func FuzzUpgrade(f *testing.F) {
	f.Add(handshake())
	f.Add(handshake("GET /websocket/a%0d%0ax?cursor=%0d%0a HTTP/1.1", "Cookie: tidings_token=\"c\""))
	f.Add(handshake("GET /ws?user=alice&groups=a,b&token=t HTTP/1.1", "Host: localhost", "Origin: http://localhost"))
	f.Add(handshake("Sec-WebSocket-Protocol: tidings.v1, bearer.a.b.c", "Authorization: Bearer x"))
	f.Add(handshake("Upgrade: h2c,, WebSocket", "+Upgrade: x", "Transfer-Encoding: chunked"))
	f.Add([]byte("GET * HTTP/1.1\nHost: a\n\n"))
	f.Add(handshake("GET /sse?user=alice HTTP/1.0", "Host: localhost", "Origin: http://localhost", "Last-Event-ID: 0.a.1", "Sec-Fetch-Site: cross-site"))
	f.Add(handshake("OPTIONS /sse HTTP/1.1", "Origin: https://app.example.com"))
	keyed := testUpgradeRules(f, AuthConfig{HMACSecret: testSecret, Cookie: "tidings_token", Query: true})
	dev := testUpgradeRules(f, AuthConfig{})
	shape := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, rules := range []*upgradeRules{keyed, dev} {
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
			if err != nil {
				return
			}
			up, ref := checkUpgrade(r, rules)
			if ref != nil {
				if !slices.Contains(allRefusals(), ref) {
					t.Errorf("unknown refusal %q", ref.text)
				}
				continue
			}
			if up.dialect == eventStream {
				checkStreamHead(t, up)
				continue
			}
			rest, ok := bytes.CutPrefix(appendSwitchingProtocols(nil, up), shape)
			if !ok || len(rest) < 28 || bytes.ContainsAny(rest[:28], "\r\n: ") {
				t.Fatalf("answer %q", rest)
			}
			if s := string(rest[28:]); s != "\r\n\r\n" && s != "\r\nSec-WebSocket-Protocol: tidings.v1\r\n\r\n" {
				t.Errorf("answer ends with %q", s)
			}
			if up.user != "" && wire.CheckUser(up.user) != nil {
				t.Errorf("user %q", up.user)
			}
			if (up.dialect == plain || rules == dev) && up.user == "" {
				t.Error("upgraded without a user")
			}
		}
	})
}

// checkStreamHead holds an answer against what net/http reads in it. Of the request there is the origin in it, and nothing else.
func checkStreamHead(t *testing.T, up upgrade) {
	t.Helper()
	b := appendAnswer(nil, up)
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	allowed := resp.Header["Access-Control-Allow-Origin"]
	if up.origin == "" && allowed != nil || up.origin != "" && !slices.Equal(allowed, []string{up.origin}) {
		t.Errorf("origin %q: got %q", up.origin, allowed)
	}
	if n := len(resp.Header); n != 6+2*len(allowed) || resp.Header.Get("Content-Type") != "text/event-stream" || resp.ContentLength != -1 {
		t.Errorf("got %q", b)
	}
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
