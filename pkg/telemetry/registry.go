package telemetry

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry makes a registry with the metrics of the Go runtime, of the process and of the build.
// What a service counts it registers itself, named switchback_<service>_<what>_<unit>.
func NewRegistry(service string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(service),
	)
	return r
}

// buildInfo is 1, with what was built in its labels.
func buildInfo(service string) prometheus.Collector {
	const unknown = "unknown"
	built := Built()
	labels := prometheus.Labels{
		"service": service, "version": cmp.Or(built.Version, unknown), "goversion": cmp.Or(built.Go, unknown), "revision": cmp.Or(built.Revision, unknown),
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchback_build_info", Help: "1, with what was built in its labels.", ConstLabels: labels,
	}, func() float64 { return 1 })
}
