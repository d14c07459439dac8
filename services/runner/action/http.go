package action

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// IdempotencyKey is the header that names an invocation to the outside service: a repeated request carries the same.
// Source: draft-ietf-httpapi-idempotency-key-header.
const IdempotencyKey = "Idempotency-Key"

const defaultRequestTimeout = 30 * time.Second

// NewTransport gives the transport for outside services: proxies from the environment, bounded idle connections.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// checkRedirect follows redirects as net/http does, but another host gets none of the request's own headers, nor its address: net/http
// itself holds back Authorization and cookies only, and keys travel in headers of any name.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	first := via[0]
	if req.URL.Host != first.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https" {
		req.Header.Del("Referer") // set by net/http: the whole address before, with the keys in its query
		for name := range first.Header {
			if name != "User-Agent" && name != "Accept" && name != "Content-Type" {
				req.Header.Del(name)
			}
		}
	}
	return nil
}

// message is a request as templates: an action's own, or its polling's.
type message struct {
	url, method, headers, params, body *expr.Template
	bodyType, responseType             string
	defaultMethod                      string
	asks                               bool // how far the work is: each poll wants an answer of its own, and has no idempotency key
}

func own(a *compose.Action) message {
	return message{
		url: a.URL, method: a.Method, headers: a.Headers, params: a.Params, body: a.Body,
		bodyType: a.BodyType, responseType: a.ResponseType, defaultMethod: http.MethodPost,
	}
}

// request sends an HTTP request of the invocation and reads the response, whatever its status.
func (p *Performer) request(ctx context.Context, inv *invocation, m message, scope engine.ActionScope) (*response, error) {
	timeout := inv.act.Action.RequestTimeout
	if timeout == 0 {
		timeout = defaultRequestTimeout
	}
	client, err := p.clients.get(inv.act.Of, scope.Static)
	if err != nil {
		return nil, err
	}
	if err := p.serverReady(ctx, inv); err != nil {
		return nil, err
	}
	noted := &told{Scope: scope.Static}
	if scope.Static != nil {
		scope.Static = noted
	}
	req, err := p.build(ctx, inv, m, scope)
	if err != nil {
		return nil, err
	}
	if err := client.limit.take(ctx); err != nil {
		return nil, err
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, end := p.beginSpan(ctx, inv, req)
	record := event.Request{Method: req.Method, URL: inv.secrets.Mask(req.URL.Redacted()), At: p.o.Now(), Addresses: noted.addresses}
	began := time.Now()
	resp, err := client.exchange(req.WithContext(ctx), m.responseType)
	record.DurationMS = time.Since(began).Milliseconds()
	if resp != nil {
		record.Status = resp.status
	}
	if err != nil {
		err = explained(err, inv.act.Of)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil { // else it is the dialer's
			err = silence(whole, record.Method+" "+record.URL+" did not answer", timeout)
		}
		record.Error = inv.secrets.Mask(err.Error())
	}
	end(&record, err)
	inv.requests = append(inv.requests, record)
	return resp, err
}

// silence is the error of a request that was not answered in its own time, or in what the invocation as a whole has left of its.
func silence(whole context.Context, what string, timeout time.Duration) error {
	if whole.Err() == nil {
		what += " within " + timeout.String()
	}
	return &engine.Error{Code: engine.CodeTimeout, Message: what}
}

// serverReady makes sure of the server that a component of type http-server runs.
func (p *Performer) serverReady(ctx context.Context, inv *invocation) error {
	switch {
	case inv.act.Action.Type != compose.HTTPServer || inv.act.Of == nil:
		return nil
	case p.o.Servers == nil:
		return &engine.Error{
			Code: "not_allowed", Permanent: true,
			Message: "components of type http-server are not allowed here: set SWITCHBACK_RUNNER_ALLOW_HTTP_SERVER=true for the runner, or start up with --allow-http-server",
		}
	default:
		return p.o.Servers.Ready(ctx, inv.act.Of)
	}
}

// build makes a request from templates.
func (p *Performer) build(ctx context.Context, inv *invocation, m message, scope engine.ActionScope) (*http.Request, error) {
	u, err := address(m, scope)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	headers, err := pairs(m.headers, scope)
	if err != nil {
		return nil, expressionError("headers", err)
	}
	for _, kv := range headers {
		header.Add(kv[0], kv[1])
	}
	var body any
	if m.body != nil {
		if body, err = m.body.Eval(scope); err != nil {
			return nil, expressionError("body", err)
		}
	}
	payload, contentType, err := encodeBody(body, m.bodyType, header.Get("Content-Type"))
	if err != nil {
		return nil, expressionError("body", err)
	}
	method, err := text(m.method, scope, m.defaultMethod)
	if err != nil {
		return nil, expressionError("method", err)
	}
	req, err := http.NewRequestWithContext(ctx, strings.ToUpper(method), u.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, expressionError("request", err)
	}
	req.Header = header
	if payload == nil {
		req.Body, req.ContentLength, req.GetBody = http.NoBody, 0, nil
	} else if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	setDefault(header, "Accept", "application/json, */*;q=0.5")
	setDefault(header, "User-Agent", "switchback")
	if !m.asks {
		setDefault(header, IdempotencyKey, inv.act.ID)
	}
	if trace := inv.act.Scope.Run.Trace; trace != "" && p.o.Tracer == nil {
		setDefault(header, "Traceparent", trace)
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// address evaluates a request's url and parameters.
func address(m message, scope expr.Scope) (*url.URL, error) {
	target, err := text(m.url, scope, "")
	if err != nil {
		return nil, expressionError("url", err)
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, expressionError("url", fmt.Errorf("%q is not an http or https address", target))
	}
	params, err := pairs(m.params, scope)
	if err != nil {
		return nil, expressionError("params", err)
	}
	if len(params) > 0 {
		query := u.Query()
		for _, kv := range params {
			query.Add(kv[0], kv[1])
		}
		u.RawQuery = query.Encode()
	}
	return u, nil
}

func setDefault(h http.Header, name, v string) {
	if h.Get(name) == "" {
		h.Set(name, v)
	}
}

func text(t *expr.Template, scope expr.Scope, missing string) (string, error) {
	if t == nil {
		return missing, nil
	}
	v, err := t.Eval(scope)
	if err != nil || v == nil {
		return missing, err
	}
	return value.Text(v), nil
}

// pairs evaluates a map of headers or parameters: null leaves one out, a list gives several.
func pairs(t *expr.Template, scope expr.Scope) ([][2]string, error) {
	if t == nil {
		return nil, nil
	}
	v, err := t.Eval(scope)
	if err != nil || v == nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a map", value.Text(v))
	}
	var out [][2]string
	for _, name := range sortedKeys(m) {
		values, ok := m[name].([]any)
		if !ok {
			values = []any{m[name]}
		}
		for _, v := range values {
			if v != nil {
				out = append(out, [2]string{name, value.Text(v)})
			}
		}
	}
	return out, nil
}
