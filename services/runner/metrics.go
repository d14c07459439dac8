package runner

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// metrics are what a runner counts.
type metrics struct {
	started    *prometheus.CounterVec
	ended      *prometheus.CounterVec
	callbacks  *prometheus.CounterVec
	timeouts   prometheus.Counter
	duplicates prometheus.Counter
	conflicts  prometheus.Counter
	dead       *prometheus.CounterVec
	newer      prometheus.Counter
	overdue    prometheus.Histogram
	active     prometheus.Gauge
	invocation *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "switchback", Subsystem: "runner", Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "switchback", Subsystem: "runner", Name: name, Help: help}, labels)
	}
	m := &metrics{
		started:    counters("runs_started_total", "Runs that have begun here.", "workflow"),
		ended:      counters("runs_ended_total", "Runs that have ended here.", "workflow", "status"),
		callbacks:  counters("callbacks_total", "Callbacks taken from the stream, by what became of them.", "fate"),
		timeouts:   counter("wait_timeouts_total", "Waits whose time was over."),
		duplicates: counter("duplicate_requests_total", "Requests for a run that was there already."),
		conflicts:  counter("save_conflicts_total", "Saves that came second and were done again."),
		dead:       counters("dead_letters_total", "Messages that could not be processed and lie in the stream DEAD, by their kind.", "kind"),
		newer:      counter("left_to_newer_total", "Deliveries handed back because a newer runner has begun the run."),
		overdue: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "switchback", Subsystem: "runner", Name: "timeout_delay_seconds",
			Help:    "How long after its deadline a wait's or timer's end was taken up.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 86400},
		}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "switchback", Subsystem: "runner", Name: "active", Help: "Messages being worked on."}),
		invocation: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "switchback", Subsystem: "runner", Name: "invocation_seconds", Help: "Requests to outside services.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"component"}),
	}
	for _, f := range fate.All() {
		if f != fate.Pending { // it is counted when it has a fate
			m.callbacks.WithLabelValues(string(f))
		}
	}
	for _, kind := range []string{subject.KindRequest, subject.KindCallback, subject.KindTimeout} {
		m.dead.WithLabelValues(kind)
	}
	if reg != nil {
		reg.MustRegister(m.started, m.ended, m.callbacks, m.timeouts, m.duplicates, m.conflicts, m.active, m.invocation, m.dead, m.newer, m.overdue)
	}
	return m
}
