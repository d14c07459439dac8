package listener

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener/ingress"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// endpoint is a callback or trigger with all that stands around its mapping.
type endpoint struct {
	*ingress.Endpoint
	guard
	respond *compose.Respond

	requests map[verdict]prometheus.Counter
	items    map[event.Outcome]prometheus.Counter
	records  map[verdict]string // the subject of their records
}

// verdict is what became of a request. A refused one has its fault's code.
type verdict string

// The verdicts besides the codes of faults.
const (
	accepted verdict = "accepted"
	progress verdict = "progress" // accepted, and all of it progress
	partial  verdict = "partial"  // in bulk: some items were refused
	ignored  verdict = "ignored"  // accepted, and nothing comes of it
	busy     verdict = "busy"     // no slot in time
	asked    verdict = "asked"    // OPTIONS and HEAD
	shaken   verdict = "handshake"
)

// verdicts lists all that a request's count may be labelled with.
func verdicts() []verdict {
	all := []verdict{accepted, progress, partial, ignored, busy, asked, shaken}
	for _, c := range []fault.Code{
		fault.Invalid, fault.Unauthorized, fault.Forbidden, fault.NotFound, fault.Method, fault.TooLarge, fault.Unusable,
		fault.TooMany, fault.Internal, fault.Unavailable, fault.Timeout,
	} {
		all = append(all, verdict(c))
	}
	return all
}

// newEndpoint prepares the counters of an endpoint; the path is "" for requests that none takes.
func newEndpoint(m *metrics, listener, path string) *endpoint {
	e := &endpoint{requests: map[verdict]prometheus.Counter{}, items: map[event.Outcome]prometheus.Counter{}, records: map[verdict]string{}}
	for _, v := range verdicts() {
		e.requests[v] = m.requests.WithLabelValues(listener, path, string(v))
		e.records[v] = subject.Received(listener, path, string(v))
	}
	if path != "" {
		for _, o := range []event.Outcome{event.Succeeded, event.Failed, event.Progress, runRequested} {
			e.items[o] = m.items.WithLabelValues(listener, path, string(o))
		}
	}
	return e
}

// runRequested stands for the outcome of a trigger's item.
const runRequested event.Outcome = "run"

// routes are a listener's endpoints. They are replaced as a whole when the file changes: a request sees one set of them.
type routes struct {
	router    *ingress.Router
	endpoints map[*ingress.Endpoint]*endpoint
	shakes    bool // some endpoint answers handshakes
	verifies  bool // some endpoint verifies
}

// newRoutes compiles a listener's endpoints.
func newRoutes(l *compose.Listener, getenv func(string) (string, bool), m *metrics, fetch verify.Fetcher) (*routes, error) {
	r := &routes{endpoints: map[*ingress.Endpoint]*endpoint{}}
	env := &ingress.Request{Env: getenv}
	var order []*ingress.Endpoint
	add := func(in *ingress.Endpoint, o options) error {
		e := newEndpoint(m, l.ID, in.Path)
		e.Endpoint, e.respond = in, o.respond
		var err error
		if e.guard, err = newGuard(o, env, fetch); err != nil {
			return fmt.Errorf("endpoint %s %s of listener %s: %w", in.Method, in.Path, l.ID, err)
		}
		r.shakes = r.shakes || len(e.handshakes) > 0
		r.verifies = r.verifies || e.verifier != nil
		r.endpoints[in] = e
		order = append(order, in)
		return nil
	}
	for _, c := range l.Callbacks {
		o := options{c.Verify, c.Handshake, c.Respond, c.RateLimit, c.AllowFrom}
		if err := add(ingress.NewCallback(l.ID, c), o); err != nil {
			return nil, err
		}
	}
	for _, t := range l.Triggers {
		o := options{t.Verify, t.Handshake, t.Respond, t.RateLimit, t.AllowFrom}
		if err := add(ingress.NewTrigger(l.ID, t), o); err != nil {
			return nil, err
		}
	}
	r.router = ingress.NewRouter(order)
	return r, nil
}

// challenge tells how to authenticate at endpoints where that is done by HTTP's own means: some senders give their user
// name and password only when they are asked.
func (r *routes) challenge(ctx *fasthttp.RequestCtx, endpoints []*ingress.Endpoint) {
	for _, in := range endpoints {
		if c := r.endpoints[in].challenge; c != "" {
			ctx.Response.Header.Add("WWW-Authenticate", c)
		}
	}
}
