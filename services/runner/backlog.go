package runner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// backlog shows what waits in JetStream. It is the same whichever runner is asked, and is asked for when somebody scrapes,
// not while working.
type backlog struct {
	bus *bus.Bus
	log *slog.Logger

	pending, oldest, unacknowledged, redelivered, messages, bytes *prometheus.Desc

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
}

const (
	backlogFor     = 2 * time.Second // how long an answer serves: scrapes by several cost one
	backlogTimeout = 3 * time.Second
)

func newBacklog(b *bus.Bus, log *slog.Logger) *backlog {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("switchback_jetstream_"+name, help, labels, nil)
	}
	return &backlog{
		bus: b, log: log,
		pending:        desc("consumer_pending_messages", "Messages that no runner has been given yet.", "stream", "consumer"),
		oldest:         desc("consumer_oldest_pending_seconds", "Age of the first of them; 0 when there is none.", "stream", "consumer"),
		unacknowledged: desc("consumer_unacknowledged_messages", "Messages that runners are working on.", "stream", "consumer"),
		redelivered:    desc("consumer_redelivered_messages", "Of these, those that were delivered before.", "stream", "consumer"),
		messages:       desc("stream_messages", "Messages that a stream holds.", "stream"),
		bytes:          desc("stream_bytes", "Bytes that a stream holds.", "stream"),
	}
}

func (l *backlog) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.pending, l.oldest, l.unacknowledged, l.redelivered, l.messages, l.bytes} {
		descs <- d
	}
}

// Collect shows what could be learned; while NATS is away, nothing.
func (l *backlog) Collect(metrics chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.at) > backlogFor {
		ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
		defer cancel()
		l.last, l.at = l.ask(ctx, now), now
	}
	for _, m := range l.last {
		metrics <- m
	}
}

func (l *backlog) ask(ctx context.Context, now time.Time) []prometheus.Metric {
	var all []prometheus.Metric
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	for _, stream := range []string{subject.StreamRuns, subject.StreamWaits} {
		b, err := l.bus.Backlog(ctx, stream, subject.ConsumerRunner)
		if err != nil {
			l.log.Debug("could not read the backlog", slog.String("stream", stream), slog.Any("error", err))
			continue
		}
		age := 0.0
		if !b.Oldest.IsZero() {
			age = max(0, now.Sub(b.Oldest).Seconds())
		}
		gauge(l.pending, float64(b.Pending), stream, subject.ConsumerRunner)
		gauge(l.oldest, age, stream, subject.ConsumerRunner)
		gauge(l.unacknowledged, float64(b.Unacknowledged), stream, subject.ConsumerRunner)
		gauge(l.redelivered, float64(b.Redelivered), stream, subject.ConsumerRunner)
	}
	for _, stream := range []string{
		subject.StreamRuns, subject.StreamWaits, subject.BucketStream(subject.BucketRuns), subject.StreamReceived, subject.StreamDead,
	} {
		h, err := l.bus.Holding(ctx, stream)
		if err != nil {
			l.log.Debug("could not read what a stream holds", slog.String("stream", stream), slog.Any("error", err))
			continue
		}
		gauge(l.messages, float64(h.Messages), stream)
		gauge(l.bytes, float64(h.Bytes), stream)
	}
	return all
}
