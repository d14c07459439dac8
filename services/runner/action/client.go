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
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// clients are the HTTP clients of components: one for all that set nothing of their own.
type clients struct {
	transport   *http.Transport
	maxResponse int64
	plain       *client

	mu    sync.Mutex
	owned map[*compose.Component]*client
}

// client sends a component's requests.
type client struct {
	http        *http.Client
	limit       *rate.Limiter
	maxResponse int64
}

func newClients(transport *http.Transport, maxResponse int64) *clients {
	return &clients{
		transport: transport, maxResponse: maxResponse, owned: map[*compose.Component]*client{},
		plain: &client{http: newHTTP(transport), limit: rate.NewLimiter(rate.Inf, 0), maxResponse: maxResponse},
	}
}

func newHTTP(transport *http.Transport) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

// get gives a component's client.
func (c *clients) get(component *compose.Component) (*client, error) {
	if component == nil || component.RateLimit == nil && component.Proxy == nil && component.TLS == nil && component.MaxResponseSize == 0 {
		return c.plain, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if own := c.owned[component]; own != nil {
		return own, nil
	}
	own := &client{http: c.plain.http, limit: c.plain.limit, maxResponse: c.maxResponse}
	if r := component.RateLimit; r != nil {
		own.limit = rate.NewLimiter(rate.Every(r.Per/time.Duration(r.Count)), r.Count)
	}
	if component.MaxResponseSize > 0 {
		own.maxResponse = component.MaxResponseSize
	}
	if component.Proxy != nil || component.TLS != nil {
		transport := c.transport.Clone()
		if err := configure(transport, component); err != nil {
			return nil, err
		}
		own.http = newHTTP(transport)
	}
	c.owned[component] = own
	return own, nil
}

// configure sets a component's proxy and TLS.
func configure(transport *http.Transport, component *compose.Component) error {
	permanent := func(format string, args ...any) error {
		return &engine.Error{Code: CodeRequest, Message: fmt.Sprintf("component %s: %s", component.ID, fmt.Sprintf(format, args...)), Permanent: true}
	}
	if component.Proxy != nil {
		address, ok := component.Proxy.Literal()
		u, err := url.Parse(value.Text(address))
		if !ok || err != nil {
			return permanent("its proxy is not an address")
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
			Code: CodeTooLarge, Permanent: true,
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
	after := r.header.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil && seconds > 0 {
		e.After = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		e.After = max(0, time.Until(at))
	}
	return e
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
