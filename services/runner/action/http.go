package action

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

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

// checkRedirect follows redirects as net/http does, but another host gets none of the request's own headers: net/http
// itself holds back Authorization and cookies only, and keys travel in headers of any name.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	first := via[0]
	if req.URL.Host != first.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https" {
		for name := range first.Header {
			if name != "User-Agent" && name != "Accept" && name != "Content-Type" {
				req.Header.Del(name)
			}
		}
	}
	return nil
}

// request sends the invocation's HTTP request and reads the response.
func (p *Performer) request(ctx context.Context, inv *invocation, scope engine.ActionScope) (any, error) {
	timeout := inv.act.Action.RequestTimeout
	if timeout == 0 {
		timeout = defaultRequestTimeout
	}
	req, err := p.build(ctx, inv, scope)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	record := event.Request{Method: req.Method, URL: inv.secrets.mask(req.URL.Redacted()), At: p.o.Now()}
	began := time.Now()
	response, status, err := p.exchange(req.WithContext(ctx))
	record.Status, record.DurationMS = status, time.Since(began).Milliseconds()
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = &engine.Error{Code: CodeTimeout, Message: fmt.Sprintf("%s %s did not answer within %s", record.Method, record.URL, timeout)}
		}
		record.Error = inv.secrets.mask(err.Error())
	}
	inv.requests = append(inv.requests, record)
	return response, err
}

// build makes the request from the action's templates.
func (p *Performer) build(ctx context.Context, inv *invocation, scope engine.ActionScope) (*http.Request, error) {
	action := inv.act.Action
	target, err := text(action.URL, scope, "")
	if err != nil {
		return nil, expressionError("url", err)
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, expressionError("url", fmt.Errorf("%q is not an http or https address", target))
	}
	params, err := pairs(action.Params, scope)
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
	header := http.Header{}
	headers, err := pairs(action.Headers, scope)
	if err != nil {
		return nil, expressionError("headers", err)
	}
	for _, kv := range headers {
		header.Add(kv[0], kv[1])
	}
	var body any
	if action.Body != nil {
		if body, err = action.Body.Eval(scope); err != nil {
			return nil, expressionError("body", err)
		}
	}
	payload, contentType, err := encodeBody(body, header.Get("Content-Type"))
	if err != nil {
		return nil, expressionError("body", err)
	}
	method, err := text(action.Method, scope, http.MethodPost)
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
	} else {
		header.Set("Content-Type", contentType)
	}
	setDefault(header, "Accept", "application/json, */*;q=0.5")
	setDefault(header, "User-Agent", p.o.UserAgent)
	setDefault(header, IdempotencyKey, inv.act.ID)
	if trace := inv.act.Scope.Run.Trace; trace != "" {
		setDefault(header, "Traceparent", trace)
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
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

// exchange sends the request. The status is 0 when there was no response.
func (p *Performer) exchange(req *http.Request) (any, int, error) {
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, p.o.MaxResponse+1))
	if err != nil {
		return nil, resp.StatusCode, err
	}
	if int64(len(body)) > p.o.MaxResponse {
		return nil, resp.StatusCode, &engine.Error{
			Code: CodeTooLarge, Permanent: true,
			Message: fmt.Sprintf("the response has more than %d bytes", p.o.MaxResponse),
		}
	}
	v, err := decodeBody(body, resp.Header.Get("Content-Type"))
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, resp.StatusCode, refusal(req, resp, v)
	}
	if err != nil {
		return nil, resp.StatusCode, &engine.Error{Code: CodeResponse, Message: "the response cannot be read: " + err.Error()}
	}
	return v, resp.StatusCode, nil
}

// refusal is the error of a status of 400 or more. Asking again cannot help where the request itself is at fault.
func refusal(req *http.Request, resp *http.Response, body any) *engine.Error {
	e := &engine.Error{
		Code:    fmt.Sprintf("http_%d", resp.StatusCode),
		Message: fmt.Sprintf("%s %s answered %s", req.Method, req.URL.Redacted(), resp.Status),
	}
	if data, err := value.Encode(body); err == nil && body != nil {
		e.Data = data
	}
	if after, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s"); err == nil && after > 0 {
		e.After = after
	} else if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		e.After = max(0, time.Until(at))
	}
	return e
}

// decodeBody reads a response: JSON as its value, text as a string, anything else as base64.
func decodeBody(body []byte, contentType string) (any, error) {
	if len(body) == 0 {
		return nil, nil
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case isJSON(kind):
		return value.Decode(body)
	case kind == "" && json.Valid(body):
		return value.Decode(body)
	case utf8.Valid(body):
		return string(body), nil
	default:
		return base64.StdEncoding.EncodeToString(body), nil
	}
}
