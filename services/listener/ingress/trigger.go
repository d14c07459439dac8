package ingress

import (
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener/ingress/rawjson"
)

// RunItem is one run that a request asks for, or why there is none. Its Input may refer to the request's body.
type RunItem struct {
	Request event.RunRequest // without a run id; MsgID only where dedupe_by gives one
	Err     error            // a fault.Unusable or fault.TooLarge
}

// Runs maps a request to run requests. The error is the whole request's, and what is ignored gives none, as in Callbacks.
func (e *Endpoint) Runs(r *Request) ([]RunItem, error) {
	var items []RunItem
	budget := maxMapped * r.MaxBody
	err := e.items(r, func(i int) {
		ignored, err := e.ignores(r)
		if ignored {
			return
		}
		it := RunItem{Err: err}
		if err == nil {
			it = e.run(r, i)
		}
		if budget -= int64(len(it.Request.Input)); budget < 0 && it.Err == nil {
			it.Err = fault.New(fault.TooLarge, "the inputs of this request are too large together", "send fewer items at once")
		}
		items = append(items, it)
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (e *Endpoint) run(r *Request, i int) RunItem {
	it := RunItem{Request: event.RunRequest{Trace: r.Trace}}
	name, err := e.workflow.scalar(r)
	switch {
	case err != nil:
		it.Err = unusable("workflow", err)
		return it
	case name.text == "" || name.composite || subject.Long(name.text, subject.MaxID):
		it.Err = fault.New(fault.Unusable, "no workflow: "+written(e.workflow.template)+" names none", "")
		return it
	}
	it.Request.Workflow = name.text
	if it.Request.Input, it.Err = e.runInput(r); it.Err != nil {
		return it
	}
	it.Request.MsgID, it.Err = e.delivery(r, "", i)
	return it
}

func (e *Endpoint) runInput(r *Request) ([]byte, error) {
	var text []byte
	var err error
	if e.input != nil {
		text, err = e.input.toJSON(r)
	} else {
		text, err = r.whole()
	}
	switch {
	case err != nil:
		return nil, unusable("input", err)
	case len(text) == 0 || string(text) == "null":
		return nil, nil
	case rawjson.Value(text).Kind() != rawjson.Object:
		hint := r.jsonHint()
		if hint == "" {
			hint = "send an object, or make one of it with the trigger's input"
		}
		return nil, fault.New(fault.Unusable, "the input of a run is an object, and this is none", hint)
	default:
		return text, nil
	}
}
