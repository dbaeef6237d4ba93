package fanout

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// Fan turns Events into Records of the log. It has no state of its own: any number of goroutines may call Handle.
type Fan struct {
	rules   *Rules
	pub     *Publisher
	log     *slog.Logger
	metrics *fanMetrics
}

// New makes a Fan. Without rules (nil) events name their audience themselves; without a registry the metrics go nowhere.
func New(rules *Rules, pub *Publisher, log *slog.Logger, reg prometheus.Registerer) *Fan {
	f := &Fan{rules: rules, pub: pub, log: log, metrics: newFanMetrics(reg)}
	for _, result := range []string{"delivered", "unmatched", "nobody", "error"} {
		f.metrics.events.WithLabelValues(result)
	}
	return f
}

// Handle stores the Records of e, and returns nil when all of them are acknowledged: then the event may be. All rules are
// evaluated before the first Record is published, so that an error in one leaves nothing half done. An error wraps
// ingest.ErrPermanent when the event itself is at fault, ingest.ErrUnavailable when NATS is.
func (f *Fan) Handle(ctx context.Context, e *ingest.Event) error {
	notifications, err := f.evaluate(ctx, e)
	if err != nil {
		f.count("error")
		return err
	}
	entries, err := f.records(e, notifications)
	if err != nil {
		f.count("error")
		return err
	}
	if len(entries) == 0 {
		f.count(emptyResult(notifications))
		if f.log.Enabled(ctx, slog.LevelDebug) {
			e.Logger(ctx, f.log).Debug("an event reaches nobody", "rules_matched", len(notifications))
		}
		return nil
	}
	if err := f.store(ctx, entries, e); err != nil {
		f.count("error")
		return err
	}
	f.count("delivered")
	return nil
}

func (f *Fan) records(e *ingest.Event, notifications []Notification) ([]Entry, error) {
	var all []Entry
	for i := range notifications {
		n := &notifications[i]
		if n.Audience.Empty() {
			continue
		}
		entries, err := records(e, n, f.pub.Shards(), f.pub.MaxMessage())
		if err != nil {
			return nil, err
		}
		if entries[0].Kind == wire.Users {
			f.metrics.audience.Observe(float64(len(n.Audience.Users)))
		}
		all = append(all, entries...)
	}
	return all, nil
}

func emptyResult(notifications []Notification) string {
	if len(notifications) == 0 {
		return "unmatched"
	}
	return "nobody"
}

func (f *Fan) count(result string) { f.metrics.events.WithLabelValues(result).Inc() }
