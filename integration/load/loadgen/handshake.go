package loadgen

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// handshakeKey is the example of RFC 6455, section 1.3, and handshakeAccept the answer it must get.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

const maxHead = 8 << 10

var endOfHead = []byte("\r\n\r\n")

// handshake makes the requests of one process.
type handshake struct {
	target string // with the mark that a first parameter of the query needs
	rest   string
	secret []byte
	host   string           // host:port to connect to
	tokens map[int32]string // signed once: a tab that comes back has its token, and signing costs the machine that is measured
	buf    []byte
}

func newHandshake(c *Config) (*handshake, error) {
	u, err := url.Parse(c.target())
	if err != nil {
		return nil, err
	}
	h := &handshake{secret: []byte(c.Secret), host: u.Host, tokens: map[int32]string{}}
	if u.Port() == "" {
		h.host = net.JoinHostPort(u.Hostname(), "80")
	}
	h.target = "GET " + u.RequestURI() + map[bool]string{true: "&", false: "?"}[u.RawQuery != ""]
	lines := []string{"Host: " + u.Host, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + handshakeKey}
	if c.Subprotocol != "" {
		lines = append(lines, "Sec-WebSocket-Protocol: "+c.Subprotocol)
	}
	h.rest = strings.Join(lines, "\r\n") + "\r\n"
	return h, nil
}

// Requests are handshakes as tabs of n users send them, from that number on, for a connection that is not a tab; and the host:port
// they are meant for.
func Requests(c Config, from, n int) (host string, list [][]byte, err error) {
	h, err := newHandshake(&c)
	if err != nil {
		return "", nil, err
	}
	for i := range n {
		b, err := h.request(int32(from+i), nil)
		if err != nil {
			return "", nil, err
		}
		list = append(list, bytes.Clone(b))
	}
	return h.host, list, nil
}

// request is what a tab of the user sends first, until the next call. A cursor says what the tab has seen.
func (h *handshake) request(user int32, cursor []byte) ([]byte, error) {
	b := append(h.buf[:0], h.target...)
	if len(h.secret) == 0 {
		b = append(append(b, "user="...), User(int(user))...)
		b = append(b, '&')
	}
	if len(cursor) > 0 {
		b = append(append(b, "cursor="...), url.QueryEscape(string(cursor))...)
		b = append(b, '&')
	}
	b = append(append(b[:len(b)-1], " HTTP/1.1\r\n"...), h.rest...) // without the mark or the last &
	if len(h.secret) > 0 {
		token, err := h.token(user)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, "Authorization: Bearer "...), token...), "\r\n"...)
	}
	h.buf = append(b, "\r\n"...)
	return h.buf, nil
}

func (h *handshake) token(user int32) (string, error) {
	if t := h.tokens[user]; t != "" {
		return t, nil
	}
	t, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": User(int(user)), "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(h.secret)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	h.tokens[user] = t
	return t, nil
}

// busy is the answer of a server that takes no more connections now: RFC 9110, 15.6.4 and 10.2.3.
type busy struct{ after time.Duration }

func (b busy) Error() string { return fmt.Sprintf("the server is busy for %v", b.after) }

// checkAnswer reads the head of the server's answer. size is 0 when b does not hold all of it yet. The error is a busy where the server says when to come
// back.
func checkAnswer(b []byte) (size int, err error) {
	end := bytes.Index(b, endOfHead)
	switch {
	case end < 0 && len(b) > maxHead:
		return 0, errHead
	case end < 0:
		return 0, nil
	}
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	if bytes.HasPrefix(line, []byte("HTTP/1.1 503 ")) {
		if seconds, ok := retryAfter(b[:end]); ok {
			return 0, busy{time.Duration(seconds) * time.Second}
		}
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 101 ")) {
		return 0, fmt.Errorf("the server refused the handshake: %q %q", line, b[end+len(endOfHead):])
	}
	if !bytes.Contains(b[:end], []byte(handshakeAccept)) {
		return 0, fmt.Errorf("the server's answer lacks Sec-WebSocket-Accept: %s", handshakeAccept)
	}
	return end + len(endOfHead), nil
}

func retryAfter(head []byte) (seconds int, ok bool) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if strings.EqualFold(string(name), "Retry-After") {
			seconds, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			return seconds, err == nil && 0 <= seconds && seconds <= 3600
		}
	}
	return 0, false
}
