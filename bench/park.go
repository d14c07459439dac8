package main

import (
	"context"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/load"
	"github.com/switchbackhq/switchback/bench/mock"
	"github.com/switchbackhq/switchback/bench/report"
	"github.com/switchbackhq/switchback/bench/system"
	"github.com/switchbackhq/switchback/pkg/subject"
)

const (
	storePerRun   = "NATS memory a suspended run"
	costGrowth    = "CPU a run, all suspended / few suspended"
	readyAfter    = "ready after kill -9"
	parkProbe     = 2000 // runs that go through while others are suspended
	parkProbeOnce = 16   // of them at once
	stallTime     = time.Minute
	lookTime      = 50 * time.Millisecond
)

// park measures what a great many suspended runs cost, and what a kill -9 does to them.
func park(ctx context.Context, l *lab) (*report.Bench, error) {
	b := &report.Bench{Name: "park", About: "runs that sleep until their callbacks come; kill -9 of all processes while they do"}
	t, err := l.compare(ctx, fmt.Sprintf("%d runs suspended", l.options.parked), 1, []contender{
		{name: "Switchback, embedded NATS", nats: embedded, measure: parkIn(topology{embedded: true, listener: true, runners: 1})},
		{name: "Switchback, external NATS", nats: external, measure: parkIn(topology{listener: true, runners: 1})},
	})
	if err != nil {
		return b, err
	}
	b.Tables = append(b.Tables, t)
	if r := t.Row("Switchback, external NATS"); r != nil {
		b.AtMost(storePerRun, r.Metric(storePerRun), 1200)
		b.AtMost(costGrowth, r.Metric(costGrowth), 1.3)
	}
	return b, nil
}

func parkIn(t topology) func(ctx context.Context, s *site) ([]report.Value, error) {
	return func(ctx context.Context, s *site) ([]report.Value, error) {
		outside, url, err := s.outside(ctx)
		if err != nil {
			return nil, err
		}
		d, err := s.deploy(ctx, t, func(port int) string { return system.RunDocument(port, url, mock.Path) })
		if err != nil {
			return nil, err
		}
		runs := load.Runs{NATS: d.nats, Workflow: system.Workflow, Prefix: "probe"}
		probe, err := s.generator(ctx, load.Target{AtOnce: parkProbeOnce, Runs: &runs})
		if err != nil {
			return nil, err
		}
		crowd, err := s.group.Start(ctx, roleLoad, "crowd")
		if err != nil {
			return nil, err
		}
		runs.Prefix = "parked"
		if err := crowd.Call(ctx, "Gather", runs, &child.Nothing{}); err != nil {
			return nil, err
		}
		p := &parking{site: s, d: d, outside: outside, crowd: crowd, probe: probe}
		for _, step := range []func(context.Context) error{p.sleep, p.crash, p.wake} {
			if err := step(ctx); err != nil {
				return nil, err
			}
		}
		return append(p.values, p.memory...), nil
	}
}

// parking is one run of the bench; its steps add to values.
type parking struct {
	*site

	d              *deployment
	outside, crowd *child.Process
	probe          generator
	asked          int
	values         []report.Value
	memory         []report.Value // of each process, shown last
}

func (p *parking) value(name, unit string, x float64) {
	p.values = append(p.values, report.Value{Name: name, Unit: unit, X: x})
}

// sleep suspends a few runs, then all, and tells what the others cost: memory, disk, and the CPU of a run beside them.
func (p *parking) sleep(ctx context.Context) error {
	all := p.options.parked
	few := min(1000, all/10)
	if _, err := p.suspend(ctx, few); err != nil {
		return err
	}
	if _, err := p.through(ctx); err != nil { // to warm up
		return err
	}
	cheap, err := p.through(ctx)
	if err != nil {
		return err
	}
	before, err := p.d.store.Usage(ctx, true)
	if err != nil {
		return err
	}
	disk := diskBytes(p.dir)
	rate, err := p.suspend(ctx, all-few)
	if err != nil {
		return err
	}
	p.value("suspended/s", "", rate)
	for _, process := range p.d.processes {
		used, err := process.Usage(ctx, true)
		if err != nil {
			return err
		}
		p.memory = append(p.memory, report.Value{Name: "memory of " + process.Name, Unit: "MB", X: float64(used.RSS) / 1e6})
		if process == p.d.store {
			p.value(storePerRun, "B", float64(used.Heap-before.Heap)/float64(all-few))
		}
	}
	p.value("disk a suspended run", "B", float64(diskBytes(p.dir)-disk)/float64(all-few))
	dear, err := p.through(ctx)
	if err != nil {
		return err
	}
	p.value("CPU of 1000 runs beside few suspended", "s", cheap)
	p.value("CPU of 1000 runs beside all suspended", "s", dear)
	p.value(costGrowth, "", dear/cheap)
	return nil
}

// suspend asks for more runs and returns, with their rate, when all of them sleep.
func (p *parking) suspend(ctx context.Context, more int) (perSecond float64, err error) {
	begun := time.Now()
	if err := p.crowd.Call(ctx, "Ask", more, &child.Nothing{}); err != nil {
		return 0, err
	}
	p.asked += more
	err = p.until(ctx, "suspend all runs", func() (int64, bool, error) {
		var counts mock.Counts
		if err := p.outside.Call(ctx, "Counts", child.Nothing{}, &counts); err != nil {
			return 0, false, err
		}
		streams, err := p.d.streams(ctx)
		if err != nil {
			return 0, false, err
		}
		// A request leaves its stream when its run sleeps.
		return counts.Held, counts.Held >= int64(p.asked) && stream(streams, subject.StreamRuns).Messages == 0, nil
	})
	return float64(more) / time.Since(begun).Seconds(), err
}

// through lets other runs go through and gives the CPU seconds of 1000 of them.
func (p *parking) through(ctx context.Context) (seconds float64, err error) {
	n := min(parkProbe, p.options.parked)
	w, err := p.open(ctx, p.d.processes...)
	if err != nil {
		return 0, err
	}
	r, err := p.probe.run(ctx, load.Plan{AtOnce: parkProbeOnce, Count: int64(n)})
	if err != nil {
		return 0, err
	}
	used, err := w.close(ctx)
	return cpu(used).Seconds() * 1000 / float64(r.Done), err
}

// crash kills all processes with -9 and starts them again on the same data.
func (p *parking) crash(ctx context.Context) error {
	p.d.kill()
	begun := time.Now()
	if err := p.d.start(ctx); err != nil {
		return fmt.Errorf("start again after kill -9: %w", err)
	}
	p.value(readyAfter, "s", time.Since(begun).Seconds())
	if _, err := p.probe.run(ctx, load.Plan{AtOnce: 1, Count: 1}); err != nil {
		return fmt.Errorf("run again after kill -9: %w", err)
	}
	p.value("first new run completed after", "s", time.Since(begun).Seconds())
	return p.crowd.Call(ctx, "Connected", child.Nothing{}, &child.Nothing{})
}

// wake lets the outside service call back for all, and waits until each run has ended as it should.
func (p *parking) wake(ctx context.Context) error {
	begun := time.Now()
	var released int64
	if err := p.outside.Call(ctx, "Release", child.Nothing{}, &released); err != nil {
		return err
	}
	err := p.until(ctx, "complete all runs", func() (int64, bool, error) {
		var count load.CrowdCount
		if err := p.crowd.Call(ctx, "CrowdCount", child.Nothing{}, &count); err != nil {
			return 0, false, err
		}
		if count.Failure != "" {
			return 0, false, fmt.Errorf("%s", count.Failure)
		}
		return int64(count.Ended), count.Ended == p.asked, nil
	})
	if err != nil {
		return err
	}
	p.value("completed/s", "", float64(p.asked)/time.Since(begun).Seconds())
	if released != int64(p.asked) {
		return fmt.Errorf("the outside service was asked %d times for %d runs", released, p.asked)
	}
	return nil
}

// until looks until it is done, and fails when what it counts has not changed for a while.
func (p *parking) until(ctx context.Context, what string, look func() (count int64, done bool, err error)) error {
	last, changed := int64(-1), time.Now()
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		count, done, err := look()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case done:
			return nil
		case count != last:
			last, changed = count, time.Now()
		case time.Since(changed) > stallTime:
			return fmt.Errorf("%s: nothing changed for %v, at %d of %d", what, stallTime, count, p.asked)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
