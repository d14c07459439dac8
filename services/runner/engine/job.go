package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Codes of a run's error, beside those that the action gives.
const (
	CodeTimeout   = "timeout"           // a deadline has passed
	CodeCallback  = "callback_failed"   // the callback says so
	CodeCancelled = "cancelled"         // somebody asked for it
	CodeOutput    = "output_expression" // an output could not be evaluated
	CodeConflict  = "wait_conflict"     // another run waits for the same id
)

// InvocationID is an attempt's own id: of its wait, and the Idempotency-Key of its request.
func InvocationID(runID, job string, attempt int) string {
	if attempt == 1 {
		return runID + "." + job
	}
	return runID + "." + job + "." + strconv.Itoa(attempt)
}

// retryTimerID is the id of the timer of the pause before an attempt.
func retryTimerID(runID, job string, attempt int) string {
	return runID + "." + job + ".retry." + strconv.Itoa(attempt)
}

func last(job *event.Job) *event.Attempt {
	if len(job.Attempts) == 0 {
		return nil
	}
	return job.Attempts[len(job.Attempts)-1]
}

// start begins a job that has not run yet.
func (s *step) start(index int) {
	def := s.workflow.Jobs[index]
	job := s.job(def.ID)
	s.attempt(index, job)
}

// attempt begins the next attempt at a job.
func (s *step) attempt(index int, job *event.Job) {
	def := s.workflow.Jobs[index]
	job.Status = event.StatusRunning
	job.RetryAt = time.Time{}
	job.Attempts = append(job.Attempts, &event.Attempt{
		Number: len(job.Attempts) + 1, StartedAt: s.now, Trigger: s.trigger,
	})
	s.notify(event.Notice{Event: event.JobStarted, Job: def.ID, Attempt: len(job.Attempts)})
	s.act(index, job)
}

// act commands the last attempt's request.
func (s *step) act(index int, job *event.Job) {
	def := s.workflow.Jobs[index]
	a := last(job)
	scope := s.scope()
	scope.Previous = def.Before
	action := s.action(def)
	s.do(Act{
		Job: def, Action: action, Attempt: a.Number, ID: InvocationID(s.run.ID, def.ID, a.Number),
		Deadline: s.limit(def, job, a.StartedAt.Add(invocationLimit(action))), Scope: scope,
	})
}

func (s *step) action(def *compose.Job) *compose.Action {
	if c := s.world.Document.Components[def.Component]; c != nil {
		return c.Actions[def.Action]
	}
	return nil
}

func invocationLimit(action *compose.Action) time.Duration {
	switch {
	case action == nil:
		return DefaultTimeout
	case action.Timeout > 0:
		return action.Timeout
	case action.Completion.Kind == compose.CompleteCallback:
		return DefaultWaitTimeout
	default:
		return DefaultTimeout
	}
}

// limit bounds a deadline by the job's and the run's own.
func (s *step) limit(def *compose.Job, job *event.Job, deadline time.Time) time.Time {
	if def.Timeout > 0 && len(job.Attempts) > 0 {
		deadline = earlier(deadline, job.Attempts[0].StartedAt.Add(def.Timeout))
	}
	if s.workflow.Timeout > 0 {
		deadline = earlier(deadline, s.run.StartedAt.Add(s.workflow.Timeout))
	}
	return deadline
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// find gives the index of the job with the id, or -1.
func (s *step) find(id string) int {
	for i, def := range s.workflow.Jobs {
		if def.ID == id {
			return i
		}
	}
	return -1
}

// acted takes the end of an invocation's request.
func (s *step) acted(ev Acted) {
	index := s.find(ev.Job)
	old := s.run.Jobs[ev.Job]
	if index < 0 || old == nil || old.Status != event.StatusRunning || last(old).Number != ev.Attempt {
		return // ended meanwhile, or a repetition that another delivery has overtaken
	}
	job := s.job(ev.Job)
	a := last(job)
	job.Input = ev.Input
	a.Requests = append(a.Requests, ev.Requests...)
	a.Trigger = s.trigger
	switch {
	case ev.Err != nil:
		s.fail(index, job, *ev.Err)
	case ev.Wait != nil:
		a.Output, a.Response = ev.Output, ev.Response
		action := s.action(s.workflow.Jobs[index])
		deadline := a.StartedAt.Add(invocationLimit(action))
		if ev.Wait.Timeout > 0 {
			deadline = s.now.Add(ev.Wait.Timeout)
			if action != nil && action.Timeout > 0 {
				deadline = earlier(deadline, a.StartedAt.Add(action.Timeout))
			}
		}
		a.Wait = &event.WaitState{
			ID: ev.Wait.ID, Since: s.now, Deadline: s.limit(s.workflow.Jobs[index], job, deadline),
			Shared: ev.Wait.Shared, AcceptEarly: ev.Wait.AcceptEarly,
		}
		job.Status = event.StatusWaiting
		s.notify(event.Notice{Event: event.JobWaiting, Job: ev.Job, Attempt: a.Number, Wait: a.Wait})
		s.park(ev.Job, job)
	default:
		s.done(index, job, a, ev.Output)
	}
}

// park commands the wait of the last attempt, and again those of the attempts before it: a callback that was
// on its way to one of them still counts.
func (s *step) park(id string, job *event.Job) {
	deadline := last(job).Wait.Deadline
	parked := map[string]bool{}
	for i := len(job.Attempts) - 1; i >= 0; i-- {
		a := job.Attempts[i]
		if a.Wait == nil || parked[a.Wait.ID] {
			continue
		}
		parked[a.Wait.ID] = true
		s.do(Park{
			Wait:      event.Wait{ID: a.Wait.ID, Run: s.run.ID, Job: id, Attempt: a.Number, Since: a.Wait.Since, Deadline: deadline, Used: a.Wait.Used},
			NotBefore: s.run.CreatedAt, AcceptEarly: a.Wait.AcceptEarly,
		})
	}
}

// endWaits commands the end of every wait and timer that the job may have.
func (s *step) endWaits(id string, job *event.Job) {
	ended := map[string]bool{}
	for _, a := range job.Attempts {
		if a.Wait == nil || ended[a.Wait.ID] {
			continue
		}
		ended[a.Wait.ID] = true
		s.do(End{Wait: event.Wait{ID: a.Wait.ID, Run: s.run.ID, Job: id, Attempt: a.Number}, Used: a.Wait.Used})
	}
	if !job.RetryAt.IsZero() {
		timer := s.retryTimer(id, job)
		s.do(End{Wait: timer})
	}
}

func (s *step) retryTimer(id string, job *event.Job) event.Wait {
	next := len(job.Attempts) + 1
	return event.Wait{
		ID: retryTimerID(s.run.ID, id, next), Run: s.run.ID, Job: id, Attempt: next,
		Since: last(job).EndedAt, Deadline: job.RetryAt, Timer: true,
	}
}

// done ends a job with its component's output.
func (s *step) done(index int, job *event.Job, a *event.Attempt, output json.RawMessage) {
	def := s.workflow.Jobs[index]
	if def.Output != nil {
		v, err := decoded(output, nil)
		if err == nil {
			scope := s.scope()
			job = s.job(def.ID)
			a = last(job)
			scope.Output, scope.InOutput = v, true
			if v, err = def.Output.Eval(scope); err == nil {
				output, err = encoded(v)
			}
		}
		if err != nil {
			s.fail(index, job, Error{Code: CodeOutput, Message: fmt.Sprintf("the job's output: %v", err), Permanent: true})
			return
		}
	}
	a.EndedAt, a.Trigger = s.now, s.trigger
	a.Response, a.Output = nil, nil
	job.Output, job.Error = output, nil
	job.Status = event.StatusCompleted
	s.endWaits(def.ID, job)
	s.notify(event.Notice{Event: event.JobCompleted, Job: def.ID, Attempt: a.Number, Output: job.Output})
	s.settle(def.ID)
}
