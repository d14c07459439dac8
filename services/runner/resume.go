package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// resume goes on with the run that a callback or a timeout belongs to.
func (r *Runner) resume(ctx context.Context, d *bus.Delivery) error {
	if kind, _ := subject.Kind(d.Subject); kind == subject.KindTimeout {
		return r.timeout(ctx, d)
	}
	cb, err := bus.DecodeCallback(&d.Stored)
	if err != nil {
		return r.discard(ctx, d, err)
	}
	if r.meet(ctx, cb) {
		return nil // the one who takes it counts it
	}
	runID, events, became, err := r.find(ctx, cb, d.Deliveries > 1)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		if became == fate.Orphan {
			r.orphans.add(cb)
		} else {
			r.fate(cb, became)
		}
		return nil
	}
	_, again := events[0].(engine.Redelivered)
	if d.Deliveries > 1 && !again {
		// What it has set off before is not found by its own event alone: it may have brought an earlier callback to the run,
		// or the job that it was for may have begun anew.
		events, again = append([]engine.Event{engine.Redelivered{Trigger: callbackTrigger(cb), At: time.Now()}}, events...), true
	}
	a := r.begin(ctx, runID, callbackTrigger(cb), member)
	defer a.end()
	a.calledBack, a.redelivered, a.lastTry = cb.ID, again, d.Deliveries >= r.cfg.MaxDeliveries
	changed := false
	for _, ev := range events {
		if changed, err = a.resume(ev); err != nil {
			return err
		}
	}
	switch {
	case changed:
		r.fate(cb, fate.Matched)
	case a.run != nil:
		r.fate(cb, unchanged(a.run, cb))
	}
	return nil
}

// unchanged is the fate of a callback that has changed nothing; "" where whoever took it has counted it.
func unchanged(run *event.Run, cb *event.Callback) fate.Fate {
	told := fate.In(run, fate.Callback{ID: cb.ID, Seq: cb.Seq, Outcome: cb.Outcome, At: cb.StoredAt})
	switch told.Fate {
	case fate.Matched, fate.Early, fate.Pending:
		return ""
	default:
		return told.Fate
	}
}

func callbackTrigger(cb *event.Callback) string { return "callback:" + strconv.FormatUint(cb.Seq, 10) }

// find says which run a callback belongs to, and what it is to that run; no events: nobody waits, or not yet. An early
// callback stays in the stream for the wait that may yet be made.
func (r *Runner) find(ctx context.Context, cb *event.Callback, again bool) (runID string, events []engine.Event, became fate.Fate, err error) {
	if runID, ok := r.remembered(cb.ID); ok {
		events, err = r.inOrder(ctx, &event.Wait{Run: runID}, cb)
		return runID, events, "", err
	}
	found, err := r.waits.Look(ctx, cb)
	if err != nil {
		return "", nil, "", fmt.Errorf("look for the wait for %s: %w", cb.ID, err)
	}
	now := time.Now()
	redelivered := []engine.Event{engine.Redelivered{Trigger: callbackTrigger(cb), At: now}}
	switch {
	case found.Wait != nil:
		events, err = r.inOrder(ctx, found.Wait, cb)
		return found.Wait.Run, events, "", err
	case found.Passed != nil || found.Mark != nil:
		w := found.Passed
		if w == nil {
			w = found.Mark
		}
		left := again && w.Run != ""
		if !left {
			if left, err = r.leftUndone(ctx, w, cb, found.Before); err != nil {
				return "", nil, "", err
			}
		}
		if left {
			return w.Run, redelivered, "", nil
		}
		became, err = r.passed(ctx, w, cb)
		return "", nil, became, err
	case !again:
		return "", nil, fate.Orphan, nil
	}
	// It has been here before. Its wait may have stood then, and its time have run out since, while what the callback
	// set off was still being done: the timeout names the run.
	m, err := r.bus.Last(ctx, subject.StreamWaits, subject.Timeout(cb.ID))
	if errors.Is(err, bus.ErrNotFound) {
		return "", nil, fate.Orphan, nil
	}
	if err != nil {
		return "", nil, "", err
	}
	var w event.Wait
	if json.Unmarshal(m.Data, &w) != nil {
		w.Run = ""
	}
	switch {
	case w.Run == "":
		return "", nil, fate.Orphan, nil // not a timeout of ours
	case cb.StoredAt.Before(w.Since):
		return w.Run, redelivered, "", nil
	default:
		return w.Run, []engine.Event{engine.CalledBack{Callback: *cb, Trigger: callbackTrigger(cb), At: now}}, "", nil
	}
}

// remembered finds the run of an attempt's own id among those that this runner has saved last: such an id can be waited
// for by no other run, so its wait need not be looked up. The document decides, as ever.
func (r *Runner) remembered(id string) (runID string, ok bool) {
	for dot := strings.LastIndexByte(id, '.'); dot > 0; dot = strings.LastIndexByte(id[:dot], '.') {
		run := r.inHand(id[:dot])
		if run == nil {
			run = r.journal.Recent(id[:dot])
		}
		if run != nil && engine.Waits(run, id) {
			return run.ID, true
		}
	}
	return "", false
}

// inHand gives a run that is being worked on here, as it is stored; nil: it is not, or not known yet.
func (r *Runner) inHand(id string) *event.Run {
	r.mu.Lock()
	l := r.ledgers[id]
	r.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

// inOrder gives a callback after those for the same wait that were stored before it and may still be on their way to
// another runner: the first one stored is the first one taken. All of them count as set off by this message.
func (r *Runner) inOrder(ctx context.Context, w *event.Wait, cb *event.Callback) ([]engine.Event, error) {
	var events []engine.Event
	used := w.Used
	run := r.inHand(w.Run)
	if run == nil {
		var err error
		if run, err = r.journal.Glance(ctx, w.Run); err != nil {
			return nil, err
		}
	}
	trigger := callbackTrigger(cb)
	if run != nil {
		used = max(used, engine.Used(run, cb.ID))
		if engine.SetOff(run, trigger) { // it has been here before, and NATS may have forgotten that
			events = append(events, engine.Redelivered{Trigger: trigger, At: time.Now()})
		}
	}
	for from := used + 1; ; {
		m, err := r.bus.Next(ctx, subject.StreamWaits, subject.Callback(cb.ID), from)
		if errors.Is(err, bus.ErrNotFound) || err == nil && m.Seq >= cb.Seq {
			return append(events, engine.CalledBack{Callback: *cb, Trigger: trigger, At: time.Now()}), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the callbacks for %s: %w", cb.ID, err)
		}
		from = m.Seq + 1
		if run != nil && m.Time.Before(run.CreatedAt) {
			continue // counts for this run only where its parker has said so
		}
		if before, err := bus.DecodeCallback(m); err == nil {
			events = append(events, engine.CalledBack{Callback: *before, Trigger: trigger, At: time.Now()})
		}
	}
}

// timeout goes on with the run whose wait's or timer's time is over.
func (r *Runner) timeout(ctx context.Context, d *bus.Delivery) error {
	var w event.Wait
	err := json.Unmarshal(d.Data, &w)
	if err == nil && w.Run == "" {
		err = errors.New("it names no run")
	}
	if err != nil {
		return r.discard(ctx, d, fmt.Errorf("the payload is not a wait: %w", err))
	}
	if w.ID == engine.CancelID(w.Run) {
		return r.cancelRung(ctx, &w)
	}
	if w.ID == engine.LeftoverID(w.Run) {
		return r.leftoverRung(ctx, &w)
	}
	// The server's clock has set it off; ours may be behind.
	now := time.Now()
	if d.Time.After(now) {
		now = d.Time
	}
	rung := w.Deadline.IsZero()
	if late := now.Sub(w.Deadline); late >= 0 && !rung && d.Deliveries == 1 { // else it is woken on the way to a far deadline
		r.metrics.overdue.Observe(late.Seconds())
	}
	a := r.begin(ctx, w.Run, "timeout:"+strconv.FormatUint(d.Seq, 10), member)
	defer a.end()
	a.redelivered, a.lastTry = d.Deliveries > 1, d.Deliveries >= r.cfg.MaxDeliveries
	changed, err := a.resume(engine.Expired{ID: w.ID, Seq: d.Seq, Rung: rung, Trigger: a.trigger, At: now})
	switch {
	case err != nil || w.Timer:
		return err
	case changed:
		r.metrics.timeouts.Inc()
	case w.Own():
	case a.run == nil: // it is forgotten
		return r.waits.End(ctx, w, w.Used)
	case engine.Unwanted(a.run, &w): // whoever was to end it has not, and others may want the id
		return a.endWait(a.run, engine.End{Wait: w})
	}
	return nil
}

// resume applies an event to a stored run and does what follows. It tells whether the run took the event.
func (a *activation) resume(ev engine.Event) (bool, error) {
	saves := a.saves
	known, err := a.join()
	if err != nil || !known {
		return false, err
	}
	epoch := a.epoch
	if err := a.handle(ev); err != nil {
		return false, err
	}
	if a.saves > saves || a.epoch != epoch { // in between it was read anew
		return a.saves > saves, nil
	}
	// Nothing came of it. That is an answer only by the document as it is now.
	if changed, err := a.fresh(); err != nil || !changed {
		return false, err
	}
	if err := a.meet(a.run); err != nil {
		return false, err
	}
	if err := a.handle(ev); err != nil {
		return false, err
	}
	return a.saves > saves, nil
}

// join takes the run as this runner has it, or reads it, and tells whether there is one.
func (a *activation) join() (bool, error) {
	if err := a.ledger.read(a); err != nil {
		return false, err
	}
	run, rev := a.ledger.now()
	if run == nil {
		return false, nil
	}
	if err := a.adopt(run, rev); err != nil || !a.redelivered {
		return true, err
	}
	// Another runner may have recorded since what the message set off: that is not to be done again.
	if _, err := a.fresh(); err != nil {
		return false, err
	}
	return true, a.meet(a.run)
}

// discard parks a message that nobody can make sense of.
func (r *Runner) discard(ctx context.Context, d *bus.Delivery, reason error) error {
	r.log.Warn("not understood", slog.String("subject", d.Subject), slog.Any("error", reason), telemetry.TraceID(d.Header[subject.HeaderTrace]))
	return r.bury(ctx, &d.Stored, reason)
}

// passed is the fate of a callback that its wait has passed by, or ended before.
func (r *Runner) passed(ctx context.Context, w *event.Wait, cb *event.Callback) (fate.Fate, error) {
	if w.Used == cb.Seq {
		return "", nil // it is the one that was taken
	}
	run, err := r.journal.Glance(ctx, w.Run)
	switch {
	case err != nil:
		return "", err
	case run == nil:
		return fate.Duplicate, nil
	default:
		return unchanged(run, cb), nil
	}
}

// leftUndone tells whether a callback that was there before may have set off what nobody has done: it does not say that it comes
// again where NATS has forgotten so. That its wait is over proves nothing: another job of the run may have taken its id over,
// or another message have ended what it had made itself.
func (r *Runner) leftUndone(ctx context.Context, w *event.Wait, cb *event.Callback, before bool) (bool, error) {
	if w.Run == "" || !before {
		return false, nil
	}
	run, err := r.journal.Glance(ctx, w.Run)
	if err == nil && run != nil {
		if _, known := engine.Took(run, cb.Seq); !known { // a copy from before
			run, _, err = r.journal.Load(ctx, w.Run)
		}
	}
	return err == nil && run != nil && engine.SetOff(run, callbackTrigger(cb)), err
}

// fate counts what became of a callback.
func (r *Runner) fate(cb *event.Callback, f fate.Fate) {
	if f == "" {
		return
	}
	r.metrics.callbacks.WithLabelValues(string(f)).Inc()
	r.log.Debug("callback", slog.String("id", cb.ID), slog.Uint64("seq", cb.Seq), slog.String("fate", string(f)), telemetry.TraceID(cb.Trace))
}
