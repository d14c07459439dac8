package listener

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what all listeners of a service count.
type metrics struct {
	registry prometheus.Registerer
	requests *prometheus.CounterVec
	items    *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	records  *prometheus.CounterVec
	publish  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	name := func(n, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "switchback", Subsystem: "listener", Name: n, Help: help}
	}
	m := &metrics{
		registry: r,
		requests: prometheus.NewCounterVec(name("requests_total", "Requests by what became of them."), []string{"listener", "endpoint", "verdict"}),
		items:    prometheus.NewCounterVec(name("items_total", "Callbacks and run requests stored, by outcome."), []string{"listener", "endpoint", "outcome"}),
		bytes:    prometheus.NewCounterVec(name("body_bytes_total", "Bytes of request bodies, as sent."), []string{"listener"}),
		records:  prometheus.NewCounterVec(name("records_total", "Records of requests: stored, dropped for lack of room, or lost on the way to NATS."), []string{"fate"}),
		publish: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "switchback", Subsystem: "listener", Name: "publish_seconds", Help: "Time until JetStream has answered a publish.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"listener"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "switchback", Subsystem: "listener", Name: "in_flight_requests", Help: "Requests being handled, those that wait for a slot included.",
		}, []string{"listener"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.items, m.bytes, m.records, m.publish, m.inFlight} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the listener's metrics: %w", err)
		}
	}
	return m, nil
}

// queue shows how many wait at a listener's gate.
func (m *metrics) queue(listener string, g *gate) error {
	if m.registry == nil {
		return nil
	}
	err := m.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "switchback", Subsystem: "listener", Name: "queued_requests", Help: "Requests that wait for a slot.",
		ConstLabels: prometheus.Labels{"listener": listener},
	}, g.queued))
	if err != nil {
		return fmt.Errorf("register the listener's metrics: %w", err)
	}
	return nil
}
