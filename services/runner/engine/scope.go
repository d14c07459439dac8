package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Scope is what a job's templates may refer to, at one moment of the run. It is not changed by later events.
type Scope struct {
	Run      *event.Run
	Job      string     // whose invocation's id is ${listener.id}
	Attempt  int        // at it
	Previous string     // the job before in the list: ${output} of an input
	Output   any        // ${output} of an output
	Error    any        // ${error}
	InOutput bool       // Output is set, also to null
	At       time.Time  // ${context.timestamp}
	Static   expr.Scope // env, gateway, listener: what does not belong to the run

	Each   string // the for-each that ${item} and ${index} are of
	Index  int
	Item   any  // ${item} of a filter
	OfItem bool // Item is set, also to null
	Lists  *Lists
}

// Default is the input of a job that names none: the item's, or the workflow's.
func (s Scope) Default() (any, error) {
	if s.Each != "" {
		return s.item(nil)
	}
	return decoded(s.Run.Input, nil)
}

func (s Scope) item(path expr.Path) (any, error) {
	if s.OfItem {
		return expr.Walk(s.Item, path), nil
	}
	job := s.Run.Jobs[s.Each]
	if job == nil {
		return nil, nil
	}
	items, err := s.Lists.of(job.Input)
	if err != nil || s.Index >= len(items) {
		return nil, err
	}
	return expr.Walk(items[s.Index], path), nil
}

// Resolve gives the value that a reference names.
func (s Scope) Resolve(ref *expr.Reference) (any, error) {
	switch ref.Source {
	case "input":
		return decoded(s.Run.Input, ref.Path)
	case "output":
		if s.InOutput {
			return expr.Walk(s.Output, ref.Path), nil
		}
		if job := s.Run.Jobs[s.Previous]; job != nil {
			return decoded(job.Output, ref.Path)
		}
		return nil, nil
	case "error":
		return expr.Walk(s.Error, ref.Path), nil
	case "item":
		return s.item(ref.Path)
	case "index":
		return int64(s.Index), nil
	case "jobs":
		return s.job(ref.Path)
	case "listener":
		if len(ref.Path) == 1 && ref.Path[0].Name == "id" && s.Job != "" {
			return event.InvocationID(s.Run.ID, s.Job, s.Attempt), nil
		}
	case "context":
		return expr.Walk(map[string]any{
			"run_id":    s.Run.ID,
			"workflow":  s.Run.Workflow,
			"timestamp": s.At.UTC().Format(time.RFC3339Nano),
		}, ref.Path), nil
	}
	if s.Static == nil {
		return nil, fmt.Errorf("%s is not known here", ref.Source)
	}
	return s.Static.Resolve(ref)
}

// job resolves ${jobs.X…} without decoding the other jobs.
func (s Scope) job(path expr.Path) (any, error) {
	if len(path) == 0 {
		all := make(map[string]any, len(s.Run.Jobs))
		for id, job := range s.Run.Jobs {
			v, err := jobValue(job)
			if err != nil {
				return nil, fmt.Errorf("read job %s: %w", id, err)
			}
			all[id] = v
		}
		return all, nil
	}
	job := s.Run.Jobs[path[0].Name]
	if job == nil {
		return nil, nil
	}
	if len(path) > 1 && path[1].Name == "output" {
		return decoded(job.Output, path[2:])
	}
	v, err := jobValue(job)
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", path[0].Name, err)
	}
	return expr.Walk(v, path[1:]), nil
}

func jobValue(job *event.Job) (any, error) {
	output, err := decoded(job.Output, nil)
	if err != nil {
		return nil, err
	}
	input, err := decoded(job.Input, nil)
	if err != nil {
		return nil, err
	}
	v := map[string]any{"status": string(job.Status), "output": output, "input": input, "attempts": int64(len(job.Attempts))}
	if job.Error != nil {
		if v["error"], err = errorValue(job.Error); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// errorValue is ${error}.
func errorValue(e *event.RunError) (any, error) {
	data, err := decoded(e.Data, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"message": e.Message, "code": e.Code, "job": e.Job, "data": data}, nil
}

func decoded(raw json.RawMessage, path expr.Path) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := value.Decode(raw)
	if err != nil {
		return nil, err
	}
	return expr.Walk(v, path), nil
}

// encoded is the inverse of decoded; null is written as nothing.
func encoded(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	return value.Encode(v)
}

// overlay puts a callback's result over a component's output: both objects are merged, else the result wins.
func overlay(output, result any) any {
	o, ok := output.(map[string]any)
	r, ok2 := result.(map[string]any)
	if !ok || !ok2 {
		if result == nil {
			return output
		}
		return result
	}
	merged := make(map[string]any, len(o)+len(r))
	maps.Copy(merged, o)
	maps.Copy(merged, r)
	return merged
}

// ActionScope is what a component's templates may refer to.
type ActionScope struct {
	Invocation string // ${context.run_id} and ${listener.id}
	Run        string
	Workflow   string
	Job        string
	Attempt    int
	Input      any
	Response   any
	Result     any
	At         time.Time
	Static     expr.Scope // env, gateway, listener
}

// Resolve gives the value that a reference names.
func (s ActionScope) Resolve(ref *expr.Reference) (any, error) {
	switch ref.Source {
	case "input":
		return expr.Walk(s.Input, ref.Path), nil
	case "response":
		return expr.Walk(s.Response, ref.Path), nil
	case "result":
		return expr.Walk(s.Result, ref.Path), nil
	case "context":
		if len(ref.Path) == 1 && ref.Path[0].Name == "run_id" {
			return s.Invocation, nil
		}
		return expr.Walk(map[string]any{
			"run_id": s.Invocation, "run": s.Run, "workflow": s.Workflow, "job": s.Job,
			"attempt": int64(s.Attempt), "timestamp": s.At.UTC().Format(time.RFC3339Nano),
		}, ref.Path), nil
	case "listener":
		if len(ref.Path) == 1 && ref.Path[0].Name == "id" {
			return s.Invocation, nil
		}
	}
	if s.Static == nil {
		return nil, fmt.Errorf("%s is not known here", ref.Source)
	}
	return s.Static.Resolve(ref)
}
