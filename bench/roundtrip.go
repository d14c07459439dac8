package main

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/switchbackhq/switchback/bench/ceiling"
	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/load"
	"github.com/switchbackhq/switchback/bench/mock"
	"github.com/switchbackhq/switchback/bench/report"
	"github.com/switchbackhq/switchback/bench/server"
	"github.com/switchbackhq/switchback/bench/system"
)

const (
	runsPerSecond = "runs/s"
	callbackP50   = "callback to end p50"
	callbackP99   = "callback to end p99"
	writesPerRun  = "writes a run"
	cpuPer1000    = "CPU per 1000 runs"
	diskPerRun    = "disk a run"
)

// Where the flow that is written by hand keeps what happens.
const (
	inMemory    = "memory"
	inJetStream = "JetStream"
	inRedis     = "Redis"
	byHandRedis = "by hand, written to Redis"
)

// roundtrip measures whole runs: asked for, outside service called, suspended, called back, completed.
func roundtrip(ctx context.Context, l *lab) (*report.Bench, error) {
	b := &report.Bench{Name: "roundtrip", About: "runs that ask an outside service, sleep, are called back and complete"}
	if _, err := exec.LookPath(ceiling.RedisServer); err != nil {
		l.sayf("%s: left out, there is no %s here", byHandRedis, ceiling.RedisServer)
	}
	atOnce := []int{64, 1}
	if l.options.quick {
		atOnce = []int{8}
	}
	for _, n := range atOnce {
		t, err := l.compare(ctx, fmt.Sprintf("%d at once", n), l.options.rounds, roundtripContenders(n))
		if err != nil {
			return b, err
		}
		if n > 1 { // one at a time, the pause of the outside service makes most of a run, of both
			t.Ratio(ofCeiling, runsPerSecond)
		}
		b.Tables = append(b.Tables, t)
		r := t.Row("Switchback, embedded NATS")
		if r == nil {
			continue
		}
		if n == 1 { // then every run is asleep when its callback comes
			b.AtMost("JetStream writes a run", r.Metric(writesPerRun), 6)
			b.AtMost("callback to end, p50, one at a time", r.Metric(callbackP50), 3)
			continue
		}
		b.AtLeast(fmt.Sprintf("share of the ceiling, %d at once", n), r.Metric(ofCeiling), 0.6)
		b.AtMost("CPU per 1000 runs", r.Metric(cpuPer1000), 0.45)
		b.AtMost("callback to end, p99 at half load", r.Metric(p99AtHalf), 30)
	}
	return b, nil
}

func roundtripContenders(atOnce int) []contender {
	byHand := func(kept string) func(ctx context.Context, s *site) ([]report.Value, error) {
		return func(ctx context.Context, s *site) ([]report.Value, error) {
			_, outside, err := s.outside(ctx)
			if err != nil {
				return nil, err
			}
			args := ceiling.FlowArgs{MockURL: outside, Redis: kept == inRedis}
			if kept != inMemory {
				args.Dir = s.dir
			}
			var at ceiling.Address
			p, err := s.start(ctx, roleFlow, "hand-written", args, &at)
			if err != nil {
				return nil, err
			}
			return s.runs(ctx, load.Target{Flow: &load.Flow{HostPort: at.HostPort, Path: ceiling.RunsPath}}, atOnce, nil, p)
		}
	}
	contenders := []contender{ //nolint:prealloc // of five
		{name: "written by hand, in memory", ceiling: true, measure: byHand(inMemory)},
		{name: "by hand, written to embedded NATS", nats: embedded, measure: byHand(inJetStream)},
	}
	if _, err := exec.LookPath(ceiling.RedisServer); err == nil {
		contenders = append(contenders, contender{name: byHandRedis, measure: byHand(inRedis)})
	}
	for _, t := range []struct {
		name, nats string
		topology   topology
	}{
		{"Switchback, embedded NATS", embedded, topology{embedded: true, listener: true, runners: 1}},
		{"Switchback, external NATS, 1 runner", external, topology{listener: true, runners: 1}},
		{"Switchback, external NATS, 3 runners", external, topology{listener: true, runners: 3}},
	} {
		contenders = append(contenders, contender{name: t.name, nats: t.nats, measure: func(ctx context.Context, s *site) ([]report.Value, error) {
			_, outside, err := s.outside(ctx)
			if err != nil {
				return nil, err
			}
			d, err := s.deploy(ctx, t.topology, func(port int) string { return system.RunDocument(port, outside, mock.Path) })
			if err != nil {
				return nil, err
			}
			return s.runs(ctx, load.Target{Runs: &load.Runs{NATS: d.nats, Workflow: system.Workflow, Prefix: "bench"}}, atOnce, d, d.processes...)
		}})
	}
	return contenders
}

// outside starts the outside service and gives its URL.
func (s *site) outside(ctx context.Context) (*child.Process, string, error) {
	var at mock.Started
	p, err := s.start(ctx, roleMock, "outside service", mock.StartArgs{CallbackAfter: s.options.callbackAfter}, &at)
	return p, at.URL, err
}

// runs asks for as many runs as complete, and, where there are several at once, then for half of that.
func (s *site) runs(ctx context.Context, target load.Target, atOnce int, d *deployment, measured ...*child.Process) ([]report.Value, error) {
	target.AtOnce = atOnce
	g, err := s.generator(ctx, target)
	if err != nil {
		return nil, err
	}
	if _, err := g.run(ctx, load.Plan{AtOnce: atOnce, Duration: s.options.warmUp()}); err != nil { // to warm up
		return nil, err
	}
	before, err := d.streams(ctx)
	if err != nil {
		return nil, err
	}
	diskBefore := diskBytes(s.dir)
	w, err := s.open(ctx, measured...)
	if err != nil {
		return nil, err
	}
	full, err := g.run(ctx, load.Plan{AtOnce: atOnce, Duration: s.options.duration})
	if err != nil {
		return nil, err
	}
	used, err := w.close(ctx)
	if err != nil {
		return nil, err
	}
	values := []report.Value{
		{Name: runsPerSecond, X: full.PerSecond()},
		{Name: "run p50", Unit: "ms", X: milliseconds(full.Whole.P50)},
		{Name: "run p99", Unit: "ms", X: milliseconds(full.Whole.P99)},
		{Name: callbackP50, Unit: "ms", X: milliseconds(full.Tail.P50)},
		{Name: callbackP99, Unit: "ms", X: milliseconds(full.Tail.P99)},
		{Name: cpuPer1000, Unit: "s", X: cpu(used).Seconds() * 1000 / float64(full.Done)},
	}
	if d != nil {
		after, err := d.streams(ctx)
		if err != nil {
			return nil, err
		}
		values = append(values,
			report.Value{Name: writesPerRun, X: float64(server.Writes(after)-server.Writes(before)) / float64(full.Done)},
		)
		for _, s := range after {
			if n := s.Writes - stream(before, s.Name).Writes; n > 0 {
				values = append(values, report.Value{Name: "  to " + s.Name, X: float64(n) / float64(full.Done)})
			}
		}
		values = append(values,
			report.Value{Name: diskPerRun, Unit: "B", X: float64(diskBytes(s.dir)-diskBefore) / float64(full.Done)},
		)
	}
	if atOnce == 1 {
		return values, nil
	}
	half, err := g.run(ctx, load.Plan{AtOnce: atOnce, Duration: s.options.duration, Rate: full.PerSecond() / 2})
	if err != nil {
		return nil, err
	}
	return append(values, report.Value{Name: p99AtHalf, Unit: "ms", X: milliseconds(half.Tail.P99)}), nil
}
