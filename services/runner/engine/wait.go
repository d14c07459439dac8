package engine

import (
	"encoding/json"
	"fmt"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
)

// waiting finds the attempt that waits, or has waited, for an id.
func (s *step) waiting(waitID string) (index int, attempt int, ok bool) {
	for i, def := range s.workflow.Jobs {
		job := s.run.Jobs[def.ID]
		if job == nil {
			continue
		}
		for n := len(job.Attempts) - 1; n >= 0; n-- {
			if w := job.Attempts[n].Wait; w != nil && w.ID == waitID {
				return i, n, true
			}
		}
	}
	return 0, 0, false
}

// calledBack takes a callback. One that has been used already is this delivery coming again; any other for a job that
// has ended changes nothing.
func (s *step) calledBack(ev CalledBack) {
	index, n, ok := s.waiting(ev.Callback.ID)
	if !ok {
		return
	}
	id := s.workflow.Jobs[index].ID
	old := s.run.Jobs[id]
	w := old.Attempts[n].Wait
	if ev.Callback.Seq != 0 && ev.Callback.Seq <= w.Used {
		s.repeat()
		return
	}
	if old.Status.Ended() {
		return
	}
	job := s.job(id)
	a := job.Attempts[n]
	a.Wait.Used = ev.Callback.Seq
	if ev.Callback.Outcome == event.Progress {
		job.Progress = ev.Callback.Result
		s.notify(event.Notice{Event: event.JobProgress, Job: id, Attempt: a.Number, Progress: job.Progress})
		return
	}
	a.Wait.ResumedBy = &event.ResumedBy{
		Seq: ev.Callback.Seq, Outcome: ev.Callback.Outcome, Endpoint: ev.Callback.Endpoint, At: s.now,
	}
	if ev.Callback.Outcome == event.Failed {
		message := ev.Callback.Error
		if message == "" {
			message = "the callback says that it failed"
		}
		if a != last(job) {
			return // an earlier attempt's failure says nothing of the one that is under way
		}
		s.fail(index, job, Error{Code: CodeCallback, Message: message, Data: ev.Callback.Result})
		return
	}
	output, err := s.result(s.workflow.Jobs[index], job, a, ev.Callback.Result)
	if err != nil {
		s.fail(index, job, Error{Code: CodeOutput, Message: fmt.Sprintf("the component's output: %v", err), Permanent: true})
		return
	}
	s.done(index, job, a, output)
}

// result is the component's output together with the callback's result.
func (s *step) result(def *compose.Job, job *event.Job, a *event.Attempt, raw json.RawMessage) (json.RawMessage, error) {
	result, err := decoded(raw, nil)
	if err != nil {
		return nil, err
	}
	action := s.action(def)
	if action != nil && action.Output != nil && action.OutputNeedsResult {
		scope, err := s.actionScope(def, job, a, result)
		if err != nil {
			return nil, err
		}
		v, err := action.Output.Eval(scope)
		if err != nil {
			return nil, err
		}
		return encoded(v)
	}
	if len(raw) == 0 {
		return a.Output, nil
	}
	output, err := decoded(a.Output, nil)
	if err != nil {
		return nil, err
	}
	return encoded(overlay(output, result))
}

// actionScope is what a component's templates may refer to once the callback is there.
func (s *step) actionScope(def *compose.Job, job *event.Job, a *event.Attempt, result any) (expr.Scope, error) {
	input, err := decoded(job.Input, nil)
	if err != nil {
		return nil, err
	}
	response, err := decoded(a.Response, nil)
	if err != nil {
		return nil, err
	}
	return ActionScope{
		Invocation: InvocationID(s.run.ID, def.ID, a.Number), Run: s.run.ID, Job: def.ID, Workflow: s.run.Workflow,
		Attempt: a.Number, Input: input, Response: response, Result: result, At: s.now, Static: s.world.Static,
	}, nil
}

// expired takes the end of a wait's or a timer's time.
func (s *step) expired(ev Expired) {
	for i, def := range s.workflow.Jobs {
		job := s.run.Jobs[def.ID]
		if job == nil || job.RetryAt.IsZero() || retryTimerID(s.run.ID, def.ID, len(job.Attempts)+1) != ev.ID {
			continue
		}
		switch {
		case job.Status.Ended():
		case s.now.Before(job.RetryAt): // a long pause is woken on the way
			s.do(Sleep{Wait: s.retryTimer(def.ID, job)})
		default:
			s.attempt(i, s.job(def.ID))
		}
		return
	}
	index, n, ok := s.waiting(ev.ID)
	if !ok {
		s.repeat()
		return
	}
	id := s.workflow.Jobs[index].ID
	old := s.run.Jobs[id]
	a := last(old)
	switch {
	case old.Status.Ended() || a.Wait == nil || !a.EndedAt.IsZero() || n != len(old.Attempts)-1:
		s.repeat() // it has been dealt with; of several attempts' waits the last one's decides
		return
	case s.now.Before(a.Wait.Deadline):
		s.changed = true
		s.park(id, old) // a timer of an earlier deadline: it has taken the wait's key with it
		return
	}
	job := s.job(id)
	a = last(job)
	a.Wait.ResumedBy = &event.ResumedBy{Seq: ev.Seq, At: s.now, Timeout: true}
	def := s.workflow.Jobs[index]
	s.fail(index, job, Error{
		Code:    CodeTimeout,
		Message: fmt.Sprintf("no callback for %s came until %s", ev.ID, a.Wait.Deadline.UTC().Format("2006-01-02 15:04:05 MST")),
		// The job's or the run's own time is over as well: another attempt has none left.
		Permanent: !s.limit(def, job, distant).After(s.now),
	})
}

// refused takes a wait that could not be made.
func (s *step) refused(ev Refused) {
	index, n, ok := s.waiting(ev.ID)
	if !ok {
		return
	}
	old := s.run.Jobs[s.workflow.Jobs[index].ID]
	if old.Status.Ended() || n != len(old.Attempts)-1 || !old.Attempts[n].EndedAt.IsZero() {
		return
	}
	job := s.job(s.workflow.Jobs[index].ID)
	last(job).Wait = nil // not ours to end
	s.fail(index, job, ev.Err)
}

// repeat commands again what the step's trigger has set off and is not known to be done.
func (s *step) repeat() {
	for i, def := range s.workflow.Jobs {
		job := s.run.Jobs[def.ID]
		if job == nil {
			continue
		}
		a := last(job)
		switch {
		case a == nil || a.Trigger != s.trigger:
		case job.Status.Ended():
			s.endWaits(def.ID, job)
		case job.Status == event.StatusRunning:
			s.act(i, job)
		case !job.RetryAt.IsZero():
			s.do(Sleep{Wait: s.retryTimer(def.ID, job)})
		case a.Wait != nil:
			s.park(def.ID, job)
		}
	}
	if s.run.Status.Ended() && s.run.EndedBy == s.trigger {
		s.do(Finish{})
	}
}
