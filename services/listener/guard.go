package listener

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/listener/handshake"
	"github.com/switchbackhq/switchback/services/listener/ingress"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// guard is what stands before an endpoint's mapping.
type guard struct {
	allowFrom  []netip.Prefix
	limit      *rate.Limiter
	verifier   *verify.Verifier // nil: anybody may call
	handshakes []*handshake.Handshake
	masks      verify.Sensitive // what must not be recorded
	challenge  string           // what WWW-Authenticate says to those who may not call
}

// options are what callbacks and triggers have in common.
type options struct {
	verify    *compose.Verify
	handshake *compose.Handshake
	respond   *compose.Respond
	rateLimit *compose.Rate
	allowFrom []string
}

// newGuard compiles what the file says. A secret that is missing or empty is an error: an endpoint that should verify
// its requests must never take them unverified.
func newGuard(o options, env expr.Scope, fetch verify.Fetcher) (guard, error) {
	var g guard
	var err error
	if g.allowFrom, err = networks(o.allowFrom); err != nil {
		return g, fault.Wrap(err, fault.Invalid, "allow_from", "write addresses or networks: 192.0.2.0/24")
	}
	if o.rateLimit != nil {
		g.limit = rate.NewLimiter(rate.Limit(float64(o.rateLimit.Count)/o.rateLimit.Per.Seconds()), o.rateLimit.Count)
	}
	spec := verify.Spec{Fetch: fetch}
	var kinds []handshake.Spec
	if o.verify != nil {
		if spec, err = verification(o.verify, env); err != nil {
			return g, err
		}
		spec.Fetch = fetch
		if g.verifier, err = verify.Compile(spec); err != nil {
			return g, err
		}
		g.masks, g.challenge = g.verifier.Sensitive(), g.verifier.Challenge()
		if kind := handshake.For(spec.Type); kind != "" {
			kinds = append(kinds, handshake.Spec{Type: kind, Verify: spec})
		}
	}
	if h := o.handshake; h != nil && (len(kinds) == 0 || kinds[0].Type != h.Type) {
		kinds = append(kinds, handshake.Spec{Type: h.Type, AllowedOrigins: h.AllowedOrigins, Verify: spec})
	}
	for _, kind := range kinds {
		h, err := handshake.Compile(kind)
		if err != nil {
			return g, err
		}
		g.handshakes = append(g.handshakes, h)
	}
	return g, nil
}

// verification resolves verify:, and names the variable of what is empty.
func verification(v *compose.Verify, env expr.Scope) (verify.Spec, error) {
	for i, secret := range v.Secrets {
		if err := filled(fmt.Sprintf("verify.secret %d", i+1), secret, env); err != nil {
			return verify.Spec{}, err
		}
	}
	for name, option := range v.Options {
		if name == "signed" {
			continue // stands for the bytes as received
		}
		if err := filled("verify."+name, option, env); err != nil {
			return verify.Spec{}, err
		}
	}
	return verify.Resolve(v, env)
}

func filled(field string, t *expr.Template, env expr.Scope) error {
	v, err := t.Eval(env)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, field+" cannot be read", "check its variable")
	}
	if value.Text(v) != "" {
		return nil
	}
	var names []string
	for _, r := range t.References() {
		if r.Source == "env" && len(r.Path) > 0 {
			names = append(names, r.Path[0].Name)
		}
	}
	if len(names) == 0 {
		return fault.New(fault.Invalid, field+" is empty", "write what the provider shows, from a variable: ${env.NAME}")
	}
	all := strings.Join(names, ", ")
	return fault.New(fault.Invalid, field+" is empty: the variable "+all+" is not set, or empty", "set "+all+" to what the provider shows")
}

var (
	errNotAllowed = fault.New(fault.Forbidden, "this address may not call here", "allow_from lists those that may; behind a proxy, trusted_proxies tells whose address counts")
	errTooMany    = fault.New(fault.TooMany, "too many requests for this endpoint", "send fewer, or the same ones later")
)

func (g *guard) allows(a netip.Addr) bool { return len(g.allowFrom) == 0 || within(g.allowFrom, a) }

// admit tells whether the request comes from whom it should. It looks at nothing but the bytes as they were sent.
func (g *guard) admit(ctx context.Context, j *job, bases func(*job) []string) error {
	if !g.allows(j.Remote) {
		return errNotAllowed
	}
	j.Delivery, j.DeliveryItem = "", ""
	if g.verifier == nil {
		return nil
	}
	result, err := g.verifier.Verify(ctx, j.sent(bases))
	if err != nil {
		return err
	}
	j.Delivery, j.DeliveryItem = result.DeliveryID, result.ItemID
	return nil
}

// shake answers the request where it is one of the endpoint's handshakes.
func (g *guard) shake(ctx context.Context, j *job, bases func(*job) []string) (*handshake.Response, bool, error) {
	for _, h := range g.handshakes {
		if !slices.Contains(h.Methods(), j.Method) {
			continue
		}
		if r, handled, err := h.Answer(ctx, j.sent(bases)); handled {
			return r, true, err
		}
	}
	return nil, false, nil
}

// sentHeader is a request's header as the verifiers read it.
type sentHeader struct{ ingress.Header }

// Values gives the values of one name.
func (h sentHeader) Values(name string) []string {
	found := h.PeekAll(name)
	if len(found) == 0 {
		return nil
	}
	values := make([]string, len(found))
	for i, v := range found {
		values[i] = string(v)
	}
	return values
}

// sent is the request as it came over the wire.
func (j *job) sent(bases func(*job) []string) *verify.Request {
	if j.wire == nil {
		j.wire = &verify.Request{
			Method: j.Method, Bases: bases(j), Target: j.target, Header: sentHeader{j.Header}, Body: j.Body, Now: j.ReceivedAt,
		}
	}
	return j.wire
}

// bases are the addresses that the sender may have called, the likeliest first.
func (s *server) bases(j *job) []string {
	var all []string
	add := func(base string) {
		if base != "" && !slices.Contains(all, base) {
			all = append(all, base)
		}
	}
	add(s.conf.PublicURL)
	add(strings.TrimRight(s.gateways.url(s.port()), "/"))
	if j.proxied {
		add(verify.Forwarded(sentHeader{j.Header}))
	}
	add(strings.TrimSuffix(s.address().URL, s.conf.BasePath))
	return all
}

// writeHandshake answers a handshake.
func writeHandshake(ctx *fasthttp.RequestCtx, r *handshake.Response) verdict {
	ctx.SetStatusCode(r.Status)
	for name, values := range r.Header {
		for _, v := range values {
			ctx.Response.Header.Add(name, v)
		}
	}
	if r.Status != http.StatusNoContent {
		ctx.Response.SetBody(r.Body)
	}
	return shaken
}
