package natsd

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// How soon a lost server is tried again: soon, because other servers of the cluster are there, and not all clients at
// once. Two pings without an answer end a connection whose server vanished without a word, after 10 to 15 s.
const (
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
	pingInterval    = 5 * time.Second
)

// Dial connects to the external servers in urls (a comma list) and keeps trying for ever: at the start too, when it returns
// a connection that is not connected yet. An error means that the settings are wrong.
//
// While disconnected nothing is buffered: a publish fails at once, and its owner tries again with the same id, instead of an
// old copy going out minutes later.
func Dial(urls, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	return dial(urls, name, log, nil, opts)
}

// dial is Dial. What is refused by permissions goes to denied, which may be nil.
func dial(urls, name string, log *slog.Logger, denied *Denials, opts []nats.Option) (*nats.Conn, error) {
	shown, err := Redact(urls)
	if err != nil {
		return nil, err
	}
	log = log.With("connection", name)
	tries := &attempts{log: log}
	all := append([]nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials are renewed under a running program
		nats.CustomReconnectDelay(tries.pause),
		nats.ReconnectBufSize(-1),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(nc *nats.Conn) {
			tries.succeeded()
			log.Info("connected to NATS", "server", connected(nc))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			tries.succeeded()
			denied.again(name)
			log.Info("connected to NATS again", "server", connected(nc))
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { tries.say(err) }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("NATS connection lost, trying again", "error", InWords(err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			switch {
			case denied.note(name, err):
			case aboutUs(err):
				tries.say(err)
			default:
				reportError(log, sub, err)
			}
		}),
	}, opts...)
	nc, err := nats.Connect(urls, all...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", shown, InWords(err))
	}
	tries.nc.Store(nc)
	if !nc.IsConnected() {
		log.Warn("NATS is not reachable yet, trying again until it is", "url", shown)
	}
	return nc, nil
}

// connected is the server's URL without what is secret in it.
func connected(nc *nats.Conn) string {
	shown, err := Redact(nc.ConnectedUrl())
	if err != nil { // it is gone again
		return ""
	}
	return shown
}

func reportError(log *slog.Logger, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	log.Warn("NATS reports an error", "subject", subject, "error", err)
}

// Redact checks a comma list of NATS URLs and hides its passwords and tokens.
func Redact(urls string) (string, error) {
	var shown []string
	for one := range strings.SplitSeq(urls, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return "", fmt.Errorf("a NATS URL in the list cannot be read: want nats://host:4222, several separated by commas")
		}
		if _, password := u.User.Password(); u.User != nil && !password {
			u.User = url.User("xxxxx") // a token stands where the user's name would
		}
		shown = append(shown, u.Redacted())
	}
	return strings.Join(shown, ","), nil
}
