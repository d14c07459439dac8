package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Codes of a run's error, beside those that the action gives.
const (
	CodeTimeout    = "timeout"           // a deadline has passed
	CodeCallback   = "callback_failed"   // the callback says so
	CodePolling    = "polling_failed"    // the polled service says so
	CodeCancelled  = "cancelled"         // somebody asked for it
	CodeExpression = "expression"        // a template could not be evaluated
	CodeOutput     = "output_expression" // an output could not be evaluated
	CodeConflict   = "wait_conflict"     // another run waits for the same id
	CodeTooLarge   = "too_large"         // more than can be kept
	CodeGivenUp    = "given_up"          // no runner could carry the run on
	CodeInput      = "input"             // it is not what the workflow takes
	CodeLoop       = "max_run_count"     // a job was routed to too often
	CodeDefinition = "definition"        // what is to be done cannot be read in the stored definition
)

// start begins a job.
func (s *step) start(def *compose.Job) {
	if job := s.run.Jobs[def.ID]; job != nil && len(job.Attempts) > 0 {
		s.part()
	}
	job := s.job(def.ID)
	job.Round++
	job.Called = false
	job.First = len(job.Attempts)
	job.Output, job.Error, job.Progress = nil, nil, nil
	if def.MaxRunCount > 0 && job.Round > def.MaxRunCount {
		job.Status = event.StatusFailed
		job.Error = &event.RunError{Code: CodeLoop, Job: def.ID, Message: fmt.Sprintf("job %s was to run more than %d times", def.ID, def.MaxRunCount)}
		return
	}
	if def.When != nil {
		v, err := def.When.Eval(s.inputScope(def))
		if err != nil {
			s.attempt(def, job)
			s.fail(def, job, Error{Code: CodeExpression, Message: "when: " + err.Error(), Permanent: true})
			return
		}
		if !truthy(v) {
			job.Status = event.StatusSkipped
			s.settle(def.ID)
			return
		}
	}
	s.attempt(def, job)
	s.begin(def)
}

// again begins the next attempt at a job.
func (s *step) again(def *compose.Job) {
	s.attempt(def, s.job(def.ID))
	s.begin(def)
}

// attempt notes the next attempt at a job.
func (s *step) attempt(def *compose.Job, job *event.Job) {
	job.Status = event.StatusRunning
	job.RetryAt = time.Time{}
	job.Attempts = append(job.Attempts, &event.Attempt{
		Number: len(job.Attempts) + 1, StartedAt: s.now, Trigger: s.trigger,
	})
	s.notify(event.Notice{Event: event.JobStarted, Job: def.ID, Attempt: len(job.Attempts)})
}

// begin does what the last attempt at a job is to do.
func (s *step) begin(def *compose.Job) {
	if why := s.broken(def); why != "" {
		s.fail(def, s.job(def.ID), Error{Code: CodeDefinition, Message: cannotRead + why, Permanent: true})
		return
	}
	var err error
	switch def.Type {
	case compose.JobDelay:
		err = s.delay(def)
	case compose.JobWait:
		err = s.wait(def)
	case compose.JobIf, compose.JobSwitch, compose.JobRouter:
		err = s.decide(def)
	case compose.JobFilter:
		err = s.filter(def)
	case compose.JobForEach:
		err = s.each(def)
	case compose.JobWorkflow:
		err = s.subRun(def)
	default:
		s.act(def)
	}
	if err != nil {
		s.fail(def, s.job(def.ID), Error{Code: CodeExpression, Message: err.Error(), Permanent: true})
	}
}

// cannotRead begins what is told of a definition that another version has stored.
const cannotRead = "this runner cannot read what is to be done in the definition that the run began with: "

// broken says why a job cannot be begun, where the definition that was stored cannot be read there. Its other jobs can.
func (s *step) broken(def *compose.Job) string {
	if action := s.action(def); def.Broken == "" && action != nil {
		return action.Broken
	}
	return def.Broken
}

// act commands the last attempt's request.
func (s *step) act(def *compose.Job) {
	job := s.run.Jobs[def.ID]
	a := last(job)
	s.do(Act{
		Poll: a.Polls, Job: def, Of: s.world.Document.Components[def.Component], Action: s.action(def), Attempt: a.Number, ID: event.InvocationID(s.run.ID, def.ID, a.Number),
		Deadline: s.deadline(def, job), Scope: s.lasting(s.inputScope(def)),
	})
}

// inputScope is what a job's input, and what is decided before it runs, may refer to.
func (s *step) inputScope(def *compose.Job) Scope {
	scope := s.scope()
	scope.Previous = def.Before
	if parent, index, ok := itemOf(def.ID); ok && s.workflow.Job(def.ID) == nil {
		scope.Each, scope.Index, scope.Lists = parent, index, s.world.Lists
	}
	scope.Error = s.cause(def.ID)
	scope.Job, scope.Attempt = def.ID, s.attemptOf(def.ID)
	return scope
}

// attemptOf is the number of the attempt at a job that goes, or of the one to come.
func (s *step) attemptOf(id string) int {
	job := s.run.Jobs[id]
	if job == nil || len(job.Attempts) == 0 {
		return 1
	}
	if a := last(job); a.EndedAt.IsZero() {
		return a.Number
	}
	return len(job.Attempts) + 1
}

// cause is ${error} of a job that another's failure has led to.
func (s *step) cause(id string) any {
	for _, def := range s.workflow.Jobs {
		if def.OnError.To != id && !slices.Contains(def.OnError.Jobs, id) {
			continue
		}
		if job := s.run.Jobs[def.ID]; job != nil && job.Error != nil {
			if v, err := errorValue(job.Error); err == nil {
				return v
			}
		}
	}
	return nil
}

// input evaluates a job's input, and keeps it: without a template, the workflow's. Variables in it are masked where
// nothing is made of what is kept.
func (s *step) input(def *compose.Job) (any, error) {
	v, secrets, err := s.evalInput(def)
	if err != nil {
		return nil, fmt.Errorf("the job's input: %w", err)
	}
	job := s.job(def.ID)
	job.Input, err = encoded(v)
	if secrets != nil && def.Type != compose.JobForEach && def.Type != compose.JobWorkflow {
		job.Input = secrets.MaskJSON(job.Input)
	}
	return v, err
}

func (s *step) evalInput(def *compose.Job) (any, *Secrets, error) {
	scope := s.inputScope(def)
	if def.Input == nil {
		v, err := scope.Default()
		return v, nil, err
	}
	var secrets *Secrets
	if ReadsVariables(def.Input) && scope.Static != nil {
		secrets = &Secrets{}
		scope.Static = noting{scope.Static, secrets}
	}
	v, err := def.Input.Eval(scope)
	return v, secrets, err
}

func (s *step) action(def *compose.Job) *compose.Action {
	if c := s.world.Document.Components[def.Component]; c != nil {
		return c.Actions[def.Action]
	}
	return nil
}

// deadline bounds the last attempt at a job.
func (s *step) deadline(def *compose.Job, job *event.Job) time.Time {
	return s.limit(def, job, last(job).StartedAt.Add(s.invocationLimit(def)))
}

func (s *step) invocationLimit(def *compose.Job) time.Duration {
	wait := s.world.WaitTimeout
	if wait <= 0 {
		wait = DefaultWaitTimeout
	}
	action := s.action(def)
	switch {
	case def.Type == compose.JobWait || def.Type == compose.JobWorkflow:
		return wait
	case def.Type == compose.JobDelay:
		return forever
	case action == nil:
		return DefaultTimeout
	case action.Timeout > 0:
		return action.Timeout
	case action.Completion.Kind == compose.CompleteCallback:
		return wait
	default:
		return DefaultTimeout
	}
}

// limit bounds a deadline by the job's and the run's own.
func (s *step) limit(def *compose.Job, job *event.Job, deadline time.Time) time.Time {
	// The timeout of a job that only waits is its wait's, which a heartbeat moves.
	if attempts := round(job); def.Timeout > 0 && len(attempts) > 0 && def.Type != compose.JobWait {
		deadline = earlier(deadline, attempts[0].StartedAt.Add(def.Timeout))
	}
	if s.workflow.Timeout > 0 {
		deadline = earlier(deadline, s.begun().Add(s.workflow.Timeout))
	}
	return deadline
}

// begun is when the run began to go: its workflow's timeout counts from there, and once more when it is tried again.
func (s *step) begun() time.Time {
	begun := s.run.StartedAt
	if s.run.RetriedAt.After(begun) {
		begun = s.run.RetriedAt
	}
	if t := s.run.Turn; t != nil && t.GrantedAt.After(begun) {
		begun = t.GrantedAt
	}
	return begun
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// acted takes the end of an invocation's request.
func (s *step) acted(ev Acted) {
	def := s.find(ev.Job)
	old := s.run.Jobs[ev.Job]
	if def == nil || old == nil || old.Status != event.StatusRunning || last(old).Number != ev.Attempt || last(old).Polls != ev.Poll {
		return // ended meanwhile, or a repetition that another delivery has overtaken
	}
	job := s.job(ev.Job)
	a := last(job)
	a.Requests = append(a.Requests, ev.Requests...)
	a.Trigger = s.trigger
	if ev.Poll > 0 {
		s.polled(def, job, ev)
		return
	}
	job.Input = ev.Input
	switch {
	case ev.Err != nil:
		s.fail(def, job, *ev.Err)
	case ev.Wait != nil && ev.Wait.Poll:
		a.Output, a.Response = ev.Output, ev.Response
		s.pause(def, job, ev.After)
	case ev.Wait != nil:
		a.Output, a.Response = ev.Output, ev.Response
		s.await(def, job, *ev.Wait)
	default:
		s.done(def, job, ev.Output)
	}
}

// done ends a job with its component's output.
func (s *step) done(def *compose.Job, job *event.Job, output json.RawMessage) {
	if def.Output != nil {
		v, err := decoded(output, nil)
		if err == nil {
			scope := s.inputScope(def)
			scope.Output, scope.InOutput = v, true
			if v, err = def.Output.Eval(scope); err == nil {
				output, err = encoded(v)
			}
		}
		if err != nil {
			s.fail(def, job, Error{Code: CodeOutput, Message: fmt.Sprintf("the job's output: %v", err), Permanent: true})
			return
		}
	}
	a := last(job)
	a.EndedAt, a.Trigger = s.now, s.trigger
	a.Response, a.Output = nil, nil
	job.Output, job.Error = output, nil
	job.Status = event.StatusCompleted
	s.endWaits(def, job)
	s.notify(event.Notice{Event: event.JobCompleted, Job: def.ID, Attempt: a.Number, Output: job.Output})
	s.settle(def.ID)
}
