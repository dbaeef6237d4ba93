package wsclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/gobwas/ws"
)

// Options are what a test may want to be different.
type Options struct {
	Header     http.Header // Authorization, Cookie, Origin …; "Host" takes the place of the URL's
	Protocols  []string    // offered subprotocols, as in new WebSocket(url, protocols)
	LocalAddr  string      // an IP address of this machine: one has about 28,000 ports to one server
	ReadBuffer int         // bytes of SO_RCVBUF, set before connecting (the kernel doubles it); 0 leaves it to the kernel
	Mute       bool        // never answer a ping
	TLS        *tls.Config // for wss:// URLs
}

// Refused is the error of Dial when the server answers, but not with a WebSocket.
type Refused struct {
	Status int
	Body   string // at most 4 KiB of it
}

func (e *Refused) Error() string { return fmt.Sprintf("refused with %d: %s", e.Status, e.Body) }

// Dial opens a Tab at a ws:// or wss:// URL. The caller ends it with Close, Hangup or Drop. The context bounds the handshake only.
func Dial(ctx context.Context, url string, o Options) (*Tab, error) {
	var refused *Refused
	d := ws.Dialer{
		Protocols: o.Protocols,
		TLSConfig: o.TLS,
		NetDial:   o.dialer().DialContext,
		OnStatusError: func(status int, _ []byte, response io.Reader) {
			refused = &Refused{status, readBody(response)}
		},
	}
	if o.Header != nil {
		h := o.Header.Clone()
		d.Host = h.Get("Host")
		h.Del("Host")
		d.Header = ws.HandshakeHeaderHTTP(h)
	}
	conn, early, shake, err := d.Dial(ctx, url)
	switch {
	case refused != nil:
		return nil, fmt.Errorf("dial %s: %w", url, refused)
	case err != nil:
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	t := &Tab{conn: conn, mute: o.Mute, protocol: shake.Protocol}
	if early != nil { // frames came with the handshake
		b, _ := early.Peek(early.Buffered()) // cannot fail: they are there
		t.in.b = bytes.Clone(b)
		ws.PutReader(early)
	}
	return t, nil
}

// dialer dials from the wanted address with the wanted buffer.
func (o Options) dialer() *net.Dialer {
	d := &net.Dialer{}
	if o.LocalAddr != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(o.LocalAddr)}
	}
	if o.ReadBuffer > 0 {
		// Before connecting, since a window that the server was once offered is not taken back.
		d.Control = func(_, _ string, c syscall.RawConn) error { return setReadBuffer(c, o.ReadBuffer) }
	}
	return d
}

// readBody is the text of a refusal, which is for people.
func readBody(r io.Reader) string {
	response, err := http.ReadResponse(bufio.NewReader(r), nil)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // what there is of it will do
	return strings.TrimSpace(string(b))
}

// Timeout tells whether err means that nothing came in time; the Tab goes on as before.
func Timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
