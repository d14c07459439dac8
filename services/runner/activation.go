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

	ledger     *ledger    // the run as it is, which others may share
	own        ledger     // it, where this activation was the first
	run        *event.Run // as this activation saw it last: with all that has come of its message
	begun      bool       // it was saved
	stopping   bool       // it is only ended: its definition may be lost
	undefined  bool       // and is not to be used
	saved      []byte     // as it was saved last
	saves      int        // of what this activation has changed
	unsaved    []unsaved
	at, epoch  uint64 // of the ledger, which the last of these has
	queue      []engine.Command
	later      []engine.Act // requests that wait for others to be answered
	ends       []engine.End // done last: a wait that stands brings its callback here again
	calledBack string       // the id that the callback was for which has led here
	made       []event.Wait // waits that were made, or may have been, while the run may have gone on elsewhere
	look       bool         // the document tells whether it has

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

// unsaved is an event of which it is not known to be stored what came of it, or what it was decided upon.
type unsaved struct {
	ev      engine.Event
	changed bool
}

// maxFlying bounds the requests that one activation has in flight: a for-each may have thousands of items.
const maxFlying = 256

// checkpointAfter is how long the first requests of a run may take before it is saved and so becomes visible: most are
// done sooner, and save the write.
const checkpointAfter = 250 * time.Millisecond

var (
	// errTaken says that the run's id has a document already.
	errTaken = errors.New("the run has begun already")
	// errAborted ends the requests in flight of a run that was cancelled.
	errAborted = errors.New("the run was cancelled")
)

// company says whether an activation shares the run with those that go on with it in this runner.
type company int

const (
	apart  company = iota // it is by itself: what it does is not to be mixed with what others do
	leader                // others may join it, and it joins nobody
	member                // it joins others, and others may join it
)

func (r *Runner) begin(ctx context.Context, runID, trigger string, c company) *activation {
	a := &activation{r: r, ctx: ctx, runID: runID, trigger: trigger}
	a.outside, a.abort = context.WithCancelCause(ctx)
	a.ledger = &a.own
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[runID] = append(r.active[runID], a)
	r.metrics.active.Inc()
	other := r.ledgers[runID]
	switch {
	case c == apart:
	case other == nil:
		a.own.shared = true
		r.ledgers[runID] = a.ledger
	case c == member:
		a.ledger = other
	}
	a.ledger.users++
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
	if a.ledger.users--; a.ledger.users == 0 && a.ledger.shared {
		delete(a.r.ledgers, a.runID)
	}
	a.r.metrics.active.Dec()
}

// adopt takes a run as it was read, or as others have it since.
func (a *activation) adopt(run *event.Run, rev journal.Revision) error {
	l := a.ledger
	l.mu.Lock()
	if l.run == nil {
		l.begin(run, rev)
	}
	old := l.rev < rev
	a.run, a.begun, a.epoch = l.run, l.rev != 0, l.epoch
	l.mu.Unlock()
	if old {
		if _, err := a.fresh(); err != nil {
			return err
		}
	}
	return a.meet(a.run)
}

// meet makes sure that this runner can go on with a run.
func (a *activation) meet(run *event.Run) error {
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
		a.launch()
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

// takeAll applies the end of an invocation, and of those that have come to theirs meanwhile: in one step, and they are saved
// together.
func (a *activation) takeAll(p performed) error {
	var events []engine.Event
	for {
		a.flying--
		switch {
		case errors.Is(p.err, errAborted):
			if err := a.reload(); err != nil {
				return err
			}
			if !a.run.Status.Ended() {
				return p.err
			}
		case p.err != nil:
			return p.err
		default:
			p.acted.Trigger = a.trigger
			events = append(events, p.acted)
		}
		select {
		case p = <-a.results:
		default:
			return a.apply(events...)
		}
	}
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
	if a.saveFirst || a.begun || len(a.unsaved) != 1 {
		return false
	}
	if _, first := a.unsaved[0].ev.(engine.Requested); !first {
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
		a.later = append(a.later, c)
		a.launch()
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

// launch performs invocations, as many as may be in flight.
func (a *activation) launch() {
	for len(a.later) > 0 && a.flying < maxFlying {
		c := a.later[0]
		a.later = a.later[1:]
		if engine.Wanted(a.run, c) {
			a.act(c)
		}
	}
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
