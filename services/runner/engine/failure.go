package engine

import (
	"math"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// fail ends the job's last attempt with an error: it is tried again, or has failed for good.
func (s *step) fail(index int, job *event.Job, e Error) {
	def := s.workflow.Jobs[index]
	a := last(job)
	a.EndedAt, a.Trigger = s.now, s.trigger
	a.Error = &event.RunError{Code: e.Code, Message: e.Message, Data: e.Data, Job: def.ID}
	a.Response, a.Output = nil, nil
	job.Error = a.Error

	delay := max(pause(def.Retry, a.Number), e.After)
	due := s.now.Add(delay)
	if len(job.Attempts) < def.Retry.MaxAttempts && !e.Permanent && due.Before(s.limit(def, job, distant)) {
		s.notify(event.Notice{Event: event.JobRetrying, Job: def.ID, Attempt: a.Number, Error: a.Error, RetryAt: due})
		if delay <= 0 {
			s.attempt(index, job)
			return
		}
		job.Status, job.RetryAt = event.StatusWaiting, due
		s.do(Sleep{Wait: s.retryTimer(def.ID, job)})
		return
	}
	job.Status = event.StatusFailed
	s.endWaits(def.ID, job)
	s.notify(event.Notice{Event: event.JobFailed, Job: def.ID, Attempt: a.Number, Error: a.Error})
	s.onError(index, job)
}

// distant is later than any deadline.
var distant = time.Unix(math.MaxInt32*1000, 0)

// pause is how long to wait after the attempt with the number, before the next.
func pause(r compose.Retry, attempt int) time.Duration {
	delay := r.Delay
	if r.Backoff == "exponential" {
		for range attempt - 1 {
			if delay *= 2; delay > 24*time.Hour {
				break
			}
		}
	}
	if r.MaxDelay > 0 {
		delay = min(delay, r.MaxDelay)
	}
	return delay
}

// onError does what the file says of a job that has failed for good.
func (s *step) onError(index int, job *event.Job) {
	def := s.workflow.Jobs[index]
	switch on := def.OnError; {
	case on.Ignore:
		job.Status, job.Output = event.StatusCompleted, nil
		s.settle(def.ID)
	case len(on.Jobs) > 0:
		s.route(on.Jobs[0])
	case on.To != "":
		s.route(on.To)
	case on.Output != nil:
		failure, err := errorValue(job.Error)
		if err == nil {
			scope := s.scope()
			job = s.job(def.ID)
			scope.Error = failure
			var v any
			if v, err = on.Output.Eval(scope); err == nil {
				job.Output, err = encoded(v)
			}
		}
		if err != nil {
			job.Error = &event.RunError{Code: CodeOutput, Message: "the output of on_error: " + err.Error(), Job: def.ID}
			return
		}
		job.Status = event.StatusCompleted
		s.settle(def.ID)
	}
}

// handled tells whether a failed job's failure is in hand: its jobs of on_error are not all done, or have taken its place.
func (s *step) handled(def *compose.Job) bool {
	switch {
	case len(def.OnError.Jobs) > 0:
		return !s.anyLost(def.OnError.Jobs)
	case def.OnError.To != "":
		return s.run.Jobs[def.OnError.To] != nil
	default:
		return false
	}
}

// anyLost tells whether one of the jobs has failed with nobody to handle it.
func (s *step) anyLost(ids []string) bool {
	for _, id := range ids {
		job := s.run.Jobs[id]
		if job != nil && job.Status == event.StatusFailed && !s.handled(s.workflow.Job(id)) {
			return true
		}
	}
	return false
}

// route starts a job that runs only when another routes to it.
func (s *step) route(id string) {
	if index := s.find(id); index >= 0 && s.run.Jobs[id] == nil {
		s.start(index)
	}
}

// settle goes on with the jobs of on_error that the job with the id is one of: the next one starts, and the last
// one's output stands for the failed job's.
func (s *step) settle(id string) {
	for _, def := range s.workflow.Jobs {
		jobs := def.OnError.Jobs
		for i, member := range jobs {
			if member != id {
				continue
			}
			failed := s.run.Jobs[def.ID]
			if failed == nil || failed.Status != event.StatusFailed {
				return
			}
			if i+1 < len(jobs) {
				s.route(jobs[i+1])
				return
			}
			output := s.run.Jobs[id].Output
			job := s.job(def.ID)
			job.Status, job.Output = event.StatusCompleted, output
			s.settle(def.ID)
			return
		}
	}
}
