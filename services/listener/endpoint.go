package listener

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

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
	busy     verdict = "busy"     // no slot in time
	asked    verdict = "asked"    // OPTIONS and HEAD
	shaken   verdict = "handshake"
)

// verdicts lists all that a request's count may be labelled with.
func verdicts() []verdict {
	all := []verdict{accepted, progress, partial, busy, asked, shaken}
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

// addEndpoints compiles the listener's endpoints.
func (s *server) addEndpoints(m *metrics, fetch verify.Fetcher) error {
	env := &ingress.Request{Env: s.getenv}
	var order []*ingress.Endpoint
	add := func(in *ingress.Endpoint, o options) error {
		e := newEndpoint(m, s.conf.ID, in.Path)
		e.Endpoint, e.respond = in, o.respond
		var err error
		if e.guard, err = newGuard(o, env, fetch); err != nil {
			return fmt.Errorf("endpoint %s %s of listener %s: %w", in.Method, in.Path, s.conf.ID, err)
		}
		s.shakes = s.shakes || len(e.handshakes) > 0
		s.verifies = s.verifies || e.verifier != nil
		s.endpoints[in] = e
		order = append(order, in)
		return nil
	}
	for _, c := range s.conf.Callbacks {
		o := options{c.Verify, c.Handshake, c.Respond, c.RateLimit, c.AllowFrom}
		if err := add(ingress.NewCallback(s.conf.ID, c), o); err != nil {
			return err
		}
	}
	for _, t := range s.conf.Triggers {
		o := options{t.Verify, t.Handshake, t.Respond, t.RateLimit, t.AllowFrom}
		if err := add(ingress.NewTrigger(s.conf.ID, t), o); err != nil {
			return err
		}
	}
	s.router = ingress.NewRouter(order)
	return nil
}
