package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Causes of a close without a close frame of ours, beside the names of the close codes.
const (
	causeGone    = "gone"    // the connection broke, or ended without a close frame
	causeBrowser = "browser" // the browser closed
	causeStopped = "stopped" // the process ended before the session did
)

// Causes of a reset.
const (
	resetLog      = "log"       // the log was made anew, or lost its end, or was trimmed past this gateway
	resetAhead    = "ahead"     // the cursor is beyond the end of the log
	resetTrimmed  = "trimmed"   // the log does not go back to the cursor any more
	resetScanFull = "scan_full" // too many wait for a scan
	resetScanTime = "scan_time" // the scan took too long
)

type metrics struct {
	sessions      [dialects]prometheus.Gauge
	notifications [dialects]prometheus.Counter
	heartbeats    prometheus.Counter
	frames        prometheus.Counter
	bytes         prometheus.Counter
	received      prometheus.Counter
	slow          prometheus.Counter
	deflated      prometheus.Counter
	deflatedIn    prometheus.Counter
	deflatedOut   prometheus.Counter
	resumes       [3]prometheus.Counter
	resets        *prometheus.CounterVec
	closes        *prometheus.CounterVec
	refusals      *prometheus.CounterVec
	latency       latency
	records       prometheus.Counter
	lag           *prometheus.GaugeVec
	badRecords    prometheus.Counter
	feedRestarts  *prometheus.CounterVec
	scans         prometheus.Counter
	scanned       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "tidings_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "tidings_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidings_feed_lag_records", Help: "Records that the log had and the feed had not, when the log's leader was last asked.",
		}, []string{"shard"}),
		heartbeats:   counter("heartbeats_sent_total", "Heartbeats given to sockets."),
		frames:       counter("frames_received_total", "Text frames from browsers."),
		bytes:        counter("sent_bytes_total", "Bytes that sockets have taken, of sessions."),
		received:     counter("received_bytes_total", "Bytes from browsers, of sessions."),
		deflated:     counter("compressed_records_total", "Records that were compressed, once for all browsers that agreed to it."),
		deflatedIn:   counter("compression_in_bytes_total", "Bytes of their frames before."),
		deflatedOut:  counter("compression_out_bytes_total", "Bytes of their frames after."),
		slow:         counter("sessions_slow_total", "Times that a session's queue was dropped because its socket did not keep up; it goes on from its cursor."),
		resets:       vec("resets_total", "Sessions that were told that their position is lost, by cause.", "cause"),
		closes:       vec("closes_total", "Sessions closed, by reason.", "reason"),
		refusals:     vec("handshakes_refused_total", "Connections that did not become sessions, by cause.", "cause"),
		records:      counter("feed_records_total", "Records read from the log."),
		badRecords:   counter("feed_bad_records_total", "Records of the log that could not be decoded, and were skipped."),
		feedRestarts: vec("feed_restarts_total", "Times that following the log began anew, by cause.", "cause"),
		scans:        counter("replay_scans_total", "Scans of the log for sessions older than the tail."),
		scanned:      counter("replay_records_total", "Records read by scans of the log."),
	}
	m.latency.register(f)
	sessions := f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidings_sessions", Help: "Browser connections that are sessions, and not closed, by what is spoken on them.",
	}, []string{"dialect"})
	notifications := vec("notifications_sent_total", "Notifications given to sockets, catch-up included, by dialect.", "dialect")
	for d := range dialects {
		m.sessions[d] = sessions.WithLabelValues(d.String())
		m.notifications[d] = notifications.WithLabelValues(d.String())
	}
	resumes := vec("resumes_total", "Sessions begun, by what became of their cursor.", "resume")
	for i, r := range [...]resume{resumeNone, resumeComplete, resumeReset} {
		m.resumes[i] = resumes.WithLabelValues(string(r))
	}
	return m
}

func (m *metrics) resume(r resume) {
	switch r {
	case resumeNone:
		m.resumes[0].Inc()
	case resumeComplete:
		m.resumes[1].Inc()
	case resumeReset:
		m.resumes[2].Inc()
	}
}

func (m *metrics) refused(ref *refusal) {
	if ref != preflight {
		m.refusals.WithLabelValues(ref.label()).Inc()
	}
}

func (m *metrics) compressed(from, to int) {
	m.deflated.Inc()
	m.deflatedIn.Add(float64(from))
	m.deflatedOut.Add(float64(to))
}
