package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// startRun asks for another run. The message id makes asking again harmless within the stream's window, the run's id
// beyond it.
func (r *Runner) startRun(ctx context.Context, c engine.StartRun, trace string) (err error) {
	switch _, err := r.bus.Bucket(subject.BucketRuns).Get(ctx, c.ID); {
	case err == nil:
		return nil // begun before
	case !errors.Is(err, bus.ErrNotFound):
		return fmt.Errorf("look for run %s: %w", c.ID, err)
	}
	input := c.Input
	if len(input) == 0 || string(input) == "null" {
		input = json.RawMessage("{}")
	}
	trace, end := r.publishing(ctx, anyRequest, trace)
	defer func() { end(err) }()
	_, err = r.bus.PublishRunRequest(ctx, &event.RunRequest{
		RunID: c.ID, MsgID: c.ID, Workflow: c.Workflow, Input: input, Parent: c.Parent, Definition: c.Definition, Trace: trace,
	})
	if err != nil {
		return fmt.Errorf("ask for run %s: %w", c.ID, err)
	}
	return nil
}

// wanted cancels a run that another has asked for, when nobody waits for it any more. It may have lain in its queue meanwhile, and
// who ended the other then found no document to cancel. So it is asked when there is one, and before anything is done.
func (a *activation) wanted() error {
	parent := a.run.Parent
	for dot := strings.LastIndexByte(parent, '.'); dot > 0; dot = strings.LastIndexByte(parent[:dot], '.') {
		run, _, err := a.r.bus.Stub(a.ctx, parent[:dot])
		switch {
		case errors.Is(err, bus.ErrNotFound):
			continue
		case isPoison(err):
			return nil // it cannot be read, and who knows what it wants
		case err != nil:
			return fmt.Errorf("look for the run that %s is for: %w", a.runID, err)
		}
		if run.Jobs != nil && !named(run, parent[dot+1:]) {
			continue // another run that is called so
		}
		if !run.Status.Ended() {
			return nil
		}
		return a.apply(engine.Cancelled{Reason: engine.ParentEnded, At: time.Now()})
	}
	return nil
}

// named tells whether an attempt's id, behind that of its run, begins with one of the run's jobs.
func named(run *event.Run, attempt string) bool {
	for id := range run.Jobs {
		if rest, ok := strings.CutPrefix(attempt, id); ok && (rest == "" || rest[0] == '.') {
			return true
		}
	}
	return false
}

// callParent wakes the job that has asked for this run, in the way in which every wait is woken.
func (r *Runner) callParent(ctx context.Context, run *event.Run) (err error) {
	if run.Parent == "" {
		return nil
	}
	cb := event.Callback{ID: run.Parent, Outcome: event.Succeeded, Result: run.Output, Endpoint: "run " + run.ID, DeliveryID: run.ID + ".end"}
	if run.Status != event.StatusCompleted {
		cb.Outcome, cb.Error = event.Failed, "run "+run.ID+" is "+string(run.Status)
		if run.Error != nil {
			cb.Error = fmt.Sprintf("run %s is %s: %s", run.ID, run.Status, run.Error.Message)
			cb.Result = run.Error.Data
		}
	}
	trace, end := r.publishing(ctx, anyCallback, run.Trace)
	defer func() { end(err) }()
	cb.Trace = trace
	if _, err := r.bus.PublishCallback(ctx, &cb); err != nil {
		return fmt.Errorf("tell %s that run %s has ended: %w", run.Parent, run.ID, err)
	}
	return nil
}
