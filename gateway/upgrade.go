package gateway

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// dialect is what is spoken on a connection.
type dialect byte

const (
	tidingsV1   dialect = iota // at /ws
	plain                      // at /websocket/{userId}
	eventStream                // at /sse: the frames of tidings.v1, as server-sent events
	dialects                   // so many
)

// String is the dialect's word in metrics.
func (d dialect) String() string { return [...]string{"tidings.v1", "plain", "sse"}[d] }

// subprotocolTidings is the name of our dialect in Sec-WebSocket-Protocol; subprotocolBearer comes before a token there, since
// a page can set no header of a WebSocket's request.
const (
	subprotocolTidings = "tidings.v1"
	subprotocolBearer  = "bearer."
)

// upgrade is what an acceptable request for a WebSocket asks for.
type upgrade struct {
	dialect  dialect
	accept   [28]byte // Sec-WebSocket-Accept
	protocol string   // Sec-WebSocket-Protocol of the answer: subprotocolTidings or ""
	token    string   // "": none, an auth frame may follow
	cursor   string   // as given; "": none
	user     string   // of the path, or of the query in development mode; "": the token's
	groups   []string // of the query in development mode
	compression
	later  time.Duration // it is opened only to say that it should come back then; 0: it is welcome
	origin string        // the page's, where an event stream was asked for by an allowed one
}

// upgradeRules are the settings that a request is checked against.
type upgradeRules struct {
	dev     bool   // identities come from the query
	cookie  string // "": none
	query   bool   // ?token= is accepted
	deflate bool   // permessage-deflate is agreed to
	origins originRules
}

func newUpgradeRules(cfg AuthConfig) (upgradeRules, error) {
	origins, err := newOriginRules(cfg.Origins, cfg.devMode())
	return upgradeRules{dev: cfg.devMode(), cookie: cfg.Cookie, query: cfg.Query, origins: origins}, err
}

// checkUpgrade applies RFC 6455, section 4.2, and our own rules of paths, subprotocols and origins. What it returns does not refer to r's body.
func checkUpgrade(r *http.Request, rules *upgradeRules) (up upgrade, ref *refusal) {
	up.dialect, up.user, ref = dialectOf(r)
	if ref != nil {
		return up, ref
	}
	if up.dialect == eventStream {
		return up, up.checkStream(r, rules)
	}
	if ref = checkHandshake(r); ref != nil {
		return up, ref
	}
	if ref = rules.origins.check(r.Header["Origin"], r.Host); ref != nil {
		return up, ref
	}
	up.accept = acceptKey(r.Header["Sec-Websocket-Key"][0])
	if rules.deflate {
		if ref = up.negotiate(r.Header["Sec-Websocket-Extensions"]); ref != nil {
			return up, ref
		}
	}
	bearer, ref := up.subprotocols(r.Header["Sec-Websocket-Protocol"])
	if ref != nil {
		return up, ref
	}
	var ok bool
	if up.cursor, ok = queryValue(r.URL.RawQuery, "cursor"); !ok {
		return up, refuseQuery
	}
	if rules.dev {
		return up, up.devIdentity(r.URL.RawQuery)
	}
	up.token, ref = findToken(r, rules, bearer)
	return up, ref
}

// checkHandshake goes through RFC 6455, 4.2.1, in the order in which a person would want to learn of mistakes.
func checkHandshake(r *http.Request) *refusal {
	switch {
	// 1. "An HTTP/1.1 or higher GET request".
	case r.Method != http.MethodGet:
		return refuseMethod
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return refuseVersion
	// 2. "A |Host| header field containing the server's authority."
	case r.Host == "":
		return refuseHost
	// 3. "An |Upgrade| header field containing the value "websocket", treated as an ASCII case-insensitive value."
	// 4. "A |Connection| header field that includes the token "Upgrade", treated as an ASCII case-insensitive value."
	case !hasToken(r.Header["Upgrade"], "websocket"), !hasToken(r.Header["Connection"], "upgrade"):
		return refusePlainHTTP
	// 6. "A |Sec-WebSocket-Version| header field, with a value of 13."
	case len(r.Header["Sec-Websocket-Version"]) != 1 || r.Header["Sec-Websocket-Version"][0] != "13":
		return refuseWSVersion
	// 5. "A |Sec-WebSocket-Key| header field with a base64-encoded value that, when decoded, is 16 bytes in length."
	case len(r.Header["Sec-Websocket-Key"]) != 1 || !isKey(r.Header["Sec-Websocket-Key"][0]):
		return refuseKey
	case r.ContentLength != 0: // -1 in chunks
		return refuseBody
	}
	return nil
}

// subprotocols chooses the subprotocol of the answer, and takes a token out of the offers. A browser ends the connection when
// it offered some and none is chosen, so that is refused here with a reason.
func (up *upgrade) subprotocols(lines []string) (bearer string, ref *refusal) {
	if len(lines) == 0 {
		return "", nil
	}
	offers, ok := protocolList(lines)
	switch {
	case !ok:
		return "", refuseProtocols
	case up.dialect == plain:
		return "", refusePlainProtocol
	}
	for _, offer := range offers {
		if token, found := strings.CutPrefix(offer, subprotocolBearer); found {
			if token == "" || bearer != "" {
				return "", refuseBearer
			}
			bearer = token
		} else if offer == subprotocolTidings {
			up.protocol = subprotocolTidings
		}
	}
	if up.protocol == "" {
		return "", refuseDialect
	}
	return bearer, nil
}

// appendAnswer puts the answer that begins a session behind dst.
func appendAnswer(dst []byte, up upgrade) []byte {
	if up.dialect == eventStream {
		return appendStreamHead(dst, up)
	}
	return appendSwitchingProtocols(dst, up)
}

// appendSwitchingProtocols puts the answer that opens the WebSocket behind dst (RFC 6455, 4.2.2). The token is not in it.
func appendSwitchingProtocols(dst []byte, up upgrade) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = append(dst, up.accept[:]...)
	if up.protocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, up.protocol...)
	}
	dst = up.compression.append(dst)
	return append(dst, "\r\n\r\n"...)
}

// isKey tells whether key is 16 bytes in base64.
func isKey(key string) bool {
	var b [18]byte
	n, err := base64.StdEncoding.Decode(b[:], []byte(key[:min(len(key), 24)]))
	return len(key) == 24 && err == nil && n == 16
}

// acceptKey is Sec-WebSocket-Accept: base64(SHA-1(key + GUID)) (RFC 6455, 4.2.2, 5).
func acceptKey(key string) (accept [28]byte) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var b [24 + len(guid)]byte
	copy(b[copy(b[:], key):], guid)
	sum := sha1.Sum(b[:])
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}

// form is how the session's notifications are written.
func (up *upgrade) form() form {
	if up.dialect == eventStream {
		return events
	}
	return form(up.bits)
}
