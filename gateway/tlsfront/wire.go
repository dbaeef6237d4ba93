package tlsfront

import (
	"errors"
	"io"
	"net"
	"time"

	"tidings/gateway/netpoll"
)

// wire is the TCP connection below crypto/tls. During the handshake it is an ordinary one. After detach it never blocks: crypto/tls goes on
// reading where it was after an error that calls itself temporary, and of writes the wire keeps what the socket does not take.
type wire struct {
	net.Conn // nil when detached

	fd      int
	pending []byte // ciphertext for the socket
}

// errWait: nothing has come yet.
var errWait net.Error = waiting{}

type waiting struct{}

func (waiting) Error() string   { return "nothing to read yet" }
func (waiting) Timeout() bool   { return true }
func (waiting) Temporary() bool { return true }

// maxPending bounds what is kept. A relay writes only when nothing is, at most a few records then; beside that crypto/tls answers the peer's
// key updates, without end if the peer does not read them.
const maxPending = 256 << 10

var errFlood = errors.New("the peer asks for more than it reads")

// detach takes the descriptor away from the runtime.
func (w *wire) detach() error {
	fd, err := netpoll.Detach(w.Conn.(*net.TCPConn))
	if err != nil {
		return err
	}
	w.Conn.Close()
	w.Conn, w.fd = nil, fd
	return nil
}

func (w *wire) Read(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Read(b)
	}
	n, err := netpoll.Read(w.fd, b)
	switch {
	case errors.Is(err, netpoll.ErrAgain):
		return 0, errWait
	case n == 0 && err == nil && len(b) > 0:
		return 0, io.EOF
	}
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Write(b)
	}
	n := 0
	if len(w.pending) == 0 {
		var err error
		if n, err = netpoll.Write(w.fd, b); err != nil && !errors.Is(err, netpoll.ErrAgain) {
			return 0, err
		}
	}
	if w.pending = append(w.pending, b[n:]...); len(w.pending) > maxPending {
		return 0, errFlood
	}
	return len(b), nil
}

// flush gives the socket what was kept.
func (w *wire) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	n, err := netpoll.Write(w.fd, w.pending)
	if err != nil && !errors.Is(err, netpoll.ErrAgain) {
		return err
	}
	if w.pending = w.pending[n:]; len(w.pending) == 0 {
		w.pending = nil
	}
	return nil
}

// Deadlines are the handshake's: behind it nothing blocks, though crypto/tls sets one for its last alert.

func (w *wire) SetDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetReadDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetWriteDeadline(t)
	}
	return nil
}
