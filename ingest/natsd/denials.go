package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Denials are what NATS has refused this process by its permissions. NATS does not answer what it refuses: whoever asked waits, and tries
// again. So each refusal is told once, with what to do, and the process is not ready while one of them stops its work.
type Denials struct {
	// Fixed at creation.
	log   *slog.Logger
	total prometheus.Counter

	// Guarded by mu.
	mu    sync.Mutex
	known map[denial]time.Time // when it was met last
}

// denial is one thing that may not be done.
type denial struct {
	connection string
	subscribe  bool // else publish
	subject    string
}

const (
	// denialHolds is for how long a refused publish counts after it was met last: what is needed is tried again within a few seconds. A
	// refused subscription is not asked for again until the connection is made anew, and counts until then.
	denialHolds = 15 * time.Second

	// maxDenials bounds what is remembered.
	maxDenials = 100
)

// NewDenials has nothing yet. A nil reg leaves the metric unseen.
func NewDenials(log *slog.Logger, reg prometheus.Registerer) *Denials {
	return &Denials{
		log:   log,
		known: map[denial]time.Time{},
		total: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: "tidings_nats_denied_total", Help: "Publishes and subscriptions that NATS refused by its permissions.",
		}),
	}
}

// violation reads the server's text, which is all there is of it.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription)[^"]*"([^"]+)"`)

// note is false when err is not a denial.
func (d *Denials) note(connection string, err error) bool {
	if d == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	what := violation.FindStringSubmatch(err.Error())
	if what == nil {
		return false
	}
	d.total.Inc()
	one := denial{connection, strings.EqualFold(what[1], "subscription"), pattern(what[2])}
	d.mu.Lock()
	_, told := d.known[one]
	full := len(d.known) >= maxDenials
	if told || !full {
		d.known[one] = time.Now()
	}
	d.mu.Unlock()
	if !told && !full {
		d.log.Error("NATS does not allow what is needed", "connection", connection, "denied", one.String(), "do", one.do())
	}
	return true
}

// again: the connection was made anew, and its subscriptions with it.
func (d *Denials) again(connection string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for one := range d.known {
		if one.connection == connection && one.subscribe {
			d.known[one] = time.Time{}
		}
	}
}

// Ready tells what NATS refuses now that work stands still without; nil if nothing.
func (d *Denials) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for one, last := range d.known {
		if one.stops() && !last.IsZero() && (one.subscribe || time.Since(last) < denialHolds) {
			return fmt.Errorf("NATS does not allow this user to %s: %s", one, one.do())
		}
	}
	return nil
}

func (o denial) String() string {
	if o.subscribe {
		return "subscribe to " + o.subject
	}
	return "publish to " + o.subject
}

func (o denial) do() string {
	return "allow it in the permissions of this role's user (k8s/base/nats/accounts.conf has all that each role needs)"
}

// stops tells whether work stands still without it. What only tidies up does not: consumers end by themselves.
func (o denial) stops() bool {
	for _, harmless := range []string{"$JS.API.CONSUMER.DELETE.", "$JS.API.CONSUMER.UNPIN.", "control.", RoleOperator.InboxPrefix() + "."} {
		if strings.HasPrefix(o.subject, harmless) {
			return false
		}
	}
	return true
}

// pattern takes from a subject what is never twice the same: names of consumers and inboxes.
func pattern(subject string) string {
	parts := strings.Split(subject, ".")
	keep := len(parts)
	switch {
	case strings.HasPrefix(subject, "_INBOX"):
		keep = 1
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG."):
		keep = 6
	case strings.HasPrefix(subject, "$JS.API.CONSUMER."), strings.HasPrefix(subject, "$JS.API.DIRECT."):
		keep = 5
	case strings.HasPrefix(subject, "$JS.ACK."):
		keep = 3
	case !strings.HasPrefix(subject, "$"):
		keep = 2
	}
	if keep >= len(parts) {
		return subject
	}
	return strings.Join(parts[:keep], ".") + ".>"
}
