package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/switchbackhq/switchback/bench/ceiling"
	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/load"
	"github.com/switchbackhq/switchback/bench/report"
	"github.com/switchbackhq/switchback/bench/server"
	"github.com/switchbackhq/switchback/bench/system"
)

const (
	embedded = "embedded"
	external = "external"

	callbacksPerSecond = "callbacks/s"
	p99AtHalf          = "p99 at half load"
	cpuEach            = "CPU each"
	allocations        = "allocations each" // of the process that is asked, the last of the measured
	ofCeiling          = "of ceiling"
)

// ingest measures how many callbacks a listener takes, each answered when JetStream holds it.
func ingest(ctx context.Context, l *lab) (*report.Bench, error) {
	b := &report.Bench{Name: "ingest", About: "callbacks answered 200, each after JetStream acknowledged it"}
	sizes, connections := []int{256, 2048}, []int{64, 256}
	if l.options.quick {
		sizes, connections = sizes[:1], []int{16}
	}
	for _, size := range sizes {
		for _, n := range connections {
			t, err := l.compare(ctx, fmt.Sprintf("%d B bodies, %d connections", size, n), l.options.rounds, ingestContenders(size, n))
			if err != nil {
				return b, err
			}
			t.Ratio(ofCeiling, callbacksPerSecond)
			b.Tables = append(b.Tables, t)
			for _, where := range []string{embedded, external} {
				if r := t.Row("Switchback, " + where + " NATS"); r != nil {
					b.AtLeast("share of the lower ceiling: "+t.Title+", "+where, r.Metric(ofCeiling), 0.70)
					b.AtMost("p99 at half load: "+t.Title+", "+where, r.Metric(p99AtHalf), 10)
				}
			}
			if r := t.Row("Switchback, external NATS"); r != nil {
				b.AtMost("allocations a callback: "+t.Title, r.Metric(allocations), 12)
			}
		}
	}
	return b, nil
}

func ingestContenders(size, connections int) []contender {
	return []contender{
		{name: "fasthttp, no NATS", ceiling: true, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			var at ceiling.Address
			p, err := s.start(ctx, rolePlain, "fasthttp", struct{}{}, &at)
			if err != nil {
				return nil, err
			}
			return s.callbacks(ctx, load.Callbacks{HostPort: at.HostPort, Path: system.CallbackPath, BodyBytes: size}, connections, nil, p)
		}},
		{name: "JetStream async, embedded NATS", ceiling: true, nats: embedded, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			return s.publishes(ctx, ceiling.PublishArgs{Dir: s.dir})
		}},
		{name: "JetStream async, external NATS", ceiling: true, nats: external, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			var at server.Started
			nats, err := s.start(ctx, roleNATS, "nats-server", server.Args{Dir: s.dir, Port: -1}, &at)
			if err != nil {
				return nil, err
			}
			return s.publishes(ctx, ceiling.PublishArgs{URL: at.URL}, nats)
		}},
		{name: "by hand, embedded NATS", nats: embedded, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			var at ceiling.Address
			p, err := s.start(ctx, roleDurable, "by-hand", ceiling.PublishArgs{Dir: s.dir}, &at)
			if err != nil {
				return nil, err
			}
			return s.callbacks(ctx, load.Callbacks{HostPort: at.HostPort, Path: system.CallbackPath, BodyBytes: size}, connections, nil, p)
		}},
		{name: "Switchback, embedded NATS", nats: embedded, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			d, err := s.deploy(ctx, topology{embedded: true, listener: true}, system.IngestDocument)
			if err != nil {
				return nil, err
			}
			return s.callbacks(ctx, load.Callbacks{HostPort: d.listener, Path: system.CallbackPath, BodyBytes: size}, connections, d, d.processes...)
		}},
		{name: "Switchback, no records, embedded NATS", nats: embedded, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			d, err := s.deploy(ctx, topology{embedded: true, listener: true}, system.UnrecordedDocument)
			if err != nil {
				return nil, err
			}
			return s.callbacks(ctx, load.Callbacks{HostPort: d.listener, Path: system.CallbackPath, BodyBytes: size}, connections, d, d.processes...)
		}},
		{name: "Switchback, external NATS", nats: external, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			d, err := s.deploy(ctx, topology{listener: true}, system.IngestDocument)
			if err != nil {
				return nil, err
			}
			return s.callbacks(ctx, load.Callbacks{HostPort: d.listener, Path: system.CallbackPath, BodyBytes: size}, connections, d, d.processes...)
		}},
	}
}

// callbacks puts a listener, or what stands for it, under the load of callbacks: as many as it takes, then half of that.
func (s *site) callbacks(ctx context.Context, target load.Callbacks, connections int, d *deployment, measured ...*child.Process) ([]report.Value, error) {
	g, err := s.generator(ctx, load.Target{AtOnce: connections, Callbacks: &target})
	if err != nil {
		return nil, err
	}
	if _, err := g.run(ctx, load.Plan{AtOnce: connections, Duration: s.options.warmUp()}); err != nil { // to warm up
		return nil, err
	}
	before, err := d.streams(ctx)
	if err != nil {
		return nil, err
	}
	w, err := s.open(ctx, measured...)
	if err != nil {
		return nil, err
	}
	full, err := g.run(ctx, load.Plan{AtOnce: connections, Duration: s.options.duration})
	if err != nil {
		return nil, err
	}
	used, err := w.close(ctx)
	if err != nil {
		return nil, err
	}
	if d != nil {
		if err := d.stored(ctx, before, full.Done); err != nil {
			return nil, err
		}
	}
	half, err := g.run(ctx, load.Plan{AtOnce: connections, Duration: s.options.duration, Rate: full.PerSecond() / 2})
	if err != nil {
		return nil, err
	}
	return []report.Value{
		{Name: callbacksPerSecond, X: full.PerSecond()},
		{Name: "p50", Unit: "ms", X: milliseconds(full.Whole.P50)},
		{Name: "p99", Unit: "ms", X: milliseconds(full.Whole.P99)},
		{Name: p99AtHalf, Unit: "ms", X: milliseconds(half.Whole.P99)},
		{Name: cpuEach, Unit: "µs", X: float64(cpu(used).Microseconds()) / float64(full.Done)},
		{Name: allocations, X: float64(used[len(used)-1].Allocations) / float64(full.Done)},
	}, nil
}

// publishes measures JetStream alone.
func (s *site) publishes(ctx context.Context, args ceiling.PublishArgs, servers ...*child.Process) ([]report.Value, error) {
	p, err := s.start(ctx, rolePublish, "publisher", args, &child.Nothing{})
	if err != nil {
		return nil, err
	}
	run := ceiling.RunArgs{Payload: load.CallbackResult, Duration: s.options.warmUp()}
	if err := p.Call(ctx, "Run", run, &ceiling.Published{}); err != nil { // to warm up
		return nil, err
	}
	measured := slices.Concat(servers, []*child.Process{p})
	w, err := s.open(ctx, measured...)
	if err != nil {
		return nil, err
	}
	run.Duration = s.options.duration
	var published ceiling.Published
	if err := p.Call(ctx, "Run", run, &published); err != nil {
		return nil, err
	}
	used, err := w.close(ctx)
	if err != nil {
		return nil, err
	}
	return []report.Value{
		{Name: callbacksPerSecond, X: float64(published.Done) / published.Elapsed.Seconds()},
		{Name: cpuEach, Unit: "µs", X: float64(cpu(used).Microseconds()) / float64(published.Done)},
		{Name: allocations, X: float64(used[len(used)-1].Allocations) / float64(published.Done)},
	}, nil
}
