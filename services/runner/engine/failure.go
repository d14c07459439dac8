package engine

import (
	"math"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// fail ends the job's last attempt with an error: it is tried again, or has failed for good.
func (s *step) fail(def *compose.Job, job *event.Job, e Error) {
	a := last(job)
	if e.Code == CodeTimeout && s.noTimeLeft(def, job) && !strings.Contains(e.Message, "timeout of") {
		e.Message += ": " + s.whoseTime(def) + " is over"
	}
	a.EndedAt, a.Trigger = s.now, s.trigger
	a.Error = &event.RunError{Code: e.Code, Message: e.Message, Data: e.Data, Job: def.ID}
	a.Response, a.Output = nil, nil
	job.Error = a.Error

	tries := len(round(job))
	delay := max(pauseBefore(def.Retry, tries, event.InvocationID(s.run.ID, def.ID, a.Number+1)), e.After)
	due := s.now.Add(delay)
	if tries < def.Retry.MaxAttempts && !e.Permanent && due.Before(s.limit(def, job, distant)) {
		s.notify(event.Notice{Event: event.JobRetrying, Job: def.ID, Attempt: a.Number, Error: a.Error, RetryAt: due})
		if delay <= 0 {
			s.again(def)
			return
		}
		job.Status, job.RetryAt = event.StatusWaiting, due
		s.do(Sleep{Wait: s.retryTimer(def, job)})
		return
	}
	job.Status = event.StatusFailed
	s.endWaits(def, job)
	s.notify(event.Notice{Event: event.JobFailed, Job: def.ID, Attempt: a.Number, Error: a.Error})
	s.onError(def, job)
}

const forever = 100 * 365 * 24 * time.Hour

// distant is later than any deadline.
var distant = time.Unix(math.MaxInt32*1000, 0)

// pauseBefore is how long to wait before the next try, after so many. One that grows is up to a quarter longer than it would be, and
// the longest up to a quarter shorter: runs that have failed together do not come back together. next is the invocation's id.
func pauseBefore(r compose.Retry, tries int, next string) time.Duration {
	delay, longest := r.Delay, r.MaxDelay
	if r.Backoff == "exponential" {
		for range tries - 1 {
			if delay *= 2; delay > 24*time.Hour {
				break
			}
		}
		jitter := dice(next) / 4
		delay += time.Duration(jitter * float64(delay))
		longest -= time.Duration(jitter * float64(longest))
	}
	if longest > 0 {
		delay = min(delay, longest)
	}
	return delay
}

// onError does what the file says of a job that has failed for good.
func (s *step) onError(def *compose.Job, job *event.Job) {
	if s.itemFailed(def) {
		return
	}
	switch on := def.OnError; {
	case on.Ignore:
		job.Status, job.Output = event.StatusCompleted, nil
		s.settle(def.ID)
	case len(on.Jobs) > 0:
		s.route(on.Jobs[0])
	case on.To != "":
		if on.Output == nil || s.standIn(def, job) {
			s.route(on.To)
		}
	case on.Output != nil && s.standIn(def, job):
		job.Status = event.StatusCompleted
		s.settle(def.ID)
	}
}

// standIn gives a failed job the output that its on_error says.
func (s *step) standIn(def *compose.Job, job *event.Job) bool {
	failure, err := errorValue(job.Error)
	if err == nil {
		scope := s.scope()
		scope.Error, scope.Job, scope.Attempt = failure, def.ID, last(job).Number
		var v any
		if v, err = def.OnError.Output.Eval(scope); err == nil {
			job.Output, err = encoded(v)
		}
	}
	if err != nil {
		job.Error = &event.RunError{Code: CodeOutput, Message: "the output of on_error: " + err.Error(), Job: def.ID}
	}
	return err == nil
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

// settle goes on with what a job that is done belongs to: the items of a for-each, or the jobs of an on_error, of which
// the next one starts, and the last one's output stands for the failed job's.
func (s *step) settle(id string) {
	if s.itemDone(id) {
		return
	}
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
