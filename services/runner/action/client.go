package action

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// clients are the HTTP clients of components: one for all that set nothing of their own.
type clients struct {
	transport   *http.Transport
	maxResponse int64
	plain       *client

	mu     sync.Mutex
	owned  *simplelru.LRU[whose, *client]
	limits map[limited]*turns
}

// keptClients bounds the clients that are kept: each change of the file brings components of its own.
const keptClients = 1024

// whose names a client: a component of one file, and the proxy that it goes through.
type whose struct {
	component *compose.Component
	proxy     string
}

// limited names a limit: files that have read the same of a component share it, or each change of the file would bring a new one.
type limited struct {
	component string
	rate      compose.Rate
}

// client sends a component's requests.
type client struct {
	http        *http.Client
	limit       *turns // nil: none
	maxResponse int64
	files       string // what its TLS files were when they were read
}

func newClients(transport *http.Transport, maxResponse int64) *clients {
	c := &clients{
		transport: transport, maxResponse: maxResponse, limits: map[limited]*turns{},
		plain: &client{http: newHTTP(transport), maxResponse: maxResponse},
	}
	c.owned, _ = simplelru.NewLRU(keptClients, func(_ whose, gone *client) { c.leave(gone) }) // fails only for a size below 1
	return c
}

// leave closes the connections that a client has for itself and does not use at the moment.
func (c *clients) leave(gone *client) {
	if gone.http != c.plain.http {
		gone.http.CloseIdleConnections()
	}
}

func newHTTP(transport *http.Transport) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

// get gives a component's client.
func (c *clients) get(component *compose.Component, scope expr.Scope) (*client, error) {
	if component == nil || component.RateLimit == nil && component.Proxy == nil && component.TLS == nil && component.MaxResponseSize == 0 {
		return c.plain, nil
	}
	proxy, err := text(component.Proxy, scope, "")
	if err != nil {
		return nil, expressionError("proxy", err)
	}
	key, files := whose{component, proxy}, stamp(component.TLS)
	c.mu.Lock()
	defer c.mu.Unlock()
	was, known := c.owned.Get(key)
	if known && was.files == files {
		return was, nil
	}
	own := &client{http: c.plain.http, limit: c.limit(component), maxResponse: c.maxResponse, files: files}
	if component.MaxResponseSize > 0 {
		own.maxResponse = component.MaxResponseSize
	}
	if proxy != "" || component.TLS != nil {
		transport := c.transport.Clone()
		if err := configure(transport, component, proxy); err != nil {
			if known { // a renewed certificate of which only one half is there yet
				return was, nil
			}
			return nil, err
		}
		own.http = newHTTP(transport)
	}
	c.owned.Add(key, own)
	if known {
		c.leave(was)
	}
	return own, nil
}

// limit gives the limit of a component.
func (c *clients) limit(component *compose.Component) *turns {
	if component.RateLimit == nil {
		return nil
	}
	key := limited{component.ID, *component.RateLimit}
	if c.limits[key] == nil {
		c.limits[key] = &turns{of: component.ID, rate: *component.RateLimit}
	}
	return c.limits[key]
}

// stamp changes when one of the files does: certificates are renewed while we run.
func stamp(o *compose.ClientTLS) string {
	if o == nil {
		return ""
	}
	var b strings.Builder
	for _, name := range []string{o.CAFile, o.CertFile, o.KeyFile} {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&b, info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}

// configure sets a component's proxy and TLS.
func configure(transport *http.Transport, component *compose.Component, proxy string) error {
	permanent := func(format string, args ...any) error {
		return &engine.Error{Code: CodeRequest, Message: fmt.Sprintf("component %s: %s", component.ID, fmt.Sprintf(format, args...)), Permanent: true}
	}
	if proxy != "" {
		u, err := compose.ProxyURL(proxy)
		if err != nil { // which is not told: it may hold a password
			return permanent("its proxy is no address: write http://HOST:PORT, or https or socks5; in a name or password, special characters as %%40")
		}
		transport.Proxy = http.ProxyURL(u)
	}
	o := component.TLS
	if o == nil {
		return nil
	}
	config := &tls.Config{ServerName: o.ServerName, InsecureSkipVerify: o.InsecureSkipVerify, MinVersion: tls.VersionTLS12} //nolint:gosec // the file says so
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return permanent("its CA file: %v", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil { // beside the system's, where it has any
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return permanent("its CA file %s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return permanent("its certificate: %v", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	transport.TLSClientConfig = config
	return nil
}

// explained adds to an error of TLS what to do about it.
func explained(err error, component *compose.Component) error {
	id, own := "the component", &compose.ClientTLS{}
	if component != nil {
		id = "component " + component.ID
		if component.TLS != nil {
			own = component.TLS
		}
	}
	hint := ""
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		hint = "name the authority that has signed it in tls.ca_file of " + id
		if own.CAFile != "" {
			hint = "it is not signed by an authority in " + own.CAFile + ", the tls.ca_file of " + id
		}
	} else if _, ok := errors.AsType[x509.HostnameError](err); ok {
		hint = "where it is the right one all the same, name what it is for in tls.server_name of " + id
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		hint = "is its address http:// in truth?"
	} else if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && refusesCertificate(op.Err) {
		hint = "it asks for our certificate: tls.cert_file and tls.key_file of " + id
		if own.CertFile != "" {
			hint = "it does not take our certificate, the tls.cert_file of " + id
		}
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}

// refusesCertificate tells whether an alert of the other side is about our certificate. crypto/tls gives them no type.
func refusesCertificate(alert error) bool {
	return slices.Contains([]string{
		"tls: certificate required", "tls: bad certificate", "tls: unknown certificate authority", "tls: expired certificate", "tls: unknown certificate",
	}, alert.Error())
}

// response is what an outside service has answered.
type response struct {
	req    *http.Request
	status int
	header http.Header
	body   any
}

// exchange sends a request and reads the answer.
func (c *client) exchange(req *http.Request, responseType string) (*response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	got := &response{req: req, status: resp.StatusCode, header: resp.Header}
	body, err := readBody(resp, c.maxResponse+1)
	if err != nil {
		return got, err
	}
	if int64(len(body)) > c.maxResponse {
		return got, &engine.Error{
			Code: engine.CodeTooLarge, Permanent: true,
			Message: fmt.Sprintf("the response has more than %d bytes", c.maxResponse),
		}
	}
	got.body, err = decodeBody(body, responseType, resp.Header.Get("Content-Type"))
	if err != nil && got.status < http.StatusBadRequest {
		return got, &engine.Error{Code: CodeResponse, Message: "the response cannot be read: " + err.Error()}
	}
	return got, nil
}

// trustedLength is how much is made ready for a body because the response says that it is so long.
const trustedLength = 64 << 10

// readBody reads a response's body, at most so many bytes.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	n := resp.ContentLength
	if n < 0 || n > min(limit, trustedLength) {
		return io.ReadAll(io.LimitReader(resp.Body, limit))
	}
	body := make([]byte, n)
	_, err := io.ReadFull(resp.Body, body)
	if errors.Is(err, io.EOF) { // to a HEAD: the length is that of another answer
		return nil, nil
	}
	return body, err
}

// refusal is the error of a status of 400 or more; nil for any other. Where retryOn is given, only what it lists is to
// be tried again.
func (r *response) refusal(retryOn []string) error {
	if r.status < http.StatusBadRequest {
		return nil
	}
	e := &engine.Error{
		Code:      fmt.Sprintf("http_%d", r.status),
		Message:   fmt.Sprintf("%s %s answered %d %s", r.req.Method, r.req.URL.Redacted(), r.status, http.StatusText(r.status)),
		Permanent: retryOn != nil && !statusIn(r.status, retryOn),
	}
	if data, err := value.Encode(r.body); err == nil && r.body != nil {
		e.Data = data
	}
	e.After = r.after()
	return e
}

// longestAfter is the longest pause that a service may ask for: nothing waits without end.
const longestAfter = 24 * time.Hour

// after is the pause that the service asks for, as seconds or a date.
func (r *response) after() time.Duration {
	after := r.header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longestAfter/time.Second))) * time.Second //nolint:gosec // a day
	}
	at, err := http.ParseTime(after)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at)), longestAfter)
}

// statusIn tells whether a status is listed: 503, "503", "5xx" or "50x".
func statusIn(status int, list []string) bool {
	text := strconv.Itoa(status)
	for _, pattern := range list {
		if len(pattern) != len(text) {
			continue
		}
		match := true
		for i := range text {
			match = match && (pattern[i] == text[i] || pattern[i] == 'x' || pattern[i] == 'X')
		}
		if match {
			return true
		}
	}
	return false
}

// decodeBody reads a response as its type says, or else as its content type does: JSON as its value, text as a string,
// anything else as base64.
func decodeBody(body []byte, responseType, contentType string) (any, error) {
	kind := contentType
	if kind != jsonType { // as most say it
		kind, _, _ = mime.ParseMediaType(contentType)
	}
	switch {
	case responseType == "binary":
		return base64.StdEncoding.EncodeToString(body), nil
	case len(body) == 0:
		return nil, nil
	case responseType == "text":
		return strings.ToValidUTF8(string(body), "\uFFFD"), nil
	case responseType == "json" || isJSON(kind) || kind == "" && json.Valid(body):
		return value.Decode(body)
	case utf8.Valid(body):
		return string(body), nil
	default:
		return base64.StdEncoding.EncodeToString(body), nil
	}
}
