package forwarder

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// What became of a message.
const (
	fateForwarded = "forwarded"
	fateDuplicate = "duplicate" // it had arrived already
	fateBehind    = "behind"    // it waits for an earlier one of its id
	fateRetried   = "retried"
	fateDead      = "dead"
)

const (
	kindCallback = "callback"
	kindRequest  = "request"
)

func fateOf(a bus.Ack) string {
	if a.Duplicate {
		return fateDuplicate
	}
	return fateForwarded
}

type metrics struct {
	messages *prometheus.CounterVec
	held     prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "switchback", Subsystem: "forwarder", Name: "messages_total", Help: "Deliveries from the listener's side, by what became of them.",
		}, []string{"kind", "fate"}),
		held: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "switchback", Subsystem: "forwarder", Name: "held_seconds", Help: "How long a message lay on the listener's side until it was forwarded.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600},
		}),
	}
	if r != nil {
		r.MustRegister(m.messages, m.held)
	}
	return m
}

func (m *metrics) count(kind, fate string, stored time.Time) {
	m.messages.WithLabelValues(kind, fate).Inc()
	if fate == fateForwarded {
		m.held.Observe(time.Since(stored).Seconds())
	}
}
