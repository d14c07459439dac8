package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// ends tells whether an event only ends a run: for that its definition, which may be lost, is not needed.
func ends(ev Event) bool {
	switch ev.(type) {
	case Cancelled, Abandoned, Overgrown:
		return true
	default:
		return false
	}
}

// outline is a workflow with what is needed to end a run whose definition is not at hand.
func outline(run *event.Run) *compose.Workflow {
	w := &compose.Workflow{ID: run.Workflow}
	for _, id := range slices.Sorted(maps.Keys(run.Jobs)) {
		if each, i, ok := itemOf(id); ok && run.Jobs[each] != nil && i < run.Jobs[each].Items {
			continue
		}
		w.Jobs = append(w.Jobs, &compose.Job{ID: id, ForEach: &compose.ForEach{}})
	}
	return w
}

// CancelTrigger is what a run that was cancelled has been ended by.
const CancelTrigger = "cancel"

// CancelID is the id of the timer that makes sure that a run which was to be cancelled is, whoever dies: no job's timer can
// have it.
func CancelID(runID string) string { return runID + "..cancel" }

// LeftoverID is the id of the timer by which a run whose jobs were let go is looked at once more.
func LeftoverID(runID string) string { return runID + "..left" }

// lookAfter is when: another runner that was about to make a wait of a job that was let go has made it by then.
const lookAfter = 3 * time.Second

// lookAgain has the run looked at once more, for what another runner may be making just now.
func (s *step) lookAgain() {
	if s.looking {
		return
	}
	s.looking = true
	s.do(Sleep{Wait: event.Wait{ID: LeftoverID(s.run.ID), Run: s.run.ID, Since: s.now, Deadline: s.now.Add(lookAfter), Timer: true}})
}

func (s *step) cancel(ev Cancelled) {
	if ev.Again {
		s.leftover()
		return
	}
	if s.run.Status.Ended() || !ev.Asked.IsZero() && s.run.RetriedAt.After(ev.Asked) {
		s.repeat()
		return
	}
	message := ev.Reason
	if message == "" {
		message = "cancelled on request"
	}
	s.end(event.StatusCancelled, &event.RunError{Code: CodeCancelled, Message: message})
}

// leftover ends once more what jobs have waited for that were let go, also where they were tried again since: a runner that was about
// to make such a wait may have made it after it was ended.
func (s *step) leftover() {
	for def := range s.defs(func(string, *event.Job) bool { return true }) {
		job := s.run.Jobs[def.ID]
		if job.Status == event.StatusCancelled {
			s.endWaits(def, job)
			continue
		}
		for _, a := range job.Attempts {
			if !a.EndedAt.IsZero() && a.Error == nil && !resumed(a) { // it was let go, and the job was tried again since
				s.endWaitsOf(def, a)
			}
		}
	}
}

// endWaitsOf commands the end of every wait of one attempt.
func (s *step) endWaitsOf(def *compose.Job, a *event.Attempt) {
	for _, w := range waits(a) {
		s.do(End{Wait: event.Wait{ID: w.ID, Run: s.run.ID, Job: def.ID, Attempt: a.Number}, Used: w.Used})
	}
}

// resumed tells whether anything has come that an attempt waited for.
func resumed(a *event.Attempt) bool {
	for _, w := range waits(a) {
		if w.ResumedBy != nil {
			return true
		}
	}
	return false
}

// abandon ends a run that no runner could carry on.
func (s *step) abandon(ev Abandoned) {
	if s.run.Status.Ended() {
		s.repeat()
		return
	}
	s.end(event.StatusFailed, &event.RunError{Code: CodeGivenUp, Message: ev.Message})
}

// largest is what a value may have of a run that has become too large.
const largest = 16 << 10

// overgrown ends a run whose document cannot be kept, and takes out of it what is large.
func (s *step) overgrown(ev Overgrown) {
	if s.run.Status.Ended() {
		s.run.Status = event.StatusRunning // it has ended only here
	}
	for id := range s.run.Jobs {
		job := s.job(id)
		job.Input, job.Output, job.Progress = cut(job.Input), cut(job.Output), cut(job.Progress)
		for _, a := range job.Attempts {
			a.Response, a.Output = cut(a.Response), cut(a.Output)
			for _, w := range waits(a) {
				w.Results = nil
			}
			if a.Error != nil {
				e := *a.Error
				e.Data = cut(e.Data)
				a.Error = &e
			}
		}
		if job.Error != nil {
			e := *job.Error
			e.Data = cut(e.Data)
			job.Error = &e
		}
	}
	s.run.Input, s.run.Output = cut(s.run.Input), nil
	s.end(event.StatusFailed, &event.RunError{Code: CodeTooLarge, Message: ev.Message})
}

func cut(raw json.RawMessage) json.RawMessage {
	if len(raw) <= largest {
		return raw
	}
	return json.RawMessage(fmt.Sprintf(`"(%d bytes left out)"`, len(raw)))
}
