package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events struct{ handled, retried, dead, duplicate prometheus.Counter }

	dead      *prometheus.CounterVec // by reason
	inHand    prometheus.Gauge
	waiting   *prometheus.GaugeVec // by consumer
	unacked   *prometheus.GaugeVec // by consumer
	takeOvers prometheus.Counter
	healed    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidings_events_total",
		Help: "Events by result: handled, dead_letter; retried counts attempts to be repeated, duplicate redeliveries of what is done.",
	}, []string{"result"})
	m := &metrics{
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_dead_letters_total",
			Help: "Events moved to the DLQ, by reason: decode, permanent, attempts, deliveries.",
		}, []string{"reason"}),
		inHand: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_events_in_hand",
			Help: "Events that were delivered to this process and are not acknowledged yet.",
		}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidings_events_waiting",
			Help: "Events that the consumer has not delivered to anybody yet.",
		}, []string{"consumer"}),
		unacked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidings_events_unacknowledged",
			Help: "Events that the consumer has delivered to some process and that are not acknowledged yet.",
		}, []string{"consumer"}),
		takeOvers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_takeovers_total",
			Help: "Times that a partition was read from the stream because another process had its events in hand, or deliveries were lost.",
		}),
		healed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_healed_total",
			Help: "Streams and consumers that were made or changed back while running.",
		}),
	}
	reg.MustRegister(events, m.dead, m.inHand, m.waiting, m.unacked, m.takeOvers, m.healed)
	m.events.handled = events.WithLabelValues("handled")
	m.events.retried = events.WithLabelValues("retried")
	m.events.dead = events.WithLabelValues("dead_letter")
	m.events.duplicate = events.WithLabelValues("duplicate")
	for _, reason := range []string{reasonDecode, reasonPermanent, reasonAttempts, reasonDeliveries} {
		m.dead.WithLabelValues(reason)
	}
	return m
}
