package runner

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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
	return a.parked(&p)
}

// stand makes a wait stand. An id that another job of the run is done with, but whose wait is not ended yet, is taken over.
func (a *activation) stand(w event.Wait, o wait.Options) ([]*event.Callback, error) {
	for {
		early, err := a.r.waits.Park(a.ctx, w, o)
		held, ok := errors.AsType[*wait.HeldError](err)
		if !ok || held.Wait.Run != w.Run || !engine.DoneWith(a.run, &held.Wait) {
			return early, err
		}
		o.Over = &held.Wait
	}
}

// parked takes what came of it.
func (a *activation) parked(p *parking) error {
	c := p.park
	if fault.CodeOf(p.err) == fault.Conflict {
		return a.apply(engine.Refused{
			ID: c.Wait.ID, Job: c.Wait.Job, Trigger: a.trigger, At: time.Now(),
			Err: engine.Error{Code: engine.CodeConflict, Message: p.err.Error()},
		})
	}
	if p.err != nil {
		return fmt.Errorf("make the wait for %s: %w", c.Wait.ID, p.err)
	}
	for _, cb := range p.early {
		a.r.fate(cb, fate.Early)
		a.linkTo(cb.Trace)
		if err := a.apply(engine.CalledBack{Callback: *cb, Early: true, Trigger: a.trigger, At: time.Now()}); err != nil {
			return err
		}
		c.Wait.Used = cb.Seq
		if p.by != nil {
			p.by.used = cb.Seq
		}
	}
	if len(p.early) > 0 {
		a.queue = append(a.queue, c) // still wanted when there was only progress
	} else {
		a.performed(c.Wait.ID)
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
		// What came of one before it may have ended its job: then it is among those that are ended at last.
		if !engine.Wanted(a.run, all[i].park) {
			continue
		}
		if err := a.parked(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

// endWaits ends what is no longer waited for: the last thing before the message is acknowledged.
func (a *activation) endWaits() error {
	if err := a.disown(); err != nil {
		return err
	}
	for len(a.ends) > 0 {
		n := 1 // of those for one id, each after the other
		for n < min(len(a.ends), sideBySide) && !slices.ContainsFunc(a.ends[:n], func(e engine.End) bool { return e.Wait.ID == a.ends[n].Wait.ID }) {
			n++
		}
		if n == 1 {
			if err := a.endWait(a.ends[0]); err != nil {
				return err
			}
		} else if err := a.endSome(a.ends[:n]); err != nil {
			return err
		}
		a.ends = a.ends[n:]
	}
	a.ends = nil
	return nil
}

// disown ends waits that were made for nothing: another activation has ended their jobs meanwhile, when they did not stand yet. The wait
// whose callback has done that is not among them: who took the callback ends it, after all that follows from it, and finds
// the run by it until then.
func (a *activation) disown() error {
	if len(a.made) == 0 {
		return nil
	}
	run := a.run
	if a.look {
		now, _, err := a.r.journal.Load(a.ctx, run.ID)
		if err != nil {
			return err
		}
		if now != nil {
			run = now
		}
	}
	for _, w := range a.made {
		if engine.Unwanted(run, w.Job, w.ID) && !slices.ContainsFunc(a.ends, func(e engine.End) bool { return e.Wait.ID == w.ID && e.Wait.Job == w.Job }) {
			a.ends = append(a.ends, engine.End{Wait: w, Used: engine.Used(run, w.ID)})
		}
	}
	a.made, a.look = nil, false
	return nil
}

func (a *activation) endSome(ends []engine.End) error {
	var ending errgroup.Group
	for _, e := range ends {
		ending.Go(func() error {
			return guard(func() error { return a.endWait(e) })
		})
	}
	return ending.Wait()
}

func (a *activation) endWait(e engine.End) error {
	if err := a.r.waits.End(a.ctx, e.Wait, e.Used); err != nil {
		return fmt.Errorf("end the wait for %s: %w", e.Wait.ID, err)
	}
	return nil
}
