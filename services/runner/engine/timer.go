package engine

import (
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/value"
)

// timer gives the timer that a job waits for, if it does: the pause before its next attempt, the end of its delay, or
// the pause before its next poll. Each has an id of its own, so that one that rings late rings for nobody.
func (s *step) timer(def *compose.Job, job *event.Job) (event.Wait, bool) {
	a := last(job)
	if a == nil {
		return event.Wait{}, false
	}
	t := event.Wait{Run: s.run.ID, Job: def.ID, Attempt: a.Number, Since: since(a), Timer: true}
	id := event.InvocationID(s.run.ID, def.ID, a.Number)
	switch {
	case !job.RetryAt.IsZero():
		t.ID, t.Deadline = s.run.ID+"."+def.ID+".retry."+strconv.Itoa(a.Number+1), job.RetryAt
	case !a.Due.IsZero() && a.Polls > 0:
		t.ID, t.Deadline = id+".poll."+strconv.Itoa(a.Polls), a.Due
	case !a.Due.IsZero():
		t.ID, t.Deadline = id+".delay", a.Due
	default:
		return event.Wait{}, false
	}
	return t, true
}

// timed tells whether a job may wait for a timer.
func timed(job *event.Job) bool {
	a := last(job)
	return a != nil && (!job.RetryAt.IsZero() || !a.Due.IsZero())
}

func (s *step) retryTimer(def *compose.Job, job *event.Job) event.Wait {
	t, _ := s.timer(def, job)
	return t
}

// rang takes the ringing of a timer, and tells whether it was one that a job waits for.
func (s *step) rang(ev Expired) bool {
	for def := range s.defs(func(_ string, job *event.Job) bool { return job.Status == event.StatusWaiting && timed(job) }) {
		job := s.run.Jobs[def.ID]
		t, ok := s.timer(def, job)
		if !ok || t.ID != ev.ID {
			continue
		}
		if s.now.Before(t.Deadline) { // a long pause is woken on the way
			s.do(Sleep{Wait: t})
			return true
		}
		job = s.job(def.ID)
		a := last(job)
		switch {
		case !job.RetryAt.IsZero():
			s.again(def)
		case s.noTimeLeft(def, job):
			s.fail(def, job, Error{Code: CodeTimeout, Message: s.whoseTime(def) + " was over before the job was done", Permanent: true})
		case a.Polls > 0:
			a.Due, a.Trigger = time.Time{}, s.trigger
			job.Status = event.StatusRunning
			s.act(def)
		default:
			a.Due = time.Time{}
			s.done(def, job, nil)
		}
		return true
	}
	return false
}

// whoseTime names the timeout that leaves a job no time: its own, or the run's.
func (s *step) whoseTime(def *compose.Job) string {
	if t := s.workflow.Timeout; t > 0 && !s.begun().Add(t).After(s.now) {
		return "the run's timeout of " + t.String()
	}
	return "the job's timeout of " + def.Timeout.String()
}

// delay begins a job that waits for a time.
func (s *step) delay(def *compose.Job) error {
	if _, err := s.input(def); err != nil {
		return err
	}
	due, err := s.moment(def)
	if err != nil {
		return err
	}
	job := s.job(def.ID)
	if !due.After(s.now) {
		s.done(def, job, nil)
		return nil
	}
	last(job).Due = s.limit(def, job, due)
	job.Status = event.StatusWaiting
	t, _ := s.timer(def, job)
	s.notify(event.Notice{Event: event.JobWaiting, Job: def.ID, Attempt: t.Attempt, Wait: &event.WaitState{Since: t.Since, Deadline: t.Deadline}})
	s.do(Sleep{Wait: t})
	return nil
}

// moment is when a delay is over.
func (s *step) moment(def *compose.Job) (time.Time, error) {
	scope := s.inputScope(def)
	if t := def.Delay.Duration; t != nil {
		v, err := t.Eval(scope)
		if err != nil {
			return time.Time{}, fmt.Errorf("duration: %w", err)
		}
		d, err := compose.ParseDuration(value.Text(v))
		if err != nil {
			return time.Time{}, fmt.Errorf("the duration is %q, and not milliseconds or an amount with a unit, such as 30s or 2h", value.Text(v))
		}
		return s.now.Add(d), nil
	}
	v, err := def.Delay.Time.Eval(scope)
	if err != nil {
		return time.Time{}, fmt.Errorf("time: %w", err)
	}
	zone := def.Delay.Timezone
	if zone == nil {
		zone = time.UTC
	}
	return nextMoment(value.Text(v), zone, s.now)
}

// nextMoment reads a moment in a zone: a time of day means the next time that it is that late.
func nextMoment(text string, zone *time.Location, now time.Time) (time.Time, error) {
	t, clock, err := compose.ParseMoment(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("the time is %q, and not a moment such as 2030-01-31T08:00:00Z, 2030-01-31 08:00 or 08:00", text)
	}
	if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil // it names its zone
	}
	if !clock {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone), nil
	}
	day := now.In(zone)
	at := time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone)
	if !at.After(now) {
		at = time.Date(day.Year(), day.Month(), day.Day()+1, t.Hour(), t.Minute(), t.Second(), 0, zone)
	}
	return at, nil
}

// pause makes the last attempt at a job wait before it asks how far the service is.
func (s *step) pause(def *compose.Job, job *event.Job, after time.Duration) {
	a := last(job)
	interval := 5 * time.Second
	limit := DefaultTimeout
	if action := s.action(def); action != nil {
		if p := action.Completion.Polling; p != nil && p.Interval > 0 {
			interval = p.Interval
		}
		if action.Completion.Timeout > 0 {
			limit = action.Completion.Timeout
		} else if action.Timeout > 0 {
			limit = action.Timeout
		}
	}
	deadline := s.limit(def, job, a.StartedAt.Add(limit))
	if !s.now.Before(deadline) {
		s.fail(def, job, Error{
			Code: CodeTimeout, Permanent: s.noTimeLeft(def, job),
			Message: "the service was not done by " + shown(deadline) + lastAsked(a),
		})
		return
	}
	a.Polls++
	a.Due = earlier(s.now.Add(max(interval, after)), deadline)
	job.Status = event.StatusWaiting
	t, _ := s.timer(def, job)
	s.do(Sleep{Wait: t})
}

// lastAsked says why the last poll brought nothing, where it went wrong: a service that was never reached was not slow.
func lastAsked(a *event.Attempt) string {
	if len(a.Requests) == 0 {
		return ""
	}
	switch r := a.Requests[len(a.Requests)-1]; {
	case r.Error != "":
		return "; when it was last asked: " + r.Error
	case r.Status >= 400:
		return fmt.Sprintf("; when it was last asked, %s %s answered %d", r.Method, r.URL, r.Status)
	default:
		return ""
	}
}

// polled takes what a poll has brought.
func (s *step) polled(def *compose.Job, job *event.Job, ev Acted) {
	a := last(job)
	switch {
	case ev.Err != nil:
		s.fail(def, job, *ev.Err)
	case ev.Pending:
		if string(job.Progress) != string(ev.Output) {
			job.Progress = ev.Output
			s.notify(event.Notice{Event: event.JobProgress, Job: def.ID, Attempt: a.Number, Progress: job.Progress})
		}
		s.pause(def, job, ev.After)
	default:
		s.succeeded(def, job, a, ev.Output)
	}
}
