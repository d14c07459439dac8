package compose

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// waiting resolves how every action's invocation ends.
func (d *decoder) waiting(doc *Document) {
	for _, id := range slices.Sorted(maps.Keys(doc.Components)) {
		c := doc.Components[id]
		for _, action := range slices.Sorted(maps.Keys(c.Actions)) {
			d.complete(doc, c.Actions[action])
		}
	}
}

// sent gives the references of an action's request.
func (a *Action) sent() []expr.Reference {
	var refs []expr.Reference
	for _, t := range []*expr.Template{
		a.URL, a.Method, a.Headers, a.Params, a.Body, a.Subject, a.Command, a.Env, a.Stdin, a.WorkingDir,
	} {
		if t != nil {
			refs = append(refs, t.References()...)
		}
	}
	return refs
}

// complete resolves an action's completion. One that is not written down is a callback where the request hands out
// the listener's address or id.
func (d *decoder) complete(doc *Document, a *Action) {
	c := &a.Completion
	refs := a.sent()
	endpoint, handedOut := doc.handedOut(refs)
	ownID := slices.ContainsFunc(refs, isOwnID)
	switch {
	case c.Kind == "" && a.Type != Logger && (handedOut || slices.ContainsFunc(refs, isListenerID)):
		c.Kind, c.Implied, c.AcceptEarly = CompleteCallback, true, "run"
	case c.Kind == "":
		c.Kind = CompleteNow
		return
	case c.Kind != CompleteCallback:
		return
	case c.WaitFor != nil:
		if refs := c.WaitFor.References(); len(refs) == 1 && isOwnID(refs[0]) {
			s, ok := c.WaitFor.Source().(string)
			c.OwnID = ok && strings.TrimSpace(s) == "${"+refs[0].Text+"}"
		}
		return
	}
	if ownID {
		c.OwnID = true
		return
	}
	if endpoint == nil {
		if l := doc.Listener(""); l != nil && len(l.Callbacks) > 0 {
			endpoint = l.Callbacks[0]
		}
	}
	if endpoint == nil || endpoint.IdentifyBy == nil {
		return // DefaultCallbackID
	}
	if !answered(endpoint.IdentifyBy, refs) {
		n := d.placed[a]
		d.wrongf(n, "send ${listener.id}, or write completion: {type: callback, wait_for: …}",
			"it is not known which id this waits for: identify_by of %s reads no field that the response could hold", endpoint.Path)
		return
	}
	c.IdentifyBy = endpoint.IdentifyBy
}

// answered tells whether the response to a request with refs may hold the id that callbacks have: it names it as their
// body does, or as their query does, unless that query is one that we have written.
func answered(identifyBy *expr.Template, refs []expr.Reference) bool {
	return mentions(identifyBy, "body") || mentions(identifyBy, "item") ||
		mentions(identifyBy, "query") && !slices.ContainsFunc(refs, withQuery)
}

// withQuery tells whether a reference is the beginning of an address of ours that has a query.
func withQuery(r expr.Reference) bool {
	path, _, ok := strings.Cut(r.Follow, "?")
	return ok && (r.Source == "listener" || r.Source == "gateway") && !strings.ContainsAny(path, " \t\r\n")
}

func isListenerID(r expr.Reference) bool {
	return r.Source == "listener" && len(r.Path) == 1 && r.Path[0].Name == "id"
}

// isOwnID tells whether a reference is the invocation's own id.
func isOwnID(r expr.Reference) bool {
	return isListenerID(r) || r.Source == "context" && len(r.Path) == 1 && r.Path[0].Name == "run_id"
}

// handedOut tells whether a request holds the address of a callback, and of which one.
func (d *Document) handedOut(refs []expr.Reference) (*Callback, bool) {
	for _, r := range refs {
		if len(r.Path) != 1 {
			continue
		}
		switch name := r.Path[0].Name; {
		case r.Source == "listener" && name == "url":
			if l := d.Listener(r.Arg); l != nil && len(l.Callbacks) > 0 {
				return l.Callbacks[0], true
			}
			if r.Arg == "" {
				return nil, true // a fragment: its listener is missing
			}
		case r.Source == "listener" && name == "base_url":
			if l := d.Listener(r.Arg); l != nil {
				if c := l.callbackAt(r.Follow); c != nil {
					return c, true
				}
			}
		case r.Source == "gateway" && name == "public_url":
			port, err := strconv.Atoi(r.Arg)
			if err != nil {
				continue
			}
			for _, l := range d.Listeners {
				if c := l.callbackAt(r.Follow); l.Port == port && c != nil {
					return c, true
				}
			}
		}
	}
	return nil, false
}

// callbackAt gives the callback whose address is the text that follows the listener's.
func (l *Listener) callbackAt(follow string) *Callback {
	if i := strings.IndexAny(follow, "?# \t\r\n\"'`,;)>]}\\"); i >= 0 {
		follow = follow[:i]
	}
	if follow == "" {
		follow = "/"
	}
	for _, c := range l.Callbacks {
		if addresses(c.Path, follow) {
			return c
		}
	}
	return nil
}

// addresses tells whether a path is one of a pattern, as far as the path is known: an expression in it ends what is.
func addresses(pattern, path string) bool {
	if before, _, ok := strings.Cut(pattern, "{"); ok && strings.TrimRight(before, "/") == strings.TrimRight(path, "/") {
		return true
	}
	ps, ss := strings.Split(strings.TrimRight(pattern, "/"), "/"), strings.Split(strings.TrimRight(path, "/"), "/")
	return slices.EqualFunc(ps, ss, func(p, s string) bool { return p == s || strings.HasPrefix(p, "{") && s != "" })
}
