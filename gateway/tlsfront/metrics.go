package tlsfront

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Causes of a handshake that did not become a connection.
const (
	causeTimeout = "timeout"    // it was not finished in time
	causePlain   = "plain_http" // http:// or ws:// came where https:// and wss:// are spoken
	causeFailed  = "failed"     // the two have no version or certificate in common, or the client went away
	causeMemory  = "memory"     // there was none left for it
)

type metrics struct {
	connections prometheus.Gauge
	handshakes  *prometheus.CounterVec
	failures    *prometheus.CounterVec
	reloads     *prometheus.CounterVec
	expires     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		connections: f.NewGauge(prometheus.GaugeOpts{Name: "tidings_tls_connections", Help: "TLS connections behind their handshake."}),
		handshakes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_tls_handshakes_total", Help: "TLS handshakes done: full ones, and those resumed by a ticket.",
		}, []string{"kind"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_tls_handshakes_failed_total", Help: "Connections that did not get through their TLS handshake, by cause.",
		}, []string{"cause"}),
		reloads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_tls_certificate_reloads_total", Help: "Times that the certificate's files had changed, by whether the new pair could be used.",
		}, []string{"result"}),
		expires: f.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate in use ends, in Unix seconds.",
		}),
	}
}
