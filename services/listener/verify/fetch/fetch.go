// Package fetch gets keys and certificates over https: small, quick, and only from where it was sent.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	timeout = 10 * time.Second
	maxSize = 1 << 20
)

// Client fetches over https. Whom to ask is its caller's decision; it follows no redirect to anyone else.
type Client struct {
	http http.Client
}

// New makes a Client that connects through transport; nil is a transport of its own, which heeds the proxy variables.
func New(transport http.RoundTripper) *Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, IdleConnTimeout: time.Minute, MaxIdleConns: 4,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &Client{http: http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Fetch gives the body at an https address that answers 200.
func (c *Client) Fetch(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	if u.Scheme != "https" {
		return nil, fmt.Errorf("fetching from %s: only https is", u.Host)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching from %s: %w", u.Host, err)
	}
	request.Header.Set("User-Agent", "switchback")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetching from %s: %w", u.Host, bare(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching from %s: it answered %s", u.Host, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("fetching from %s: %w", u.Host, err)
	}
	if len(body) > maxSize {
		return nil, fmt.Errorf("fetching from %s: it answered more than %d bytes", u.Host, maxSize)
	}
	return body, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// bare takes the address off an error of net/http: its query may hold a token.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
