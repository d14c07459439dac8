package engine

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// complete ends a run that has nothing left to do.
func (s *step) complete() {
	output, err := s.output()
	if err != nil {
		s.end(event.StatusFailed, &event.RunError{Code: CodeOutput, Message: err.Error()})
		return
	}
	s.run.Output = output
	s.end(event.StatusCompleted, nil)
}

// output is the workflow's output, or its terminal jobs': of several the objects overlaid in list order, by id
// when one is no object. In the workflow's, ${output} is that of the terminal jobs.
func (s *step) output() (json.RawMessage, error) {
	if s.workflow.Output == nil {
		return s.terminalOutput()
	}
	scope := s.scope()
	scope.InOutput = true
	for _, ref := range s.workflow.Output.References() {
		if ref.Source != "output" {
			continue
		}
		raw, err := s.terminalOutput()
		if err == nil {
			scope.Output, err = decoded(raw, nil)
		}
		if err != nil {
			return nil, err
		}
		break
	}
	output, err := eval(s.workflow.Output, scope)
	if err != nil {
		return nil, fmt.Errorf("the workflow's output: %w", err)
	}
	return output, nil
}

func (s *step) terminalOutput() (json.RawMessage, error) {
	inner := s.inner()
	var ids []string
	for _, def := range s.workflow.Jobs {
		if job := s.run.Jobs[def.ID]; job != nil && job.Status == event.StatusCompleted && !inner[def.ID] {
			ids = append(ids, def.ID)
		}
	}
	if len(ids) == 1 {
		return s.run.Jobs[ids[0]].Output, nil
	}
	merged, byID, objects := map[string]any{}, map[string]any{}, true
	for _, id := range ids {
		v, err := decoded(s.run.Jobs[id].Output, nil)
		if err != nil {
			return nil, fmt.Errorf("the output of job %s: %w", id, err)
		}
		byID[id] = v
		if m, ok := v.(map[string]any); ok {
			maps.Copy(merged, m)
		} else {
			objects = false
		}
	}
	switch {
	case len(ids) == 0:
		return nil, nil
	case objects:
		return encoded(merged)
	default:
		return encoded(byID)
	}
}

// inner are the jobs that are not terminal: others need them, they only route, or their output stands for another's.
func (s *step) inner() map[string]bool {
	inner := map[string]bool{}
	for _, def := range s.workflow.Jobs {
		for _, group := range def.Needs {
			for _, id := range group {
				inner[id] = true
			}
		}
		for _, id := range def.OnError.Jobs {
			inner[id] = true
		}
		if routes(def) {
			inner[def.ID] = true
		}
	}
	return inner
}

// end ends the run and all that is under way in it.
func (s *step) end(status event.Status, err *event.RunError) {
	s.changed, s.unshown = true, false
	for def := range s.defs(func(_ string, job *event.Job) bool { return !job.Status.Ended() }) {
		job := s.job(def.ID)
		never := job.Status == event.StatusPending
		job.Called = false
		job.Status = event.StatusCancelled
		if never {
			job.Status = event.StatusSkipped
			continue
		}
		s.letGo(def, job)
	}
	if status == event.StatusCompleted {
		for _, def := range s.workflow.Jobs {
			if s.run.Jobs[def.ID] == nil && !def.RoutedOnly {
				s.job(def.ID).Status = event.StatusSkipped
			}
		}
	}
	s.run.Status, s.run.Error, s.run.EndedAt, s.run.EndedBy = status, err, s.now, s.trigger
	n := event.Notice{Error: err}
	switch status {
	case event.StatusCompleted:
		n.Event, n.Output = event.RunCompleted, s.run.Output
	case event.StatusCancelled:
		n.Event = event.RunCancelled
	default:
		n.Event = event.RunFailed
	}
	s.notify(n)
	s.leave()
	s.hooks()
	s.do(Finish{})
}

// leave gives the run's turn back, or its place in the queue.
func (s *step) leave() {
	if s.run.Turn == nil {
		return
	}
	if s.run.Turn.GrantedAt.IsZero() {
		s.do(End{Wait: s.turnTimer()})
	}
	s.do(Release{Turn: *s.run.Turn})
}

// leaveEarlier gives back the turns before the run's last one: whoever asked for one of them may have died before it heard
// that it was not wanted any more.
func (s *step) leaveEarlier() {
	for n := 1; n < s.run.Turn.Number; n++ {
		earlier := *s.run.Turn
		earlier.Number = n
		s.do(Release{Turn: earlier})
	}
}

// ParentEnded is why a run is cancelled that another has asked for.
const ParentEnded = "the run that asked for it has ended"

// letGo ends an attempt that nobody wants any more, and what it has under way.
func (s *step) letGo(def *compose.Job, job *event.Job) {
	if a := last(job); a != nil {
		if a.EndedAt.IsZero() && a.Trigger != s.trigger {
			s.lookAgain()
		}
		a.Trigger = s.trigger
		if a.EndedAt.IsZero() {
			a.EndedAt = s.now
			if a.SubRun != "" {
				s.do(CancelRun{ID: a.SubRun, Reason: ParentEnded})
			}
		}
	}
	s.endWaits(def, job)
}
