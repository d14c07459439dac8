package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// load gives a callback, for which the run waits, the result that it refers to. One that is not there is asked for at every delivery; when the
// message is given up otherwise, the callback counts as failed: the run must not wait for what cannot be had.
func (a *activation) load(cb *event.Callback) error {
	ref := cb.Object
	err := a.r.bus.LoadResult(a.ctx, cb)
	if err == nil {
		return nil
	}
	if !a.lastTry || !lasting(err) {
		return fmt.Errorf("read the result of the callback for %s: %w", cb.ID, err)
	}
	a.r.log.Error("the result of a callback cannot be had", slog.String("id", cb.ID), slog.Uint64("seq", cb.Seq), slog.String("object", ref.Name), slog.Any("error", err))
	cb.Object, cb.Result = nil, nil
	cb.Outcome, cb.Error = event.Failed, "its result cannot be read: "+err.Error()
	return nil
}

// lasting tells an error that does not come from NATS being away: it is what NATS says.
func lasting(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && (f.Code == fault.NotFound || f.Code == fault.TooLarge || f.Code == fault.Internal)
}

// requestLarge is request for one whose input lies in the object store. A run that is there already has its input: then
// nothing is read, for the object may have gone with the first delivery.
func (r *Runner) requestLarge(ctx context.Context, d *bus.Delivery, req *event.RunRequest, named bool) error {
	run, rev, err := r.journal.Load(ctx, req.RunID)
	if err != nil {
		return err
	}
	kept := req.Object
	if run != nil {
		a := r.begin(ctx, req.RunID, requestTrigger(d), member)
		defer a.end()
		a.request, a.lastTry = d, d.Deliveries >= r.cfg.MaxDeliveries
		err = a.again(run, rev, req.Seq, time.Now())
	} else {
		if req.Input, err = r.bus.Payload(ctx, req.Object); err != nil {
			err = fmt.Errorf("read the input: %w", err)
			if d.Deliveries >= r.cfg.MaxDeliveries && lasting(err) {
				return r.reject(ctx, d, req, err)
			}
			return err
		}
		d.Data, req.Object = req.Input, nil // should it be buried, the object will have gone
		err = r.start(ctx, d, req, named)
	}
	if err == nil {
		// The run has it now. Should this fail, its age removes it.
		_ = r.bus.Objects(kept.Bucket).Delete(ctx, kept.Name)
	}
	return err
}

// sendable gives a run document as it fits into a message: as it is, or as the bucket runs holds it.
func (r *Runner) sendable(ctx context.Context, run *event.Run) ([]byte, error) {
	data, err := run.AppendJSON(nil)
	if err != nil || len(data) <= r.bus.Inline() {
		return data, err
	}
	e, err := r.bus.Bucket(subject.BucketRuns).Get(ctx, run.ID)
	if err != nil {
		return nil, fmt.Errorf("read the stub of run %s: %w", run.ID, err)
	}
	return e.Value, nil
}

// How often, and from which age on, objects of run documents are removed that no document refers to.
const (
	sweepEvery = time.Hour
	sweepAge   = time.Hour
)

// sweep removes what died runners have left in the object store. Every runner does, at its own time.
func (r *Runner) sweep(ctx context.Context) {
	next := time.NewTimer(rand.N(sweepEvery)) //nolint:gosec // not a secret: so that not all do it at once
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		removed, err := r.journal.Sweep(ctx, sweepAge)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, bus.ErrNotFound):
			r.log.Warn("could not look for left objects", slog.Any("error", err))
		case removed > 0:
			r.log.Info("removed objects that no run document refers to", slog.Int("objects", removed))
		}
		next.Reset(sweepEvery)
	}
}
