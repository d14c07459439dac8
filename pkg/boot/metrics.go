package boot

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// BusMetrics shows what a service's connection to NATS has counted. It is asked when it is scraped.
func BusMetrics(b *bus.Bus) prometheus.Collector {
	return &busMetrics{
		bus:        b,
		connected:  prometheus.NewDesc("switchback_nats_connected", "1 while the connection to NATS stands.", nil, nil),
		reconnects: prometheus.NewDesc("switchback_nats_reconnects_total", "Connections to NATS that were made anew.", nil, nil),
		failures: prometheus.NewDesc("switchback_nats_publish_failures_total",
			"Publishes that JetStream did not acknowledge, by reason.", []string{"reason"}, nil),
	}
}

type busMetrics struct {
	bus                             *bus.Bus
	connected, reconnects, failures *prometheus.Desc
}

func (m *busMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.connected, m.reconnects, m.failures} {
		descs <- d
	}
}

func (m *busMetrics) Collect(metrics chan<- prometheus.Metric) {
	stats := m.bus.Stats()
	connected := 0.0
	if stats.Connected {
		connected = 1
	}
	metrics <- prometheus.MustNewConstMetric(m.connected, prometheus.GaugeValue, connected)
	metrics <- prometheus.MustNewConstMetric(m.reconnects, prometheus.CounterValue, float64(stats.Reconnects))
	for reason, n := range stats.PublishFailures {
		metrics <- prometheus.MustNewConstMetric(m.failures, prometheus.CounterValue, float64(n), reason)
	}
}
