package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

// ledger is a run as the activations of this runner have it in common, while there are any: as it is stored, and with what has
// happened to it since. A run with thousands of waits is called back by many at once. What comes while another is being saved is
// saved together, once; without that each would save the whole document, and all but one of them in vain.
//
// It weakens nothing. Each activation performs what follows from its own message, after a save that holds it and all that it was
// decided upon, and acknowledges it then. What is saved together is lost together, and comes again.
type ledger struct {
	inbox struct {
		sync.Mutex
		entries []*entry
	}

	mu     sync.Mutex       // held while the run is advanced, never while it is saved or read
	run    *event.Run       // with all that has happened; nil: not begun, or not read
	at     uint64           // counts its changes
	rev    journal.Revision // of what is stored
	stored uint64           // how far that goes: at
	kept   *event.Run       // what is stored
	told   []byte           // what the save gave
	epoch  uint64           // counts how often it was read anew: what was not stored has gone then
	grown  bool             // it was too large to be kept
	busy   bool             // somebody saves, or reads
	free   chan struct{}    // closed when nobody does any more; nil: nobody waits for it
	lists  engine.Lists     // of the run's items
	shared bool             // others find it
	users  int              // activations that have it; guarded by Runner.mu
}

// entry is an event that an activation has for the run, and what came of it.
type entry struct {
	ev    engine.Event
	world engine.World

	done     bool
	err      error
	unloaded bool // it is a callback, and its result is needed, which is not at hand
	known    bool // it asks for a run that has begun
	commands []engine.Command
	changed  bool
	run      *event.Run // as it was then
	at       uint64
	unstored bool // that was not stored
	epoch    uint64
}

// take applies events, in their order. Those of others that wait for the same are applied in the same step.
func (l *ledger) take(entries ...*entry) {
	l.inbox.Lock()
	l.inbox.entries = append(l.inbox.entries, entries...)
	l.inbox.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if entries[len(entries)-1].done {
		return
	}
	l.inbox.Lock()
	all := l.inbox.entries
	l.inbox.entries = nil
	l.inbox.Unlock()
	if !l.together(all) {
		for _, e := range all {
			l.one(e)
		}
	}
}

// together applies several events in one step, and tells whether it did: otherwise nothing has been done.
func (l *ledger) together(all []*entry) bool {
	if len(all) < 2 || l.run == nil {
		return false
	}
	events := make([]engine.Event, len(all))
	for i, e := range all {
		if _, begins := e.ev.(engine.Requested); begins || large(e.ev) || e.world.Document != all[0].world.Document {
			return false
		}
		events[i] = e.ev
	}
	var outcomes []engine.Outcome
	run := l.run
	err := guard(func() (err error) {
		run, outcomes, err = engine.AdvanceAll(all[0].world, l.run, events)
		return err
	})
	if err != nil {
		return false // whose fault it is shows when each is taken alone
	}
	if run != l.run {
		l.run = run
		l.at++
	}
	for i, e := range all {
		l.answer(e, outcomes[i].Commands, outcomes[i].Changed)
	}
	return true
}

// one applies one event.
func (l *ledger) one(e *entry) {
	if req, begins := e.ev.(engine.Requested); begins && l.run != nil {
		e.known = true
		if l.run.Request != req.Request.Seq {
			e.err = errTaken
		}
		l.answer(e, nil, false)
		return
	}
	if l.lacks(e) {
		e.unloaded = true
		l.answer(e, nil, false)
		return
	}
	e.err = guard(func() error {
		run, commands, err := engine.Advance(e.world, l.run, e.ev)
		if err != nil {
			return &poison{err: fmt.Errorf("advance: %w", err)}
		}
		changed := run != l.run
		if changed {
			l.run = run
			l.at++
		}
		l.answer(e, commands, changed)
		return nil
	})
	e.done = true
}

// large tells whether an event is a callback whose result lies elsewhere.
func large(ev engine.Event) bool {
	cb, ok := ev.(engine.CalledBack)
	return ok && cb.Callback.Object != nil
}

// lacks tells whether an event is a callback for which the run waits, and whose result is not at hand.
func (l *ledger) lacks(e *entry) bool {
	cb, ok := e.ev.(engine.CalledBack)
	return ok && cb.Callback.Object != nil && l.run != nil && engine.Expects(l.run, cb.Callback.ID, cb.Callback.Seq)
}

func (l *ledger) answer(e *entry, commands []engine.Command, changed bool) {
	e.commands, e.changed, e.run, e.at, e.unstored, e.epoch = commands, changed, l.run, l.at, l.at != l.stored, l.epoch
	e.done = true
}

// wait waits until somebody has come to the end of saving or reading. The ledger is locked before and after.
func (l *ledger) wait(ctx context.Context) error {
	if l.free == nil {
		l.free = make(chan struct{})
	}
	free := l.free
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// aside does what takes long, with the ledger unlocked, while nobody else does. It is locked before and after.
func (l *ledger) aside(do func() error) error {
	l.busy = true
	l.mu.Unlock()
	err := guard(do)
	l.mu.Lock()
	l.busy = false
	if l.free != nil {
		close(l.free)
		l.free = nil
	}
	return err
}

// now gives the run with all that has happened; nil: nothing is known.
func (l *ledger) now() (*event.Run, journal.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.run, l.rev
}

// begin puts in what is stored.
func (l *ledger) begin(run *event.Run, rev journal.Revision) {
	l.run, l.kept, l.rev, l.told, l.grown = run, run, rev, nil, false
	l.at++
	l.stored = l.at
}

// again puts in what is stored now. What was not stored is taken again by those who had it.
func (l *ledger) again(run *event.Run, rev journal.Revision) {
	l.begin(run, rev)
	l.epoch++
}

// read reads the run where nothing is known of it: once for all who come meanwhile, for it may be large.
func (l *ledger) read(a *activation) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.run == nil && l.busy {
		if err := l.wait(a.ctx); err != nil {
			return err
		}
	}
	if l.run != nil {
		return nil
	}
	var run *event.Run
	var rev journal.Revision
	err := l.aside(func() (err error) {
		run, rev, err = a.r.journal.Recall(a.ctx, a.runID)
		return err
	})
	if err == nil && run != nil && l.run == nil {
		l.begin(run, rev)
	}
	return err
}

// store saves the run as it is, or where another runner has saved meanwhile reads what that has saved. Nobody else does so; the
// ledger is locked before and after.
func (l *ledger) store(a *activation) error {
	var data []byte
	var now *event.Run
	run, rev, at := l.run, l.rev, l.at
	err := l.aside(func() (err error) {
		was := rev
		if rev, data, err = a.r.journal.Save(a.ctx, run, was); !errors.Is(err, journal.ErrConflict) {
			return err
		}
		a.r.metrics.conflicts.Inc()
		now, rev, err = a.r.journal.Load(a.ctx, a.runID)
		switch {
		case err != nil || now != nil:
			return err
		case was == 0:
			return fmt.Errorf("run %s: saving it was refused, but there is none", a.runID)
		default:
			return &poison{err: fmt.Errorf("run %s has gone", a.runID)}
		}
	})
	switch {
	case err != nil:
		return err
	case now != nil:
		l.again(now, rev)
	default:
		l.kept, l.rev, l.stored, l.told = run, rev, at, data
	}
	return nil
}

// renew reads the run where another runner has saved it since it was saved or read here. The ledger is locked before and after.
func (l *ledger) renew(a *activation) error {
	for l.busy {
		if err := l.wait(a.ctx); err != nil {
			return err
		}
	}
	var now *event.Run
	rev := l.rev
	err := l.aside(func() error {
		same, err := a.r.journal.Same(a.ctx, a.runID, rev)
		if err == nil && !same {
			now, rev, err = a.r.journal.Load(a.ctx, a.runID)
		}
		return err
	})
	if err == nil && now != nil && rev != l.rev {
		l.again(now, rev)
	}
	return err
}

// tooLarge ends a run that is too large to be kept, for which there is one try. The others take again what they had: what they were
// to do may be wanted no more.
func (l *ledger) tooLarge(a *activation, err error) (*entry, error) {
	if l.grown {
		return nil, &poison{err: err}
	}
	message := "the run has grown too large: " + err.Error()
	e := &entry{ev: engine.Overgrown{Message: message, Trigger: a.trigger, At: time.Now()}, world: a.world}
	l.grown = true
	l.epoch++
	l.one(e)
	return e, e.err
}
