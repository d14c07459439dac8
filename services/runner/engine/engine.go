// Package engine decides what a run does next: a pure function from its state and an event to its state and commands.
//
// It does nothing itself and knows no clock: every event brings its time. The same events in the same order
// give the same run, so a history can be replayed, and a crash is only the same event coming again.
package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
)

// Version is the form of run document that this engine writes. A runner leaves those of a higher version alone: it would drop what
// it does not know when it saves. See CONTRIBUTING.md for when it is raised.
const Version = 1

// Limits of an invocation that names none: a wait is never unbounded.
const (
	DefaultTimeout     = 5 * time.Minute
	DefaultWaitTimeout = 24 * time.Hour
)

// fewCommands is how many commands most steps have at most.
const fewCommands = 8

// World is what a run's decisions depend on and that does not change with it.
type World struct {
	Document *compose.Document
	Static   expr.Scope // env, gateway, listener
	// WaitTimeout bounds a wait that names no time of its own; 0: DefaultWaitTimeout.
	WaitTimeout time.Duration
	// Lists are read once for all that is asked of them; nil: each time.
	Lists *Lists
}

// workflow gives the workflow with this id; nil where there is none, or no document.
func (w World) workflow(id string) *compose.Workflow {
	if w.Document == nil {
		return nil
	}
	return w.Document.Workflow(id)
}

// Advance gives the run after the event, and what is to be done then. The run given is not changed; it is nil before
// Requested. An event that changes nothing gives the same run and no commands. An error means that the run
// and the event do not belong together; what goes wrong in a run is part of the run.
func Advance(w World, run *event.Run, ev Event) (*event.Run, []Command, error) {
	if req, ok := ev.(Requested); ok {
		if run != nil {
			return nil, nil, fmt.Errorf("run %s has begun already", run.ID)
		}
		return begin(w, req)
	}
	if run == nil {
		return nil, nil, fmt.Errorf("%T without a run", ev)
	}
	workflow := w.workflow(run.Workflow)
	if workflow == nil {
		if !ends(ev) {
			return nil, nil, fmt.Errorf("run %s: its definition has no workflow %q", run.ID, run.Workflow)
		}
		workflow = outline(run)
	}
	if workflow.Broken != "" && !ends(ev) {
		return nil, nil, fmt.Errorf("run %s: %s%s", run.ID, cannotRead, workflow.Broken)
	}
	s := newStep(w, workflow, run, ev.at())
	if err := s.take(ev); err != nil {
		return nil, nil, err
	}
	if !s.changed {
		return run, s.commands, nil
	}
	s.proceed()
	return s.run, s.commands, nil
}

// Outcome is what one of several events has brought.
type Outcome struct {
	Commands []Command
	Changed  bool // the run
}

// AdvanceAll is Advance for several events of a run that has begun, one after another. The run is gone through once for all of
// them where Advance goes through it for each, which tells where it has thousands of jobs.
func AdvanceAll(w World, run *event.Run, events []Event) (*event.Run, []Outcome, error) {
	workflow := w.workflow(run.Workflow)
	if workflow == nil {
		return nil, nil, fmt.Errorf("run %s: its definition has no workflow %q", run.ID, run.Workflow)
	}
	s := newStep(w, workflow, run, time.Time{})
	outcomes, changed := make([]Outcome, len(events)), false
	for i, ev := range events {
		s.now, s.trigger, s.changed, s.commands, s.looking = ev.at(), "", false, nil, false
		if err := s.take(ev); err != nil {
			return nil, nil, err
		}
		if s.changed {
			s.proceed()
			changed = true
		}
		outcomes[i] = Outcome{Commands: s.commands, Changed: s.changed}
	}
	if !changed {
		return run, outcomes, nil
	}
	if s.unshown {
		s.show() // it does not end here: a job is under way
	}
	return s.run, outcomes, nil
}

// take applies an event.
func (s *step) take(ev Event) error {
	switch ev := ev.(type) {
	case Redelivered:
		s.trigger = ev.Trigger
		s.repeat()
		if ev.Retry {
			s.commands = slices.DeleteFunc(s.commands, func(c Command) bool { _, finish := c.(Finish); return finish })
		}
	case Acted:
		s.trigger = ev.Trigger
		s.acted(ev)
	case CalledBack:
		s.trigger = ev.Trigger
		s.calledBack(ev)
	case Expired:
		s.trigger = ev.Trigger
		s.expired(ev)
	case Refused:
		s.trigger = ev.Trigger
		s.refused(ev)
	case Retried:
		s.trigger = ev.Trigger
		s.retry(ev)
	case Overgrown:
		s.trigger = ev.Trigger
		s.overgrown(ev)
	case Granted:
		s.trigger = ev.Trigger
		s.granted(ev)
	case NotYet:
		s.trigger = ev.Trigger
		s.notYet()
	case Cancelled:
		s.trigger = CancelTrigger
		s.cancel(ev)
	case Abandoned:
		s.trigger = ev.Trigger
		s.abandon(ev)
	default:
		return fmt.Errorf("unknown event %T", ev)
	}
	return nil
}

func begin(w World, req Requested) (*event.Run, []Command, error) {
	workflow := w.workflow(req.Request.Workflow)
	if workflow == nil {
		return nil, nil, fmt.Errorf("no workflow %q", req.Request.Workflow)
	}
	if workflow.Broken != "" {
		return nil, nil, errors.New(cannotRead + workflow.Broken)
	}
	s := newStep(w, workflow, &event.Run{
		ID:         req.Request.RunID,
		Workflow:   workflow.ID,
		Definition: req.Definition,
		Status:     event.StatusRunning,
		Input:      req.Request.Input,
		CreatedAt:  req.Request.RequestedAt,
		StartedAt:  req.At,
		Request:    req.Request.Seq,
		ReplyTo:    req.Request.ReplyTo,
		Parent:     req.Request.Parent,
		Trace:      req.Request.Trace,
		Version:    Version,
	}, req.At)
	s.trigger = req.Trigger
	if workflow.Concurrency != nil {
		s.run.StartedAt = time.Time{}
		s.enqueue(req.Request.Seq)
		return s.run, s.commands, nil
	}
	s.notify(event.Notice{Event: event.RunStarted})
	s.proceed()
	return s.run, s.commands, nil
}

// step is one call of Advance.
type step struct {
	world    World
	workflow *compose.Workflow
	run      *event.Run
	now      time.Time
	trigger  string
	changed  bool
	commands []Command
	seen     map[string]*event.Job   // the jobs as others see them: what differs is this step's own, and may be changed
	shared   bool                    // the run's map of jobs is that one: it is copied before it is changed
	items    map[string]*compose.Job // the items of for-each jobs, as jobs of their own

	told     bool                 // commands refer to the run as it is now
	underWay string               // a job that was seen to be
	unshown  bool                 // the run's status is still to be found
	used     map[string]uint64    // the last callback taken for each id; nil: not gone through
	asked    bool                 // one of them was asked for
	counts   map[string]*progress // of for-each jobs
	looking  bool                 // the run is looked at once more
}

func newStep(w World, workflow *compose.Workflow, run *event.Run, now time.Time) *step {
	next := *run
	return &step{world: w, workflow: workflow, run: &next, now: now, seen: run.Jobs, shared: true}
}

// job gives the job for changing, and notes that the run changes.
func (s *step) job(id string) *event.Job {
	s.changed = true
	old := s.run.Jobs[id]
	if old != s.seen[id] {
		return old
	}
	if s.shared {
		jobs := make(map[string]*event.Job, max(len(s.run.Jobs), len(s.workflow.Jobs)))
		maps.Copy(jobs, s.run.Jobs)
		s.run.Jobs, s.shared = jobs, false
	}
	job := &event.Job{Status: event.StatusPending}
	if old != nil {
		*job = *old
		job.Attempts = make([]*event.Attempt, len(old.Attempts))
		for i, a := range old.Attempts {
			c := *a
			if a.Wait != nil {
				w := *a.Wait
				c.Wait = &w
			}
			c.More = make([]*event.WaitState, len(a.More))
			for i, w := range a.More {
				copied := *w
				c.More[i] = &copied
			}
			job.Attempts[i] = &c
		}
	}
	s.run.Jobs[id] = job
	return job
}

func (s *step) do(c Command) {
	if s.commands == nil {
		s.commands = make([]Command, 0, fewCommands)
	}
	s.commands = append(s.commands, c)
}

func (s *step) notify(n event.Notice) {
	n.Run, n.Workflow, n.At = s.run.ID, s.run.Workflow, s.now
	s.do(Notify{Notice: &n})
}

// scope is what templates may refer to now. It holds until this step changes something.
func (s *step) scope() Scope {
	return Scope{Run: s.run, At: s.now, Static: s.world.Static}
}

// lasting makes a scope one that holds for ever. It shows the run as this step leaves it, which is how it is saved and how the
// command is given again; only what is taken back (a job that begins anew) is taken back in a copy.
func (s *step) lasting(scope Scope) Scope {
	s.told = true
	return scope
}

// part lets what was told of the run be as it is, before something is taken back in it.
func (s *step) part() {
	if !s.told {
		return
	}
	next := *s.run
	s.run, s.seen, s.shared, s.told = &next, s.run.Jobs, true, false
}

// proceed starts what can start, and ends the run when nothing is left.
func (s *step) proceed() {
	s.run.Version = Version // it may hold from now on what only this form has
	if s.run.Status.Ended() || s.run.Queued() {
		return
	}
	for started := true; started; {
		if failed := s.failure(); failed != nil {
			s.end(event.StatusFailed, failed)
			return
		}
		started = false
		for _, def := range s.workflow.Jobs {
			if s.startable(def) {
				s.start(def)
				started = true
			}
		}
	}
	if job := s.run.Jobs[s.underWay]; job != nil && (job.Status == event.StatusWaiting || job.Status == event.StatusRunning) {
		s.unshown = true // it goes on, and what it is shown as is found once
		return
	}
	s.show()
}

// show finds what a run is shown as by what its jobs do, and completes it when they do nothing.
func (s *step) show() {
	s.unshown = false
	waiting, listing := false, false
	for id, job := range s.run.Jobs {
		switch {
		case job.Status != event.StatusRunning && job.Status != event.StatusWaiting:
			continue
		case job.Items > 0 && job.Status == event.StatusRunning:
			listing = true // what it does is what its items do
			continue
		}
		s.underWay = id
		if job.Status == event.StatusRunning {
			s.run.Status = event.StatusRunning
			return
		}
		waiting = true
	}
	switch {
	case waiting:
		s.run.Status = event.StatusWaiting
	case listing:
		s.run.Status = event.StatusRunning
	default:
		s.complete()
	}
}

// startable tells whether a job is to start now: all that it needs is done, and nobody has to route to it, or somebody has.
func (s *step) startable(def *compose.Job) bool {
	job := s.run.Jobs[def.ID]
	if job != nil && job.Called {
		return !s.held(def)
	}
	if job != nil && job.Status != event.StatusPending || def.RoutedOnly {
		return false
	}
	for _, group := range def.Needs {
		if !s.anyDone(group) {
			return false
		}
	}
	return true
}

func (s *step) anyDone(ids []string) bool {
	for _, id := range ids {
		if job := s.run.Jobs[id]; job != nil && (job.Status == event.StatusCompleted || job.Status == event.StatusSkipped) {
			return true
		}
	}
	return false
}

// failure gives the error of a job that has failed with nobody to handle it.
func (s *step) failure() *event.RunError {
	for _, def := range s.workflow.Jobs {
		if job := s.run.Jobs[def.ID]; job != nil && job.Status == event.StatusFailed && !s.handled(def) {
			return job.Error
		}
	}
	return nil
}
