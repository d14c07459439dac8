package listener

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

// Verifier tells whether a request comes from whom it seems to come from. It sees the request as it was sent.
type Verifier interface {
	Verify(ctx context.Context, r *ingress.Request) error
}

// endpoint is a callback or trigger with all that stands around its mapping.
type endpoint struct {
	*ingress.Endpoint
	verifier  Verifier
	limit     *rate.Limiter
	allowFrom []netip.Prefix
	respond   *compose.Respond

	requests map[verdict]prometheus.Counter
	items    map[event.Outcome]prometheus.Counter
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
)

// verdicts lists all that a request's count may be labelled with.
func verdicts() []verdict {
	all := []verdict{accepted, progress, partial, busy, asked}
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
	e := &endpoint{requests: map[verdict]prometheus.Counter{}, items: map[event.Outcome]prometheus.Counter{}}
	for _, v := range verdicts() {
		e.requests[v] = m.requests.WithLabelValues(listener, path, string(v))
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
func (s *server) addEndpoints(m *metrics) error {
	var order []*ingress.Endpoint
	add := func(in *ingress.Endpoint, o options) error {
		e := newEndpoint(m, s.conf.ID, in.Path)
		e.Endpoint, e.respond = in, o.respond
		if err := e.guard(o); err != nil {
			return fmt.Errorf("endpoint %s %s of listener %s: %w", in.Method, in.Path, s.conf.ID, err)
		}
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

// options are what callbacks and triggers have in common.
type options struct {
	verify    *compose.Verify
	handshake *compose.Handshake
	respond   *compose.Respond
	rateLimit *compose.Rate
	allowFrom []string
}

// guard sets what stands before the mapping. What cannot be checked yet is refused: an endpoint that should verify
// its requests must never take them unverified.
func (e *endpoint) guard(o options) error {
	switch {
	case o.verify != nil:
		return fault.New(fault.Usage, "verify: "+o.verify.Type+" is not supported by this build, and without it anybody could call",
			"use a build that verifies, or take verify out of the file")
	case o.handshake != nil:
		return fault.New(fault.Usage, "handshake: "+o.handshake.Type+" is not supported by this build",
			"use a build that answers handshakes, or take handshake out of the file")
	}
	if o.rateLimit != nil {
		e.limit = rate.NewLimiter(rate.Limit(float64(o.rateLimit.Count)/o.rateLimit.Per.Seconds()), o.rateLimit.Count)
	}
	var err error
	if e.allowFrom, err = networks(o.allowFrom); err != nil {
		return fault.Wrap(err, fault.Invalid, "allow_from", "write addresses or networks: 192.0.2.0/24")
	}
	return nil
}

var (
	errNotAllowed = fault.New(fault.Forbidden, "this address may not call here", "")
	errTooMany    = fault.New(fault.TooMany, "too many requests for this endpoint", "send fewer, or the same ones later")
)

// admit tells whether the request may be mapped.
func (e *endpoint) admit(ctx context.Context, r *ingress.Request) error {
	if len(e.allowFrom) > 0 && !within(e.allowFrom, r.Remote) {
		return errNotAllowed
	}
	if e.limit != nil && !e.limit.AllowN(r.ReceivedAt, 1) {
		return errTooMany
	}
	if e.verifier != nil {
		return e.verifier.Verify(ctx, r)
	}
	return nil
}
