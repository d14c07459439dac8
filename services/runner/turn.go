package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/slot"
)

// ticket is a turn as slots know it.
func (a *activation) ticket(turn event.Turn, limit int) slot.Ticket {
	return slot.Ticket{
		Group: slot.Group(a.run.Workflow, turn.Key), Run: a.run.ID, Number: turn.Number, Order: turn.Request, Limit: limit,
		Ring: engine.TurnID(a.run.ID, turn.Number),
	}
}

// acquire asks for the run's turn.
func (a *activation) acquire(c engine.Acquire) error {
	granted, err := a.asks(c)
	if err != nil {
		return fmt.Errorf("the turn of run %s: %w", a.run.ID, err)
	}
	if !granted {
		return a.apply(engine.NotYet{Trigger: a.trigger, At: time.Now()})
	}
	return a.apply(engine.Granted{Turn: c.Turn, Trigger: a.trigger, At: time.Now()})
}

func (a *activation) asks(c engine.Acquire) (granted bool, err error) {
	t := a.ticket(c.Turn, c.Limit)
	if c.Rung {
		return a.r.slots.Rung(a.ctx, t)
	}
	if a.request != nil {
		if err := a.r.arrivals.wait(a.ctx, a.request); err != nil {
			return false, err
		}
		defer a.r.arrivals.pass(a.request)
	}
	granted, err = a.r.slots.Acquire(a.ctx, t)
	if err == nil && !granted && c.Check {
		err = a.r.slots.Check(a.ctx, t.Group, a.r.holdsTurn)
	}
	return granted, err
}

// holdsTurn tells whether a run still has the turn that it was given.
func (r *Runner) holdsTurn(ctx context.Context, id string, number int) (bool, error) {
	run, _, err := r.bus.Stub(ctx, id)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return false, nil
	case isPoison(err):
		// It cannot be read, and who knows what it does. That must not end the one who asks.
		r.log.Warn("a run that has its turn cannot be read", slog.String("run", id), slog.Any("error", err))
		return true, nil
	}
	if err != nil || run.Status.Ended() || run.Turn == nil {
		return false, err
	}
	return run.Turn.Number == number, nil
}
