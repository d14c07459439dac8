package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// stop ends a run by an event that needs nothing but its document, and does all that follows from it; nil where there is
// no such run. The run's definition is used where it can be: the workflow may name another for its failure.
func (r *Runner) stop(ctx context.Context, id, trigger string, ev engine.Event) (*event.Run, error) {
	run, err := r.stopBy(ctx, id, trigger, ev, true)
	if isPoison(err) {
		run, err = r.stopBy(ctx, id, trigger, ev, false)
	}
	return run, err
}

func (r *Runner) stopBy(ctx context.Context, id, trigger string, ev engine.Event, defined bool) (*event.Run, error) {
	run, rev, err := r.journal.Load(ctx, id)
	if err != nil || run == nil {
		return nil, err
	}
	a := r.begin(ctx, id, trigger, apart) // it needs no definition, and waits for nobody
	defer a.end()
	a.stopping, a.undefined = true, !defined
	if err := a.adopt(run, rev); err != nil {
		return nil, err
	}
	if err := a.handle(ev); err != nil {
		return nil, err
	}
	return a.run, nil
}

// defined gives the definition of the run; nil where the run is only ended and it cannot be had.
func (a *activation) defined(hash string) (def *definition, err error) {
	if a.undefined {
		return nil, nil //nolint:nilnil // none is wanted
	}
	err = guard(func() error {
		def, err = a.r.definitions.get(a.ctx, hash)
		return err
	})
	if a.stopping && (isPoison(err) || isNewer(err)) {
		return nil, nil //nolint:nilnil // it can be done without
	}
	if err != nil {
		return nil, err
	}
	return def, nil
}

// abandon ends the run whose message is given up: nothing else would. A run whose document cannot be read stays as it
// is, because what it does cannot be known.
func (r *Runner) abandon(ctx context.Context, d *bus.Delivery, reason error) error {
	p, ok := errors.AsType[*poison](reason)
	if !ok || p.run == "" {
		return nil
	}
	ev := engine.Abandoned{Message: r.givenUp(d, p), Trigger: p.trigger, At: time.Now()}
	run, err := r.stop(ctx, p.run, p.trigger, ev)
	if err == nil && run == nil {
		run, err = r.stillborn(ctx, d, p, ev)
	}
	switch {
	case isPoison(err):
		r.log.Error("a run that cannot be carried on cannot be ended either, and stays as it is", slog.String("run", p.run), slog.Any("error", err))
		return nil
	case err != nil:
		return fmt.Errorf("end run %s: %w", p.run, err)
	case run != nil:
		r.log.Error("a run has ended because it cannot be carried on", slog.String("run", p.run), slog.String("status", string(run.Status)))
	}
	return nil
}

// givenUp says what happened to a run, and what can be done.
func (r *Runner) givenUp(d *bus.Delivery, p *poison) string {
	return fmt.Sprintf("no runner could carry the run on, in %d tries: %s; what was to be done lies in the stream DEAD; "+
		"when the cause is gone: switchback runs retry %s", d.Deliveries, firstLine(p), p.run)
}

// stillborn keeps a run that could not even be begun, so that its asker finds it, and can try it again.
func (r *Runner) stillborn(ctx context.Context, d *bus.Delivery, p *poison, ev engine.Abandoned) (*event.Run, error) {
	req, err := bus.DecodeRunRequest(&d.Stored)
	if err != nil || req.Retry {
		return nil, nil //nolint:nilnil,nilerr // it asks for no new run
	}
	req.RunID = p.run
	run := unborn(req, event.StatusFailed, ev.At, &event.RunError{Code: engine.CodeGivenUp, Message: ev.Message})
	run.Definition, run.EndedBy, run.Trace = cmp.Or(req.Definition, r.definitions.current().hash), p.trigger, req.Trace
	if _, _, err := r.journal.Save(ctx, run, 0); err != nil {
		return nil, err
	}
	r.notify(&event.Notice{Run: run.ID, Workflow: run.Workflow, Event: event.RunFailed, At: ev.At, Error: run.Error})
	return r.stop(ctx, p.run, p.trigger, ev) // what follows from its end
}

// cancelRun cancels another run. One that is not there yet finds that nobody waits for it.
func (a *activation) cancelRun(c engine.CancelRun) error {
	_, err := a.r.cancel(a.ctx, c.ID, c.Reason, time.Time{})
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return nil
	case isPoison(err):
		// It cannot be read. That must not hold up the end of this one.
		a.r.log.Error("a run cannot be cancelled", slog.String("run", c.ID), slog.String("for", a.runID), slog.Any("error", err))
		return nil
	case err != nil:
		return fmt.Errorf("cancel run %s: %w", c.ID, err)
	}
	return nil
}
