package loadgen

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
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
	before, after string // what stands around the user in the query
	rest          string
	secret        []byte
	host          string // host:port to connect to
}

func newHandshake(c *Config) (*handshake, error) {
	u, err := url.Parse(c.Target)
	if err != nil {
		return nil, err
	}
	h := &handshake{secret: []byte(c.Secret), host: u.Host}
	if u.Port() == "" {
		h.host = net.JoinHostPort(u.Hostname(), "80")
	}
	h.before, h.after = "GET "+u.RequestURI(), " HTTP/1.1\r\n"
	if c.Secret == "" {
		h.before += map[bool]string{true: "&user=", false: "?user="}[u.RawQuery != ""]
	}
	lines := []string{"Host: " + u.Host, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + handshakeKey}
	if c.Subprotocol != "" {
		lines = append(lines, "Sec-WebSocket-Protocol: "+c.Subprotocol)
	}
	h.rest = strings.Join(lines, "\r\n") + "\r\n"
	return h, nil
}

// request is what a tab of the user sends first.
func (h *handshake) request(user string) ([]byte, error) {
	if len(h.secret) == 0 {
		return []byte(h.before + url.QueryEscape(user) + h.after + h.rest + "\r\n"), nil
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(h.secret)
	if err != nil {
		return nil, fmt.Errorf("sign a token: %w", err)
	}
	return []byte(h.before + h.after + h.rest + "Authorization: Bearer " + token + "\r\n\r\n"), nil
}

// checkAnswer reads the head of the server's answer. size is 0 when b does not hold all of it yet.
func checkAnswer(b []byte) (size int, err error) {
	end := bytes.Index(b, endOfHead)
	switch {
	case end < 0 && len(b) > maxHead:
		return 0, errHead
	case end < 0:
		return 0, nil
	}
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 101 ")) {
		return 0, fmt.Errorf("the server refused the handshake: %q %q", line, b[end+len(endOfHead):])
	}
	if !bytes.Contains(b[:end], []byte(handshakeAccept)) {
		return 0, fmt.Errorf("the server's answer lacks Sec-WebSocket-Accept: %s", handshakeAccept)
	}
	return end + len(endOfHead), nil
}
