package engine

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// errDeep ends runs that begin each other without end: each one's id holds that of the one before.
var errDeep = fmt.Errorf("this run has been begun by a run, that one by another, and so on, until the id of the next one would have more than %d bytes: "+
	"do workflows run each other without end?", subject.MaxRunID)

// subRun asks for a run of another workflow, and waits for its end as for a callback.
func (s *step) subRun(def *compose.Job) error {
	if _, err := s.input(def); err != nil {
		return err
	}
	job := s.job(def.ID)
	a := last(job)
	id := event.InvocationID(s.run.ID, def.ID, a.Number)
	a.SubRun = id + ".run"
	if subject.Long(a.SubRun, subject.MaxRunID) {
		return errDeep
	}
	s.await(def, job, Wait{ID: id})
	s.spawn(def, job)
	return nil
}

// spawn commands the run that the last attempt waits for.
func (s *step) spawn(def *compose.Job, job *event.Job) {
	a := last(job)
	s.do(StartRun{
		ID: a.SubRun, Workflow: def.Workflow, Input: job.Input, Parent: event.InvocationID(s.run.ID, def.ID, a.Number), Definition: s.run.Definition,
	})
}

// hooks asks for the workflows that are to run after this one.
func (s *step) hooks() {
	hook, name := s.workflow.OnSuccess, "on-success"
	if s.run.Status != event.StatusCompleted {
		hook, name = s.workflow.OnFailure, "on-failure"
	}
	if hook == nil || s.run.Status == event.StatusCancelled {
		return
	}
	input, err := s.hookInput(hook)
	if err != nil {
		s.run.Error = &event.RunError{Code: CodeExpression, Message: "the input of " + name + ": " + err.Error()}
		return
	}
	id := s.run.ID + "." + name
	if by, ok := strings.CutPrefix(s.run.RetriedBy, "request:"); ok && !s.run.RetriedAt.IsZero() {
		id += "." + by // it has ended before, and each end has its own
	}
	if subject.Long(id, subject.MaxRunID) {
		s.run.Error = &event.RunError{Code: CodeExpression, Message: name + ": " + errDeep.Error()}
		return
	}
	s.do(StartRun{ID: id, Workflow: hook.Workflow, Input: input, Definition: s.run.Definition})
}

func (s *step) hookInput(hook *compose.Hook) (json.RawMessage, error) {
	if hook.Input == nil {
		return json.Marshal(s.run)
	}
	scope := s.scope()
	scope.InOutput = true
	var err error
	if scope.Output, err = decoded(s.run.Output, nil); err != nil {
		return nil, err
	}
	if s.run.Error != nil {
		if scope.Error, err = errorValue(s.run.Error); err != nil {
			return nil, err
		}
	}
	return eval(hook.Input, scope)
}

func eval(t *expr.Template, scope expr.Scope) (json.RawMessage, error) {
	v, err := t.Eval(scope)
	if err != nil {
		return nil, err
	}
	return encoded(v)
}
