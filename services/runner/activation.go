package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

// activation carries one run on, from the message that set it off until all that follows from it is done or waits.
//
// Its order is the promise: what has happened is saved before anything that follows from it is done, and the message
// is acknowledged after all of it. So whatever dies, the message comes again, and finds what is done in the document.
type activation struct {
	r           *Runner
	ctx         context.Context //nolint:containedctx // the length of one message
	outside     context.Context //nolint:containedctx // requests in flight, which a cancel lets go
	abort       context.CancelCauseFunc
	runID       string
	trigger     string
	request     *bus.Delivery // what has asked for the run, now; nil: something else
	redelivered bool          // the message has come before
	lastTry     bool          // after this delivery, the message is given up
	definition  *definition
	world       engine.World
	saveFirst   bool // also what begins the run is saved before it is done

	run       *event.Run // as it is, saved or not
	rev       journal.Revision
	overgrown bool   // its document is too large to be kept
	stopping  bool   // it is only ended: its definition may be lost
	undefined bool   // and is not to be used
	saved     []byte // as it was saved here last
	saves     int
	unsaved   []engine.Event
	queue     []engine.Command
	ends      []engine.End // done last: a wait that stands brings its callback here again
	made      []event.Wait // waits that were made, or may have been, while the run may have gone on elsewhere
	look      bool         // the document tells whether it has

	acting  map[acting]bool // what this activation has performed
	results chan performed
	flying  int

	invocations []string      // what it performs, as noted in Runner.performing
	settled     bool          // all that follows from the message is done or waits
	done        chan struct{} // closed at the end; nil: it performs nothing that a callback may overtake
	traced      bool          // its span tells of the run
}

// acting is an invocation, or one of its polls.
type acting struct {
	id   string
	poll int
}

type performed struct {
	acted engine.Acted
	err   error
}

// checkpointAfter is how long the first requests of a run may take before it is saved and so becomes visible: most are
// done sooner, and save the write.
const checkpointAfter = 250 * time.Millisecond

var (
	// errTaken says that the run's id has a document already.
	errTaken = errors.New("the run has begun already")
	// errAborted ends the requests in flight of a run that was cancelled.
	errAborted = errors.New("the run was cancelled")
)

func (r *Runner) begin(ctx context.Context, runID, trigger string) *activation {
	a := &activation{r: r, ctx: ctx, runID: runID, trigger: trigger}
	a.outside, a.abort = context.WithCancelCause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[runID] = append(r.active[runID], a)
	r.metrics.active.Inc()
	return a
}

// end waits for what the activation has in flight, and forgets it.
func (a *activation) end() {
	a.abort(errStopping)
	for ; a.flying > 0; a.flying-- {
		<-a.results
	}
	if a.done != nil {
		close(a.done)
	}
	a.performed(a.invocations...)
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if others := slices.DeleteFunc(a.r.active[a.runID], func(b *activation) bool { return b == a }); len(others) > 0 {
		a.r.active[a.runID] = others
	} else {
		delete(a.r.active, a.runID)
	}
	a.r.metrics.active.Dec()
}

// adopt takes a run as it is stored.
func (a *activation) adopt(run *event.Run, rev journal.Revision) error {
	if run.Version > engine.Version {
		return fault.Wrap(errNewer, fault.Unavailable,
			fmt.Sprintf("run %s has version %d, and this runner knows %d", run.ID, run.Version, engine.Version), "bring this runner up to date")
	}
	if a.definition == nil || a.definition.hash != run.Definition {
		def, err := a.defined(run.Definition)
		if err != nil {
			return a.blame(err)
		}
		a.definition = def
		a.world = engine.World{}
	}
	a.run, a.rev = run, rev
	a.traceRun(run)
	return nil
}

// handle applies an event and does all that follows from it.
func (a *activation) handle(ev engine.Event) error {
	a.settled = false
	err := a.blame(guard(func() error { return a.follow(ev) }))
	a.settled = err == nil
	return err
}

func (a *activation) follow(ev engine.Event) error {
	if err := a.apply(ev); err != nil {
		return err
	}
	var checkpoint *time.Timer // most have nothing in flight, or not for long
	defer func() {
		if checkpoint != nil {
			checkpoint.Stop()
		}
	}()
	for {
		if err := a.perform(); err != nil {
			return err
		}
		if a.flying == 0 {
			if len(a.unsaved) == 0 {
				return a.endWaits()
			}
			if err := a.save(); err != nil {
				return err
			}
			continue // a save that came second brings up what else is to be done
		}
		if a.run.Status.Ended() && len(a.unsaved) == 0 {
			a.abort(errAborted) // what is in flight is wanted by nobody
		}
		if checkpoint == nil {
			checkpoint = time.NewTimer(checkpointAfter)
		}
		select {
		case p := <-a.results:
			if err := a.takeAll(p); err != nil {
				return err
			}
		case <-checkpoint.C:
			if err := a.save(); err != nil {
				return err
			}
		}
	}
}

// takeAll applies the end of an invocation, and of those that have come to theirs meanwhile: they are saved together.
func (a *activation) takeAll(p performed) error {
	for {
		a.flying--
		if err := a.took(p); err != nil {
			return err
		}
		select {
		case p = <-a.results:
		default:
			return nil
		}
	}
}

// took applies the end of an invocation.
func (a *activation) took(p performed) error {
	if errors.Is(p.err, errAborted) {
		if err := a.reload(); err != nil {
			return err
		}
		if a.run.Status.Ended() {
			return nil
		}
	}
	if p.err != nil {
		return p.err
	}
	p.acted.Trigger = a.trigger
	return a.apply(p.acted)
}

// apply advances the run by an event.
func (a *activation) apply(ev engine.Event) error {
	if cb, ok := ev.(engine.CalledBack); ok && cb.Callback.Object != nil {
		if err := a.load(&cb.Callback); err != nil {
			return err
		}
		ev = cb
	}
	if a.world.Document == nil && a.definition != nil {
		resolver := a.r.resolver(a.definition)
		a.world = engine.World{Document: a.definition.doc, Static: resolver.Scope(a.outside), WaitTimeout: a.r.cfg.WaitTimeout}
	}
	run, commands, err := engine.Advance(a.world, a.run, ev)
	if err != nil {
		return &poison{err: fmt.Errorf("advance: %w", err)}
	}
	if run != a.run {
		a.unsaved = append(a.unsaved, ev)
		a.run = run
	}
	if len(a.queue) == 0 {
		a.queue = commands
	} else {
		a.queue = append(a.queue, commands...)
	}
	return nil
}

// perform does what is commanded, as far as it does not have to wait for outside services.
func (a *activation) perform() error {
	for len(a.queue) > 0 {
		if len(a.unsaved) > 0 && !a.mayGoAhead() {
			if err := a.save(); err != nil {
				return err
			}
			continue // the queue may be another one now
		}
		if commands, waits := a.neighbours(); waits > 1 {
			if err := a.parkAll(commands); err != nil {
				return err
			}
			continue
		}
		c := a.queue[0]
		a.queue = a.queue[1:]
		if !engine.Wanted(a.run, c) {
			continue
		}
		if err := a.command(c); err != nil {
			return err
		}
	}
	return nil
}

// mayGoAhead tells whether the commands may be performed before the run is saved: only its first requests. Nothing is
// lost with them: the request for the run comes again, and they carry the same idempotency keys.
func (a *activation) mayGoAhead() bool {
	if a.saveFirst || a.rev != 0 || len(a.unsaved) != 1 {
		return false
	}
	if _, first := a.unsaved[0].(engine.Requested); !first {
		return false
	}
	for _, c := range a.queue {
		switch c.(type) {
		case engine.Act, engine.Notify:
		default:
			return false
		}
	}
	return true
}

func (a *activation) command(c engine.Command) error {
	switch c := c.(type) {
	case engine.Act:
		a.act(c)
		return nil
	case engine.Park:
		return a.park(c)
	case engine.Sleep:
		c.Wait.Trace = a.r.traceparent(a.ctx)
		if err := a.r.waits.Timer(a.ctx, c.Wait); err != nil {
			return fmt.Errorf("set the timer %s: %w", c.Wait.ID, err)
		}
		return nil
	case engine.Acquire:
		return a.acquire(c)
	case engine.Release:
		return a.r.slots.Release(a.ctx, a.ticket(c.Turn, 0))
	case engine.End:
		a.ends = append(a.ends, c)
		return nil
	case engine.Notify:
		a.r.notify(c.Notice)
		return nil
	case engine.StartRun:
		return a.r.startRun(a.ctx, c, a.run.Trace)
	case engine.CancelRun:
		return a.cancelRun(c)
	case engine.Finish:
		return a.finish()
	default:
		return &poison{err: fmt.Errorf("unknown command %T", c)}
	}
}

// finish tells those who asked for the run that it has ended.
func (a *activation) finish() error {
	a.r.metrics.ended.WithLabelValues(a.run.Workflow, string(a.run.Status)).Inc()
	if err := a.r.callParent(a.ctx, a.run); err != nil {
		return err
	}
	a.r.reply(a.ctx, a.run, a.saved)
	return nil
}

// act performs an invocation beside the activation; its end comes in through results.
func (a *activation) act(c engine.Act) {
	name := acting{id: c.ID, poll: c.Poll}
	if a.acting[name] {
		return
	}
	if a.acting == nil {
		a.acting, a.results = map[acting]bool{}, make(chan performed)
	}
	a.acting[name] = true
	a.flying++
	if a.request != nil {
		a.r.arrivals.pass(a.request) // it has its turn or needs none, and what it does may take long
	}
	a.performs(c.ID)
	resolver := a.r.resolver(a.definition)
	a.r.invocations.Go(func() {
		began := time.Now()
		var p performed
		if err := guard(func() error {
			p.acted, p.err = a.r.performer.Perform(a.outside, c, resolver)
			return nil
		}); err != nil {
			p.err = err
		}
		a.r.metrics.invocation.WithLabelValues(c.Job.Component).Observe(time.Since(began).Seconds())
		a.results <- p
	})
}

// save stores the run. When somebody else has saved meanwhile, what has happened here is applied to what they have
// saved, and all that this activation's message has set off is gone through again.
func (a *activation) save() error {
	for len(a.unsaved) > 0 {
		rev, data, err := a.r.journal.Save(a.ctx, a.run, a.rev)
		if err == nil {
			begun := a.rev == 0
			a.rev, a.saved, a.unsaved = rev, data, nil
			a.saves++
			if begun && a.run.Parent != "" {
				return a.wanted()
			}
			return nil
		}
		if fault.CodeOf(err) == fault.TooLarge {
			// Nothing was stored. The run cannot go on, and says so.
			if a.overgrown {
				return &poison{err: err}
			}
			a.overgrown = true
			a.queue = nil
			message := "the run has grown too large: " + err.Error()
			if err := a.apply(engine.Overgrown{Message: message, Trigger: a.trigger, At: time.Now()}); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, journal.ErrConflict) {
			return err
		}
		a.r.metrics.conflicts.Inc()
		if err := a.reload(); err != nil {
			return err
		}
	}
	return nil
}

func (a *activation) reload() error {
	id := a.run.ID
	run, rev, err := a.r.journal.Load(a.ctx, id)
	if err != nil {
		return err
	}
	events := a.unsaved
	if len(events) > 0 {
		if req, ok := events[0].(engine.Requested); ok {
			if run == nil {
				return fmt.Errorf("run %s: saving it was refused, but there is none", id)
			}
			if run.Request != req.Request.Seq {
				return errTaken
			}
			events = events[1:]
		}
	}
	if run == nil {
		return &poison{err: fmt.Errorf("run %s has gone", id)}
	}
	for _, c := range a.queue { // an id is claimed before what was called back early is given
		if p, ok := c.(engine.Park); ok {
			a.made = append(a.made, p.Wait)
		}
	}
	a.unsaved, a.queue, a.saved = nil, nil, nil
	if err := a.adopt(run, rev); err != nil {
		return err
	}
	for _, ev := range events {
		if err := a.apply(ev); err != nil {
			return err
		}
	}
	if a.stopping {
		return nil // the event has done the same
	}
	return a.apply(engine.Redelivered{Trigger: a.trigger, At: time.Now()})
}
