// Package replay maps the record of a request once more, as today's compose file says.
package replay

import (
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

// Options say how to map.
type Options struct {
	Document *compose.Document
	Getenv   func(name string) (string, bool) // for ${env.X}
	// ID, when not empty, stands for what identify_by gives.
	ID string
	// Item, when not nil, is the only item that is wanted, counted from 0 as listed.
	Item *int
	// Force maps what was refused for its sender as well, and what the record holds no more is *** then.
	Force bool
}

// Replay is what a request gives today.
type Replay struct {
	Listener string
	Endpoint string // its path as in the file
	Method   string
	Trigger  bool
	Items    []Item
}

// Item is a callback, a run request, or why there is neither.
type Item struct {
	Callback *event.Callback
	Run      *event.RunRequest // without a run id
	Err      error
}

// Map maps a recorded request. Its signature is not verified again: the record holds no secrets, and whoever replays has
// looked at it. The errors are faults with what to do about them.
func Map(r *event.Received, o Options) (*Replay, error) {
	if err := usable(r, o.Force); err != nil {
		return nil, err
	}
	l := o.Document.Listener(r.Listener)
	if l == nil {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("the file has no listener %s, which took request %d", r.Listener, r.Seq), "name the right file with -f")
	}
	request := &ingress.Request{
		ID: r.ID, Method: r.Method, Path: r.Path, Query: r.Query, Header: header(r.Header), ReceivedAt: r.At, Body: r.Body,
		MaxBody: max(l.MaxBodySize, int64(len(r.Body))), Env: o.Getenv, Remote: r.Remote,
	}
	e, err := choose(l, request, o.ID)
	if err != nil {
		return nil, err
	}
	if lost := e.lost(r); len(lost) > 0 && !o.Force {
		return nil, fault.New(fault.Conflict, fmt.Sprintf("the endpoint reads %s, which is secret and was not recorded", strings.Join(lost, ", ")),
			"have the sender send it again; --force maps it with *** in its place")
	}
	out := &Replay{Listener: l.ID, Endpoint: e.Path, Method: e.Method, Trigger: e.Trigger != nil}
	if out.Items, err = e.items(request); err != nil {
		return nil, fmt.Errorf("map request %d: %w", r.Seq, err)
	}
	switch {
	case len(out.Items) == 0 && e.Ignores():
		return nil, fault.New(fault.Conflict, fmt.Sprintf("the endpoint ignores request %d", r.Seq), "change its ignore; --id ID gives a callback to whoever waits for ID all the same")
	case o.Item != nil && (*o.Item < 0 || *o.Item >= len(out.Items)):
		return nil, fault.New(fault.NotFound, fmt.Sprintf("the request gives %d items: there is no item %d", len(out.Items), *o.Item), "items are counted from 0")
	case o.Item != nil:
		out.Items = out.Items[*o.Item:][:1]
	case o.ID != "" && len(out.Items) > 1:
		return nil, fault.New(fault.Usage, fmt.Sprintf("the request gives %d items: one id cannot stand for all of them", len(out.Items)), "choose one with --item N, counted from 0")
	}
	if o.ID != "" && out.Trigger {
		return nil, fault.New(fault.Usage, "the request starts a run, and no run waits for it: it has no id to be replaced", "leave --id out")
	}
	return out, nil
}

// usable tells whether the record holds what is needed, and may be mapped at all.
func usable(r *event.Received, force bool) error {
	switch {
	case r.Cut && len(r.Body) == 0:
		return fault.New(fault.Conflict, fmt.Sprintf("the body of request %d was not recorded", r.Seq),
			"it was larger than max_body_size, or the listener says record: headers; give the result by hand with `switchback callbacks send ID JSON`")
	case r.Cut:
		return fault.New(fault.Conflict, fmt.Sprintf("of the body of request %d only the first %d of %d bytes were recorded", r.Seq, len(r.Body), r.BodySize),
			"have the sender send it again, or give the result by hand with `switchback callbacks send ID @FILE`")
	case r.Verdict == "handshake":
		return fault.New(fault.Conflict, fmt.Sprintf("request %d was a handshake: there is nothing to publish", r.Seq), "")
	case (r.Verdict == string(fault.Unauthorized) || r.Verdict == string(fault.Forbidden)) && !force:
		return fault.New(fault.Conflict, fmt.Sprintf("request %d was refused (%s): %s", r.Seq, r.Verdict, r.Error),
			"whoever sent it could not prove who they are, and a replay does not ask again; --force trusts the request as it lies there")
	default:
		return nil
	}
}

// endpoint is an endpoint of today's file with the templates that it maps by.
type endpoint struct {
	*ingress.Endpoint
	templates []*expr.Template
}

// choose finds the endpoint that takes the request today.
func choose(l *compose.Listener, r *ingress.Request, id string) (*endpoint, error) {
	var order []*ingress.Endpoint
	all := map[*ingress.Endpoint]*endpoint{}
	add := func(e *ingress.Endpoint, templates ...*expr.Template) {
		order = append(order, e)
		all[e] = &endpoint{Endpoint: e, templates: templates}
	}
	for _, c := range l.Callbacks {
		own := *c
		own.DedupeBy = nil // a replay is a delivery of its own
		if id != "" {
			own.IdentifyBy, own.Ignore = expr.Literal(id), nil
		}
		add(ingress.NewCallback(l.ID, &own), own.When, own.Ignore, own.Item, own.IdentifyBy, own.Status, own.Result, own.Progress, own.Error)
	}
	for _, t := range l.Triggers {
		own := *t
		own.DedupeBy = nil
		add(ingress.NewTrigger(l.ID, &own), own.When, own.Ignore, own.Item, own.Workflow, own.Input)
	}
	m := ingress.NewRouter(order).Match(r.Method, r.Path, nil)
	r.Params = m.Params
	for _, candidate := range m.Endpoints {
		takes, err := candidate.Takes(r)
		if err != nil {
			return nil, fmt.Errorf("map the request: %w", err)
		}
		if takes {
			return all[candidate], nil
		}
	}
	what := "no endpoint of listener " + l.ID + " takes " + r.Method + " " + r.Path + " in this file"
	if len(m.Endpoints) > 0 {
		what = "no endpoint at " + r.Path + " takes this request: none of their conditions (when) holds for it"
	}
	return nil, fault.New(fault.NotFound, what, "name the right file with -f, or give the result by hand with `switchback callbacks send ID JSON`")
}

// lost lists what the endpoint reads of what was masked in the record.
func (e *endpoint) lost(r *event.Received) []string {
	var lost []string
	for _, t := range e.templates {
		if t == nil {
			continue
		}
		for _, ref := range t.References() {
			if ref.Source != "header" && ref.Source != "query" {
				continue
			}
			for _, masked := range r.Masked {
				name, query := strings.CutPrefix(masked, "?")
				if plain, err := url.QueryUnescape(name); query && err == nil {
					name = plain
				}
				if query != (ref.Source == "query") || len(ref.Path) > 0 && !strings.EqualFold(ref.Path[0].Name, name) {
					continue
				}
				if what := ref.Source + " " + name; !slices.Contains(lost, what) {
					lost = append(lost, what)
				}
			}
		}
	}
	return lost
}

// items maps the request.
func (e *endpoint) items(r *ingress.Request) ([]Item, error) {
	var items []Item
	if e.Trigger != nil {
		runs, err := e.Runs(r)
		if err != nil {
			return nil, err
		}
		for i := range runs {
			items = append(items, Item{Run: &runs[i].Request, Err: runs[i].Err})
		}
		return items, nil
	}
	callbacks, err := e.Callbacks(r, nil)
	if err != nil {
		return nil, err
	}
	for i := range callbacks {
		callbacks[i].Callback.DeliveryID = "" // the sender's own: by it the replay would be taken for the first delivery
		items = append(items, Item{Callback: &callbacks[i].Callback, Err: callbacks[i].Err})
	}
	return items, nil
}

// header is a recorded header.
type header map[string][]string

// PeekAll gives the values of one name.
func (h header) PeekAll(name string) [][]byte {
	var found [][]byte
	for key, values := range h {
		if !strings.EqualFold(key, name) {
			continue
		}
		for _, v := range values {
			found = append(found, []byte(v))
		}
	}
	return found
}

// All gives every name and value.
func (h header) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for key, values := range h {
			for _, v := range values {
				if !yield([]byte(key), []byte(v)) {
					return
				}
			}
		}
	}
}
