package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// sideBySide bounds how many waits of one run are made, or ended, at once: a for-each and a list of ids have many, and one
// after another each would take its own way to the server and back.
const sideBySide = 64

// parking is a wait that is being made.
type parking struct {
	park  engine.Park
	by    *performance // nil: none that a callback may overtake
	o     wait.Options
	early []*event.Callback
	err   error
}

// parking prepares a wait, as far as only the activation itself may.
func (a *activation) parking(c engine.Park) parking {
	c.Wait.Trace = a.r.traceparent(a.ctx)
	p := parking{park: c, o: wait.Options{NotBefore: c.NotBefore, AcceptEarly: c.AcceptEarly}}
	p.by, p.o.Overtaken = a.performance(c.Wait.ID)
	return p
}

// park makes a wait. What has come for it already is taken at once.
func (a *activation) park(c engine.Park) error {
	p := a.parking(c)
	p.early, p.err = a.stand(p.park.Wait, p.o)
	if !c.Wait.Own() { // while it was being claimed, the run may have gone on elsewhere
		a.made, a.look = append(a.made, c.Wait), true
	}
	return a.parked([]parking{p})
}

// stand makes a wait stand. An id that another job of the run is done with, but whose wait is not ended yet, is taken over. The wait of
// another run that wants the id no more, and that whoever was to has not ended, is ended.
func (a *activation) stand(w event.Wait, o wait.Options) ([]*event.Callback, error) {
	for {
		early, err := a.r.waits.Park(a.ctx, w, o)
		held, ok := errors.AsType[*wait.HeldError](err)
		switch {
		case !ok:
			return early, err
		case held.Wait.Run != w.Run:
			if left, leftErr := a.leftByOther(&held.Wait); leftErr != nil {
				return nil, leftErr
			} else if !left {
				return early, err
			}
		case !engine.DoneWith(a.run, &held.Wait):
			return early, err
		default:
			o.Over = &held.Wait
		}
	}
}

// leftByOther ends another run's wait for a shared id where that run wants it no more, and tells whether it did.
func (a *activation) leftByOther(w *event.Wait) (bool, error) {
	run, _, err := a.r.bus.Stub(a.ctx, w.Run)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		run = &event.Run{ID: w.Run} // it is forgotten
	case isPoison(err):
		return false, nil // it cannot be read, and who knows what it wants
	case err != nil:
		return false, fmt.Errorf("look for run %s, which waits for %s: %w", w.Run, w.ID, err)
	case engine.Needs(run, w.ID) || !run.Status.Ended() && !engine.DoneWith(run, w):
		return false, nil
	}
	return true, a.r.endShared(a.ctx, run, *w, w.Used, "")
}

// parked takes what came of waits: of all of them in one step. What came of one may end the job of another: then the run takes no
// more for that, and its wait is among those that are ended at last.
func (a *activation) parked(all []parking) error {
	var events []engine.Event
	var early []*event.Callback // of each event, if any
	for _, p := range all {
		id := p.park.Wait.ID
		if fault.CodeOf(p.err) == fault.Conflict {
			events = append(events, engine.Refused{
				ID: id, Job: p.park.Wait.Job, Attempt: p.park.Wait.Attempt, Trigger: a.trigger, At: time.Now(),
				Err: engine.Error{Code: engine.CodeConflict, Message: p.err.Error()},
			})
			early = append(early, nil)
			continue
		}
		if p.err != nil {
			return fmt.Errorf("make the wait for %s: %w", id, p.err)
		}
		for _, cb := range p.early {
			events = append(events, engine.CalledBack{Callback: *cb, Early: true, Trigger: a.trigger, At: time.Now()})
			early = append(early, cb)
		}
	}
	changed, err := a.advance(events)
	if err != nil {
		return err
	}
	for i, cb := range early {
		if cb != nil && changed[i] {
			a.r.fate(cb, fate.Early)
			a.linkTo(cb.Trace)
		}
	}
	for _, p := range all {
		switch {
		case p.err != nil:
		case len(p.early) == 0:
			a.performed(p.park.Wait.ID)
		default:
			p.park.Wait.Used = p.early[len(p.early)-1].Seq
			if p.by != nil {
				p.by.used = p.park.Wait.Used
			}
			a.queue = append(a.queue, p.park) // still wanted when there was only progress
		}
	}
	return nil
}

// neighbours gives how many commands at the head of the queue make waits that may be made at once, and how many waits these
// are. Notices between them tell of what is saved, and need not come between. Of two waits for one id the first is to have it.
func (a *activation) neighbours() (commands, waits int) {
	for i, c := range a.queue {
		switch c := c.(type) {
		case engine.Notify:
			if waits == 0 {
				return 0, 0
			}
		case engine.Park:
			if waits == sideBySide || slices.ContainsFunc(a.queue[:commands], func(other engine.Command) bool {
				p, ok := other.(engine.Park)
				return ok && p.Wait.ID == c.Wait.ID
			}) {
				return commands, waits
			}
			commands, waits = i+1, waits+1
		default:
			return commands, waits
		}
	}
	return commands, waits
}

// parkAll makes the waits among the first commands of the queue side by side, and takes what came of them in their order.
func (a *activation) parkAll(commands int) error {
	var all []parking
	for _, c := range a.queue[:commands] {
		switch c := c.(type) {
		case engine.Notify:
			a.r.notify(c.Notice)
		case engine.Park:
			if engine.Wanted(a.run, c) {
				all = append(all, a.parking(c))
			}
		}
	}
	a.queue = a.queue[commands:]
	var making sync.WaitGroup
	for i := range all {
		p := &all[i]
		making.Go(func() {
			p.err = guard(func() (err error) {
				p.early, err = a.stand(p.park.Wait, p.o)
				return err
			})
		})
	}
	making.Wait()
	a.look = true
	for i := range all {
		a.made = append(a.made, all[i].park.Wait)
	}
	return a.parked(all)
}

// endWaits ends what is no longer waited for: the last thing before the message is acknowledged.
func (a *activation) endWaits() error {
	run, err := a.disown()
	if err != nil {
		return err
	}
	// Last of all comes the id that this message is a callback for: should this runner die, the callback finds the run by it when it
	// comes again. Once that is free, another run may have it.
	var last []engine.End
	others := slices.DeleteFunc(a.ends, func(e engine.End) bool {
		led := e.Wait.ID == a.calledBack
		if led {
			last = append(last, e)
		}
		return led
	})
	a.ends = nil
	if err := a.endAll(run, others); err != nil {
		return err
	}
	return a.endAll(run, last)
}

// endAll ends waits side by side, those for one id each after the other.
func (a *activation) endAll(run *event.Run, ends []engine.End) error {
	for len(ends) > 0 {
		n := 1
		for n < min(len(ends), sideBySide) && !slices.ContainsFunc(ends[:n], func(e engine.End) bool { return e.Wait.ID == ends[n].Wait.ID }) {
			n++
		}
		if n == 1 {
			if err := a.endWait(run, ends[0]); err != nil {
				return err
			}
		} else if err := a.endSome(run, ends[:n]); err != nil {
			return err
		}
		ends = ends[n:]
	}
	return nil
}

// disown ends waits that were made for nothing: another activation has ended their jobs meanwhile, when they did not stand yet. It gives the
// run as it has seen it.
func (a *activation) disown() (*event.Run, error) {
	if len(a.made) == 0 {
		return a.run, nil
	}
	if a.look {
		if _, err := a.fresh(); err != nil {
			return nil, fmt.Errorf("look at run %s: %w", a.runID, err)
		}
	}
	type of struct{ id, job string }
	ending := make(map[of]bool, len(a.ends))
	for _, e := range a.ends {
		ending[of{e.Wait.ID, e.Wait.Job}] = true
	}
	for _, w := range a.made {
		if engine.Unwanted(a.run, &w) && !ending[of{w.ID, w.Job}] {
			a.ends = append(a.ends, engine.End{Wait: w, Used: engine.Used(a.run, w.ID)})
		}
	}
	a.made, a.look = nil, false
	return a.run, nil
}

func (a *activation) endSome(run *event.Run, ends []engine.End) error {
	var ending errgroup.Group
	for _, e := range ends {
		ending.Go(func() error {
			return guard(func() error { return a.endWait(run, e) })
		})
	}
	return ending.Wait()
}

func (a *activation) endWait(run *event.Run, e engine.End) error {
	var err error
	if !e.Wait.Timer && !e.Wait.Own() {
		err = a.r.endShared(a.ctx, run, e.Wait, e.Used, a.trigger)
	} else {
		err = a.r.waits.End(a.ctx, e.Wait, e.Used)
	}
	if err != nil {
		return fmt.Errorf("end the wait for %s: %w", e.Wait.ID, err)
	}
	return nil
}

// endShared ends a run's wait for an id that others may wait for, too, on behalf of a message; "": of none that is about to do what it
// has set off.
func (r *Runner) endShared(ctx context.Context, run *event.Run, w event.Wait, used uint64, trigger string) error {
	return r.waits.EndShared(ctx, w, max(used, engine.Used(run, w.ID)), wait.Known{
		Done:       func(other *event.Wait) bool { return engine.DoneWith(run, other) },
		Unfinished: engine.Unfinished(run, w.ID, trigger),
	})
}
