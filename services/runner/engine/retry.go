package engine

import (
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// retry makes an ended run go on: what has completed stays, the rest is run again.
func (s *step) retry(ev Retried) {
	switch {
	case s.retriedSince(ev):
		s.repeat()
		return
	case !s.run.Status.Ended():
		// It goes already. That is noted, for another runner may have the same message, and come to it after the run's next end.
		s.changed, s.run.RetriedBy = true, s.trigger
		return
	case s.run.Status != event.StatusFailed && s.run.Status != event.StatusCancelled:
		return
	}
	s.changed = true
	s.run.Status, s.run.Error, s.run.EndedBy, s.run.RetriedBy = event.StatusRunning, nil, "", s.trigger
	s.run.EndedAt, s.run.RetriedAt = time.Time{}, s.now
	if s.run.StartedAt.IsZero() && s.run.Turn == nil && !s.checkInput() {
		return
	}
	if s.workflow.Concurrency != nil {
		s.enqueue(ev.Request)
		return
	}
	if s.run.StartedAt.IsZero() {
		s.run.StartedAt = s.now
		s.notify(event.Notice{Event: event.RunStarted})
	}
	s.goOn()
}

// retriedSince tells whether a request to try the run again has been dealt with, or a later one has. One that was asked for after the
// run went on last, and has ended, is neither, whatever its number: where the stream of requests was made anew, numbers begin again.
func (s *step) retriedSince(ev Retried) bool {
	if s.run.Status.Ended() && ev.Asked.After(s.run.RetriedAt) && ev.Asked.After(s.run.EndedAt) {
		return false
	}
	var last uint64
	_, err := fmt.Sscanf(s.run.RetriedBy, "request:%d", &last)
	return s.run.RetriedBy == s.trigger || err == nil && last > ev.Request
}

// checkInput does for a run that was given up before it began what is done of others before.
func (s *step) checkInput() (ok bool) {
	input, err := CheckInput(s.workflow, s.run.Input)
	if err != nil {
		s.end(event.StatusFailed, &event.RunError{Code: CodeInput, Message: err.Error()})
		return false
	}
	s.run.Input = input
	return true
}

// goOn begins again with the jobs that did not complete.
func (s *step) goOn() {
	var called []*compose.Job
	for _, def := range s.workflow.Jobs {
		job := s.run.Jobs[def.ID]
		if job == nil || job.Status == event.StatusCompleted || job.Status == event.StatusFailed && s.handled(def) {
			continue
		}
		if job.Items > 0 {
			s.retryItems(def)
			continue
		}
		job = s.job(def.ID)
		job.Status, job.Error, job.RetryAt, job.Round = event.StatusPending, nil, time.Time{}, 0
		if def.RoutedOnly {
			called = append(called, def) // it had been routed to
		}
	}
	for _, def := range called {
		s.call(def)
	}
}
