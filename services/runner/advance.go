package runner

import (
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// How an activation changes the run that it may share, and makes sure that this is stored.

// apply advances the run by events.
func (a *activation) apply(events ...engine.Event) error {
	_, err := a.advance(events)
	return err
}

// advance is apply, and tells which of the events have changed the run.
func (a *activation) advance(events []engine.Event) (changed []bool, err error) {
	if len(events) > 1 && slices.ContainsFunc(events, large) {
		for i := range events { // what is to be read of one holds up those behind it
			one, err := a.advance(events[i : i+1])
			if err != nil {
				return nil, err
			}
			changed = append(changed, one...)
		}
		return changed, nil
	}
	if len(events) == 0 {
		return nil, nil
	}
	if a.world.Document == nil && a.definition != nil {
		resolver := a.r.resolver(a.definition)
		a.world = engine.World{
			Document: a.definition.doc, Static: resolver.Scope(a.outside), WaitTimeout: a.r.cfg.WaitTimeout, Lists: &a.ledger.lists,
		}
	}
	entries := make([]*entry, len(events))
	for i, ev := range events {
		entries[i] = &entry{ev: ev, world: a.world}
	}
	a.ledger.take(entries...)
	changed = make([]bool, len(events))
	for i, e := range entries {
		if changed[i], err = a.applied(e); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// applied takes what came of an event, and tells whether it has changed the run.
func (a *activation) applied(e *entry) (changed bool, err error) {
	switch {
	case e.err != nil:
		return false, e.err
	case e.unloaded:
		cb, _ := e.ev.(engine.CalledBack)
		if err := a.load(&cb.Callback); err != nil {
			return false, err
		}
		one, err := a.advance([]engine.Event{cb})
		return err == nil && one[0], err
	}
	lost := len(a.unsaved) > 0 && e.epoch != a.epoch
	a.run, a.epoch = e.run, e.epoch
	if e.unstored || lost {
		a.unsaved = append(a.unsaved, unsaved{e.ev, e.changed})
		a.at = e.at
	}
	if lost {
		return e.changed, a.retake()
	}
	if len(a.queue) == 0 {
		a.queue = e.commands
	} else {
		a.queue = append(a.queue, e.commands...)
	}
	if e.known {
		return false, a.apply(engine.Redelivered{Trigger: a.trigger, At: time.Now()})
	}
	return e.changed, nil
}

// retake applies what has happened here to a run that was read anew, and goes through all again that this activation's message
// has set off.
func (a *activation) retake() error {
	for _, c := range a.queue { // an id is claimed before what was called back early is given
		if p, ok := c.(engine.Park); ok {
			a.made = append(a.made, p.Wait)
		}
	}
	events := a.unsaved
	a.unsaved, a.queue, a.later, a.saved = nil, nil, nil, nil
	if err := a.meet(a.run); err != nil {
		return err
	}
	for _, was := range events {
		if err := a.apply(was.ev); err != nil {
			return err
		}
	}
	if a.stopping {
		return nil // the event has done the same
	}
	return a.apply(engine.Redelivered{Trigger: a.trigger, At: time.Now()})
}

// save makes sure that all is stored that has happened here, and all that it was decided upon: by this activation, or by another
// that saves for both. When another runner has saved meanwhile, what has happened here is applied to what that has saved.
func (a *activation) save() error {
	l := a.ledger
	for len(a.unsaved) > 0 {
		began, over, err := a.store(l)
		switch {
		case err != nil:
			return err
		case over != nil:
			if _, err := a.applied(over); err != nil {
				return err
			}
		case len(a.unsaved) > 0:
			if err := a.retake(); err != nil {
				return err
			}
		case began && a.run.Parent != "":
			return a.wanted()
		}
	}
	return nil
}

// store is one try to save: nothing is unsaved after it, or the run was read anew. Over is what has ended a run that is too large.
func (a *activation) store(l *ledger) (began bool, over *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.busy && l.epoch == a.epoch && l.stored < a.at {
		if err := l.wait(a.ctx); err != nil {
			return false, nil, err
		}
	}
	if l.epoch == a.epoch && l.stored < a.at {
		began = l.rev == 0
		if err = l.store(a); fault.CodeOf(err) == fault.TooLarge {
			// Nothing was stored. The run cannot go on, and says so.
			over, err = l.tooLarge(a, err)
		}
	}
	switch {
	case err != nil:
		return false, nil, err
	case over != nil:
		a.queue, a.later, a.epoch = nil, nil, l.epoch
		return false, over, nil
	case l.epoch != a.epoch:
		a.run, a.begun, a.epoch = l.run, true, l.epoch
		return false, nil, nil
	}
	if slices.ContainsFunc(a.unsaved, func(u unsaved) bool { return u.changed }) {
		a.saves++
	}
	a.run, a.begun, a.saved, a.unsaved = l.kept, true, l.told, nil
	return began, nil, nil
}

// fresh makes sure that the run is known as it is stored, and tells whether it was not when this activation saw it last.
func (a *activation) fresh() (changed bool, err error) {
	l := a.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.renew(a); err != nil {
		return false, err
	}
	changed = a.epoch != l.epoch
	if len(a.unsaved) == 0 { // else that is taken again
		a.run, a.epoch = l.kept, l.epoch
	}
	return changed, nil
}

// reload is fresh, and applies what is unsaved to what was read.
func (a *activation) reload() error {
	changed, err := a.fresh()
	if err != nil || !changed || len(a.unsaved) == 0 {
		return err
	}
	l := a.ledger
	l.mu.Lock()
	a.run, a.epoch = l.run, l.epoch
	l.mu.Unlock()
	return a.retake()
}
