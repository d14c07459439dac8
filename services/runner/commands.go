package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// answer is what a command is answered with.
type answer struct {
	Run   json.RawMessage `json:"run,omitempty"` // the document, or its stub
	Error string          `json:"error,omitempty"`
	Code  fault.Code      `json:"code,omitempty"`
}

// serveCommands answers run.command.<id>.cancel, each by one of the runners, and takes what the one that has cancelled a run tells
// them all: who has requests of it in flight lets them go.
func (r *Runner) serveCommands(ctx context.Context) (stop func(), err error) {
	stopCancel, err := r.bus.Subscribe(ctx, subject.AllRunCommands, subject.ConsumerRunner, func(ctx context.Context, n *bus.Note) {
		id, err := subject.ParseRunCancel(n.Subject)
		if err != nil {
			return // another command
		}
		var reply answer
		run, err := r.cancelSurely(ctx, id, string(n.Data))
		if err == nil {
			reply.Run, err = r.sendable(ctx, run)
		}
		if err != nil {
			reply = answer{Error: firstLine(err), Code: fault.CodeOf(err)}
		}
		data, err := json.Marshal(reply)
		if err == nil {
			err = n.Respond(data)
		}
		if err != nil {
			r.log.Warn("could not answer", slog.String("subject", n.Subject), slog.Any("error", err))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	stopAbort, err := r.bus.Subscribe(ctx, subject.AllRunCommands, "", func(_ context.Context, n *bus.Note) {
		if id, err := subject.ParseRunAbort(n.Subject); err == nil {
			r.abort(id)
		}
	})
	if err != nil {
		stopCancel()
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	return func() { stopCancel(); stopAbort() }, nil
}

// cancelWithin is how long a runner has for a cancel until others look after it. Doing it twice changes nothing.
const cancelWithin = 3 * time.Second

// cancelSurely is cancel for who asks by a command: that is no stored message, which would come again should this runner
// die. So a timer is set first, and ended when all is done that follows from the cancel.
func (r *Runner) cancelSurely(ctx context.Context, id, reason string) (*event.Run, error) {
	now := time.Now()
	sure := event.Wait{ID: engine.CancelID(id), Run: id, Reason: reason, Since: now, Deadline: now.Add(cancelWithin), Timer: true}
	stub, _, err := r.bus.Stub(ctx, id)
	set := err == nil && !stub.Status.Ended()
	if set {
		if err := r.waits.Timer(ctx, sure); err != nil {
			return nil, err
		}
	}
	run, err := r.cancel(ctx, id, reason, now)
	if set && (err == nil || lasting(err)) {
		if err := r.waits.End(ctx, sure, 0); err != nil {
			r.log.Info("could not end the timer of a cancel: it will find nothing to do", slog.String("run", id), slog.Any("error", err))
		}
	}
	return run, err
}

// cancelRung goes on with a cancel whose runner did not come to its end.
func (r *Runner) cancelRung(ctx context.Context, w *event.Wait) error {
	_, err := r.cancel(ctx, w.Run, w.Reason, w.Since)
	if fault.CodeOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// leftoverRung ends what another runner may have been about to make when jobs of the run were let go.
func (r *Runner) leftoverRung(ctx context.Context, w *event.Wait) error {
	_, err := r.stop(ctx, w.Run, engine.CancelTrigger, engine.Cancelled{Reason: w.Reason, Asked: w.Since, Again: true, At: time.Now()})
	return err
}

// cancel ends a run, whatever it is doing. One that was tried again since it was asked for goes on.
func (r *Runner) cancel(ctx context.Context, id, reason string, asked time.Time) (*event.Run, error) {
	run, err := r.stop(ctx, id, engine.CancelTrigger, engine.Cancelled{Reason: reason, Asked: asked, At: time.Now()})
	if err != nil {
		return nil, err
	}
	if run == nil {
		return nil, fault.New(fault.NotFound, "there is no run "+id, "see the runs with: switchback runs list")
	}
	if err := r.bus.Notify(subject.RunAbort(id), nil, nil); err != nil {
		r.log.Warn("could not tell the other runners of a cancel", slog.String("run", id), slog.Any("error", err))
	}
	return run, nil
}

// abort lets go what is in flight of a run that has been cancelled.
func (r *Runner) abort(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.active[id] {
		a.abort(errAborted)
	}
}
