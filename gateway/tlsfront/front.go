package tlsfront

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/gateway/netpoll"
)

// Needs is what a Front gets from outside.
type Needs struct {
	Log      *slog.Logger
	Registry prometheus.Registerer

	Handshake time.Duration // for a handshake
	Unsent    int           // bytes that the kernel keeps for a peer that does not read
	Deaf      time.Duration // after which a peer that acknowledges nothing is given up
	Relays    int           // goroutines that relay
	Full      func() bool   // the memory is used up: who comes is turned away before TLS costs some of it; nil: never
}

// Deliver hands a connection over: a non-blocking descriptor, and whose it is. It is false when nobody takes it. The turn spreads
// connections over those who can.
type Deliver func(turn int, fd int, peer net.Addr) bool

// Front is a listener that speaks TLS.
type Front struct {
	// Fixed at creation.
	needs    Needs
	metrics  *metrics
	listener net.Listener
	pair     *certificate
	tls      *tls.Config
	slots    chan struct{} // one token for each handshake under way

	relays     []*relay // fixed by Run before it takes connections
	handshakes sync.WaitGroup
}

// New reads the certificate and binds the address, so that a mistake is known before anything runs.
func New(cfg Config, address string, n Needs) (*Front, error) {
	f := &Front{needs: n, metrics: newMetrics(n.Registry), slots: make(chan struct{}, cfg.TLSHandshakes)}
	var err error
	if f.pair, err = newCertificate(cfg, n.Log, f.metrics); err != nil {
		return nil, err
	}
	f.tls = &tls.Config{
		GetCertificate: f.pair.get,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // a WebSocket over HTTP/2 is another protocol (RFC 8441)
	}
	if f.listener, err = net.Listen("tcp", address); err != nil {
		return nil, fmt.Errorf("cannot listen on %s (TIDINGS_LISTEN): %w", address, err)
	}
	return f, nil
}

// Addr is the bound address.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// Refuse takes no more connections. Those that are there stay.
func (f *Front) Refuse() { f.listener.Close() }

// Run serves until the context ends, which closes every connection; or, after Refuse, until the last of them is closed by its loop.
func (f *Front) Run(ctx context.Context, deliver Deliver) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer f.Refuse()
	defer context.AfterFunc(ctx, f.Refuse)()
	for range f.needs.Relays {
		r, err := newRelay(f.metrics)
		if err != nil {
			for _, r := range f.relays {
				r.poller.Close()
			}
			return err
		}
		f.relays = append(f.relays, r)
	}
	var helpers, relays sync.WaitGroup
	helpers.Go(func() { f.pair.watch(ctx, lookEvery) })
	errs := make([]error, len(f.relays))
	for i, r := range f.relays {
		relays.Go(func() {
			if errs[i] = r.run(ctx); errs[i] != nil {
				stop()
			}
		})
	}
	f.accept(ctx, deliver)
	f.handshakes.Wait()
	for _, r := range f.relays {
		r.leave()
	}
	relays.Wait()
	stop()
	helpers.Wait()
	return errors.Join(errs...)
}

// accept takes connections until the listener is closed, while there are slots for handshakes.
func (f *Front) accept(ctx context.Context, deliver Deliver) {
	for turn := 0; ; turn++ {
		select {
		case f.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			<-f.slots
			return
		}
		if err != nil {
			<-f.slots
			f.needs.Log.Error("cannot accept connections, waiting a second", "error", err) // no descriptors left, most likely
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		if f.needs.Full != nil && f.needs.Full() {
			<-f.slots
			f.metrics.failures.WithLabelValues(causeMemory).Inc()
			conn.Close()
			continue
		}
		f.handshakes.Go(func() {
			defer func() { <-f.slots }()
			f.serve(ctx, conn.(*net.TCPConn), turn, deliver)
		})
	}
}

// serve makes a pipe of a connection, if it speaks TLS in time.
func (f *Front) serve(ctx context.Context, tcp *net.TCPConn, turn int, deliver Deliver) {
	peer := tcp.RemoteAddr()
	w := &wire{Conn: tcp}
	conn := tls.Server(w, f.tls)
	ctx, cancel := context.WithTimeout(ctx, f.needs.Handshake)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		f.failed(tcp, err, ctx.Err())
		tcp.Close()
		return
	}
	kind := "full"
	if conn.ConnectionState().DidResume {
		kind = "resumed"
	}
	f.metrics.handshakes.WithLabelValues(kind).Inc()
	if err := w.detach(); err != nil {
		f.needs.Log.Error("cannot take over a TLS connection", "error", err)
		tcp.Close()
		return
	}
	netpoll.LimitUnsent(w.fd, f.needs.Unsent)       // a failure costs memory only
	netpoll.LimitUnacknowledged(w.fd, f.needs.Deaf) // a failure costs time only
	inner, outer, err := netpoll.Pair(f.needs.Unsent)
	if err != nil {
		f.needs.Log.Error("cannot serve a TLS connection", "error", err)
		netpoll.Close(w.fd)
		return
	}
	if !f.relays[turn%len(f.relays)].take(&pipe{conn: conn, wire: w, inner: inner}) {
		for _, fd := range [...]int{w.fd, inner, outer} {
			netpoll.Close(fd)
		}
		return
	}
	if !deliver(turn, outer, peer) {
		netpoll.Close(outer) // the relay sees it, and says goodbye to the peer
	}
}

// failed says why there was no handshake, in the metrics, and at length for those who look for a reason.
func (f *Front) failed(tcp *net.TCPConn, err, late error) {
	cause := causeFailed
	var header tls.RecordHeaderError
	switch {
	case late != nil, errors.Is(err, os.ErrDeadlineExceeded):
		cause = causeTimeout
	case errors.As(err, &header) && startsLikeHTTP(header.RecordHeader):
		cause = causePlain
		tcp.SetWriteDeadline(time.Now().Add(time.Second))
		tcp.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 45\r\n\r\n" +
			"TLS is spoken here: use https:// and wss://.\n")) // an error is the client's leaving
	}
	f.metrics.failures.WithLabelValues(cause).Inc()
	f.needs.Log.Debug("no TLS handshake", "peer", tcp.RemoteAddr().String(), "cause", cause, "error", err)
}

func startsLikeHTTP(b [5]byte) bool {
	for _, method := range []string{"GET ", "HEAD ", "POST ", "PUT ", "OPTIO"} {
		if strings.HasPrefix(string(b[:]), method) {
			return true
		}
	}
	return false
}
