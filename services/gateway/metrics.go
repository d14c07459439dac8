package gateway

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// metrics count what the tunnels do. Labels: gateway, port, driver.
type metrics struct {
	state    *prometheus.GaugeVec
	failures *prometheus.CounterVec
	urls     *prometheus.CounterVec
	probes   *prometheus.HistogramVec
	requests *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	labels := func(more ...string) []string { return append([]string{"gateway", "port", "driver"}, more...) }
	m := &metrics{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "switchback_gateway_state", Help: "1 for the state that a tunnel is in.",
		}, labels("state")),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchback_gateway_failures_total", Help: "Tunnels that ended or could not be opened, by the class of the error.",
		}, labels("class")),
		urls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchback_gateway_urls_total", Help: "Public URLs that were new.",
		}, labels()),
		probes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchback_gateway_probe_seconds", Help: "Time of a probe through the public URL.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels("result")),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchback_gateway_request_seconds", Help: "Time of a request through the tunnel.", Buckets: []float64{.005, .025, .1, .5, 2.5, 10, 60},
		}, labels("status")),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.state, m.failures, m.urls, m.probes, m.requests} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the gateway's metrics: %w", err)
		}
	}
	return m, nil
}

func (p *plan) labels() prometheus.Labels {
	return prometheus.Labels{"gateway": p.id, "port": strconv.Itoa(p.port), "driver": p.driver}
}

func with(l prometheus.Labels, name, value string) prometheus.Labels {
	l[name] = value
	return l
}

func (m *metrics) changed(p plan, before event.GatewayStatus, s tunnel.Status) {
	if before.Status != string(s.State) {
		m.state.DeletePartialMatch(p.labels())
		m.state.With(with(p.labels(), "state", string(s.State))).Set(1)
	}
	if s.Attempts > before.Attempts {
		m.failures.With(with(p.labels(), "class", string(s.Class))).Inc()
	}
	if s.Generation > before.Generation && before.Status != "" {
		m.urls.With(p.labels()).Inc()
	}
}

func (m *metrics) left(p plan) { m.state.DeletePartialMatch(p.labels()) }

// served counts requests.
func (m *metrics) served(p plan) func(status int, took time.Duration) {
	h, err := m.requests.CurryWith(p.labels())
	if err != nil {
		return nil
	}
	return func(status int, took time.Duration) {
		h.WithLabelValues(strconv.Itoa(status)).Observe(took.Seconds())
	}
}

// probed times probes.
func (m *metrics) probed(p plan, probe func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, url string) error {
		began := time.Now()
		err := probe(ctx, url)
		result := "ok"
		if err != nil {
			result = "failed"
		}
		m.probes.With(with(p.labels(), "result", result)).Observe(time.Since(began).Seconds())
		return err
	}
}
