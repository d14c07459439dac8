package telemetry

import (
	"runtime/debug"

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
	labels := prometheus.Labels{"service": service, "version": "unknown", "goversion": "unknown", "revision": "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				labels["revision"] = s.Value
			}
		}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchback_build_info", Help: "1, with what was built in its labels.", ConstLabels: labels,
	}, func() float64 { return 1 })
}

// builtVersion is the version in the program's build information.
func builtVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
