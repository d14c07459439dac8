package ingress

import (
	"fmt"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Endpoint is one callback or trigger of a compose file, ready to be matched against requests.
type Endpoint struct {
	Path   string
	Method string
	// Callback or Trigger is what it was made of; the other is nil.
	Callback *compose.Callback
	Trigger  *compose.Trigger

	scope string // tells its delivery ids from those of other endpoints
	when  *projection
	// ignore is true for what is answered as all else, and is not for us.
	ignore *projection
	bulk   bool
	item   *projection

	dedupe *projection

	identify, status, result, progress, failure *projection // of a callback

	workflow, input *projection // of a trigger
}

// NewCallback compiles a callback of the listener with the id.
func NewCallback(listener string, c *compose.Callback) *Endpoint {
	return &Endpoint{
		Path: c.Path, Method: c.Method, Callback: c, scope: listener + " " + c.Method + " " + c.Path,
		when: newProjection(c.When), ignore: newProjection(c.Ignore), bulk: c.Bulk, item: newProjection(c.Item),
		identify: newProjection(c.IdentifyBy), status: newProjection(c.Status).expecting(c.SuccessWhen, c.FailWhen), result: newProjection(c.Result),
		progress: newProjection(c.Progress), failure: newProjection(c.Error), dedupe: newProjection(c.DedupeBy),
	}
}

// NewTrigger compiles a trigger of the listener with the id.
func NewTrigger(listener string, t *compose.Trigger) *Endpoint {
	workflow := t.Workflow
	if workflow == nil {
		workflow = expr.Literal(compose.DefaultID("workflow"))
	}
	return &Endpoint{
		Path: t.Path, Method: t.Method, Trigger: t, scope: listener + " " + t.Method + " " + t.Path,
		when: newProjection(t.When), ignore: newProjection(t.Ignore), bulk: t.Bulk, item: newProjection(t.Item),
		dedupe: newProjection(t.DedupeBy), workflow: newProjection(workflow), input: newProjection(t.Input),
	}
}

// Takes tells whether the endpoint's when, if it has one, holds for the request.
func (e *Endpoint) Takes(r *Request) (bool, error) {
	if e.when == nil {
		return true, nil
	}
	if err := r.Read(); err != nil {
		return false, err
	}
	return e.when.holds(r, "when")
}

// Ignores tells whether the endpoint has an ignore.
func (e *Endpoint) Ignores() bool { return e.ignore != nil }

// ignores tells whether the request, or the item of it, is not for us.
func (e *Endpoint) ignores(r *Request) (bool, error) {
	if e.ignore == nil {
		return false, nil
	}
	return e.ignore.holds(r, "ignore")
}

// holds evaluates the condition of a field.
func (p *projection) holds(r *Request, field string) (bool, error) {
	v, err := p.value(r)
	if err != nil {
		return false, unusable(field, err)
	}
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	default:
		t := value.Text(v)
		return t != "" && t != "0" && t != "false", nil
	}
}

// maxItems bounds the items of one request.
const maxItems = 10_000

// items calls f for each item of the request: all elements in bulk, else the one. While f runs, ${item} is that item.
func (e *Endpoint) items(r *Request, f func(i int)) error {
	if err := r.Read(); err != nil {
		return err
	}
	defer func() { r.item = item{} }()
	switch {
	case !e.bulk && e.item == nil:
		f(0)
		return nil
	case !e.bulk:
		narrowed, err := e.narrow(r)
		if err != nil {
			return err
		}
		r.item = narrowed
		f(0)
		return nil
	}
	list := item{isRaw: true}
	if e.item != nil {
		var err error
		if list, err = e.narrow(r); err != nil {
			return err
		}
	} else if raw, ok := r.body.raw(nil); ok {
		list.raw = raw
	} else {
		list = item{value: nil}
	}
	return e.each(r, list, f)
}

// narrow evaluates item:.
func (e *Endpoint) narrow(r *Request) (item, error) {
	if e.item.kind == projectCopy {
		if raw, ok := r.raw(e.item.ref); ok {
			return item{set: true, isRaw: true, raw: raw}, nil
		}
	}
	v, err := e.item.value(r)
	if err != nil {
		return item{}, unusable("item", err)
	}
	return item{set: true, value: v}, nil
}

func (e *Endpoint) each(r *Request, list item, f func(i int)) error {
	n := 0
	if list.isRaw {
		if len(list.raw) == 0 || list.raw[0] != '[' {
			return e.noList(r)
		}
		for raw := range list.raw.Elements() {
			if n == maxItems {
				return tooMany()
			}
			r.item = item{set: true, isRaw: true, raw: raw}
			f(n)
			n++
		}
		return nil
	}
	values, ok := list.value.([]any)
	if !ok {
		return e.noList(r)
	}
	if len(values) > maxItems {
		return tooMany()
	}
	for i, v := range values {
		r.item = item{set: true, value: v}
		f(i)
	}
	return nil
}

func (e *Endpoint) noList(r *Request) error {
	what := "the body"
	if e.item != nil {
		what = "item: " + written(e.item.template)
	}
	hint := r.jsonHint()
	if hint == "" {
		hint = "this endpoint is bulk: send a list there"
	}
	return fault.New(fault.Unusable, what+" gives no list", hint)
}

func tooMany() error {
	return fault.New(fault.TooLarge, fmt.Sprintf("more than %d items in one request", maxItems), "send fewer at once")
}

// unusable is a template that could not be evaluated over this request.
func unusable(field string, err error) error {
	if code := fault.CodeOf(err); code == fault.Invalid || code == fault.TooLarge {
		return err // of the body
	}
	return fault.Wrap(err, fault.Unusable, field+" cannot be evaluated over this request", "")
}

// written gives a template as it stands in the file, for messages.
func written(t *expr.Template) string {
	if s, ok := t.Source().(string); ok {
		return s
	}
	return value.Text(t.Source())
}
