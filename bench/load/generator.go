package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// pollTime is between two looks, and between two tries to connect again.
const pollTime = 50 * time.Millisecond

// Target says what is put under load. Exactly one of Callbacks, Flow and Runs is set.
type Target struct {
	AtOnce    int // connections, or runs at once
	Callbacks *Callbacks
	Flow      *Flow
	Runs      *Runs
}

// Callbacks are posted to a listener.
type Callbacks struct {
	HostPort, Path string
	BodyBytes      int
}

// Flow asks the hand-written service for runs.
type Flow struct{ HostPort, Path string }

// Runs asks Switchback for runs.
type Runs struct{ NATS, Workflow, Prefix string }

// Generator is the load generator, in a process of its own. Its methods are called by the bench.
type Generator struct {
	ctx     context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	next    atomic.Int64
	workers []worker
	askers  *askers
	crowd   *crowd
}

// New makes a generator.
func New(ctx context.Context) *Generator { return &Generator{ctx: ctx} }

// Open prepares the load on a target; connections stay open from one Run to the next.
func (g *Generator) Open(target Target, _ *struct{}) error {
	switch {
	case target.Callbacks != nil:
		t := target.Callbacks
		body, digits, err := callbackBody(t.BodyBytes)
		if err != nil {
			return err
		}
		for range target.AtOnce {
			g.workers = append(g.workers, newPoster(t.HostPort, t.Path, body, digits, http.StatusOK, nil))
		}
	case target.Flow != nil:
		t := target.Flow
		body, digits := flowBody()
		for range target.AtOnce {
			g.workers = append(g.workers, newPoster(t.HostPort, t.Path, body, digits, http.StatusOK, readEnded))
		}
	case target.Runs != nil:
		t := target.Runs
		askers, err := newAskers(t.NATS, t.Workflow, t.Prefix, target.AtOnce)
		if err != nil {
			return err
		}
		g.askers, g.workers = askers, askers.workers()
	default:
		return errors.New("a target has callbacks, a flow or runs")
	}
	return nil
}

// Run puts the target under the load that the plan bounds. Plan.AtOnce may be less than the target's.
func (g *Generator) Run(plan Plan, result *Result) error {
	if plan.AtOnce < 1 || plan.AtOnce > len(g.workers) {
		return fmt.Errorf("%d at once, but the target was opened for 1 to %d", plan.AtOnce, len(g.workers))
	}
	if plan.Duration <= 0 && plan.Count <= 0 {
		return errors.New("a load is bounded by a duration or a count")
	}
	*result = run(g.ctx, plan, g.workers[:plan.AtOnce], &g.next)
	return nil
}

// Close ends all connections.
func (g *Generator) Close() error {
	errs := make([]error, 0, len(g.workers))
	for _, w := range g.workers {
		errs = append(errs, w.close())
	}
	if g.askers != nil {
		g.askers.nc.Close()
	}
	if g.crowd != nil {
		g.crowd.nc.Close()
	}
	return errors.Join(errs...)
}
