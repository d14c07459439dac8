package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// endpoints completes a listener's endpoints, and reports those that cannot be told apart.
func (d *decoder) endpoints(l *Listener, n *node) {
	var routes []route
	add := func(e endpoint, at *node) {
		*e.pos = at.place()
		d.endpoint(l, e, at)
		routes = append(routes, route{e, at})
	}
	for _, c := range l.Callbacks {
		add(callbackEndpoint(c), d.placed[c])
		d.outcome(c, d.placed[c])
	}
	for _, t := range l.Triggers {
		add(triggerEndpoint(t), d.placed[t])
	}
	if len(routes) > maxEntries {
		d.wrongf(n, "", "a listener has at most %d endpoints", maxEntries)
		return
	}
	for i, b := range routes {
		for _, a := range routes[:i] {
			if *a.method == *b.method && overlap(*a.path, *b.path) && *a.when == nil && *b.when == nil {
				at := b.n
				if p := at.get("path"); p != nil {
					at = p
				}
				d.wrongf(at, fmt.Sprintf("the other one is in line %d; a when: on one of them can tell them apart", a.pos.Line),
					"%s %s is taken by another endpoint of the listener", *b.method, *b.path)
				break
			}
		}
	}
	if len(routes) == 0 {
		d.needf(n, "add callbacks, or a path", "the listener %s %s", l.ID, noEndpoint)
	}
}

const noEndpoint = "has no endpoint"

type route struct {
	endpoint
	n *node
}

func (d *decoder) endpoint(l *Listener, e endpoint, n *node) {
	if path := *e.path; path != "" {
		if path[0] != '/' {
			path = "/" + path
		}
		d.goodPath(n.get("path"), path)
		path = l.BasePath + path
		if len(path) > 1 {
			path = strings.TrimRight(path, "/")
		}
		*e.path = path
	}
	if *e.method = strings.ToUpper(*e.method); !slices.Contains(methods(), *e.method) {
		d.wrongf(n.get("method"), suggest(*e.method, methods()), "the method %q is not known", *e.method)
	}
	for _, a := range *e.allowFrom {
		d.network(n.get("allow_from"), a)
	}
	if v := *e.verify; v != nil {
		d.verify(v, n.get("verify"))
	}
	if h := *e.handshake; h != nil {
		h.Pos = n.get("handshake").pos
	}
}

// endpoint points at what callbacks and triggers have in common.
type endpoint struct {
	pos                  *Pos
	path, method         *string
	bulk                 *bool
	item, when, dedupeBy **expr.Template
	ignore               **expr.Template
	dedupeFor            *time.Duration
	rateLimit            **Rate
	allowFrom            *[]string
	verify               **Verify
	handshake            **Handshake
	respond              **Respond
}

func callbackEndpoint(c *Callback) endpoint {
	return endpoint{
		&c.Pos, &c.Path, &c.Method, &c.Bulk, &c.Item, &c.When, &c.DedupeBy, &c.Ignore, &c.DedupeFor, &c.RateLimit, &c.AllowFrom,
		&c.Verify, &c.Handshake, &c.Respond,
	}
}

func triggerEndpoint(t *Trigger) endpoint {
	return endpoint{
		&t.Pos, &t.Path, &t.Method, &t.Bulk, &t.Item, &t.When, &t.DedupeBy, &t.Ignore, &t.DedupeFor, &t.RateLimit, &t.AllowFrom,
		&t.Verify, &t.Handshake, &t.Respond,
	}
}

func (d *decoder) outcome(c *Callback, n *node) {
	for _, name := range []string{"success_when", "fail_when"} {
		if v := n.get(name); v.given() && !n.get("status").given() {
			d.wrongKeyf(v, "add status: ${body.…}", "%s judges the status, and the callback has none", name)
		}
	}
	for _, s := range c.SuccessWhen {
		if slices.Contains(c.FailWhen, s) {
			d.wrongf(n.get("fail_when"), "", "%q is in success_when as well", s)
		}
	}
}

var segmentName = regexp.MustCompile(`^[\pL_][\pL\pN_]*$`)

// goodPath checks a path's {name} segments.
func (d *decoder) goodPath(n *node, path string) {
	if strings.ContainsAny(path, "?# \t") {
		d.wrongf(n, "", "a path has no query, fragment or blank: %q", path)
	}
	seen := map[string]bool{}
	for segment := range strings.SplitSeq(path, "/") {
		if !strings.ContainsAny(segment, "{}") {
			continue
		}
		name, ok := strings.CutPrefix(segment, "{")
		name, ok2 := strings.CutSuffix(name, "}")
		switch {
		case !ok || !ok2 || !segmentName.MatchString(name):
			d.wrongf(n, "write /jobs/{id}, read as ${path.id}", "%q is not a segment of the form {name}", segment)
		case seen[name]:
			d.wrongf(n, "", "the segment {%s} is here twice", name)
		}
		seen[name] = true
	}
}

// overlap tells whether two patterns match some path that neither matches more closely than the other does.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	if len(as) != len(bs) {
		return false
	}
	closerA, closerB := false, false
	for i := range as {
		anyA, anyB := strings.HasPrefix(as[i], "{"), strings.HasPrefix(bs[i], "{")
		switch {
		case anyA && anyB:
		case anyA:
			closerB = true
		case anyB:
			closerA = true
		case as[i] != bs[i]:
			return false
		}
	}
	return closerA == closerB
}

// ports reports addresses that are used twice.
func (d *decoder) ports(doc *Document) {
	every := func(host string) bool { return host == "0.0.0.0" || host == "::" || host == "" }
	same := func(a, b string) bool { return a == b || every(a) || every(b) }
	for i, b := range doc.Listeners {
		for _, a := range doc.Listeners[:i] {
			if a.Port == b.Port && b.Port != 0 && same(a.Host, b.Host) {
				d.report(&d.problems, b.Pos, "listeners."+b.ID, fmt.Sprintf("the listeners %s and %s both listen on port %d", a.ID, b.ID, b.Port),
					"give one of them another port, or one listener the endpoints of both")
			}
		}
		if c := doc.Controller; c != nil && c.PortGiven && c.Port == b.Port && b.Port != 0 && same(c.Host, b.Host) {
			d.report(&d.problems, c.Pos, "controller", fmt.Sprintf("the controller and the listener %s both listen on port %d", b.ID, b.Port),
				"give one of them another port")
		}
	}
}
