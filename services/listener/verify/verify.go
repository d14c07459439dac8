// Package verify checks that a request comes from whom it seems to come from: the signature schemes of webhook
// providers, and generic ones.
//
// It is pure: the time is the request's own, and the only way out is the Fetcher that it is given.
package verify

import (
	"context"
	"crypto/x509"
	"strings"
	"time"
)

// Spec says how requests are verified, with every value resolved.
type Spec struct {
	Type      string
	Secrets   []string            // the newest first; any of them verifies
	Tolerance *time.Duration      // nil: the type's default; 0: the age is not checked
	Options   map[string][]string // what else the type takes: public_key, header, jwks_url, …
	Fetch     Fetcher             // for the types that need keys or certificates
	Roots     *x509.CertPool      // roots of certificate chains; nil: the system's
}

// Fetcher gets what is at an https URL. The verifiers ask it for documented hosts only, and keep what it gives.
type Fetcher interface {
	Fetch(ctx context.Context, url string) ([]byte, error)
}

// Header is a request's header. Names are case-insensitive; http.Header is one.
type Header interface {
	Values(name string) []string
}

// Request is what is verified, as it came in over the wire.
type Request struct {
	Method string
	// Bases are the addresses that the sender may have used, the likeliest first, each as scheme://host[:port][/prefix]
	// without a trailing slash: the configured public URL, the gateway's, the forwarded one, the local one.
	Bases  []string
	Target string // path and query exactly as received: /webhook?a=b
	Header Header
	Body   []byte // raw
	Now    time.Time
}

// RawQuery gives the query as received, without its question mark.
func (r *Request) RawQuery() string {
	_, query, _ := strings.Cut(r.Target, "?")
	return query
}

// Path gives the path as received, still escaped.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

// Result is what a verified request says of itself.
type Result struct {
	// DeliveryID is the provider's id of this delivery, equal when it is sent again; empty where there is none.
	DeliveryID string
	// ItemID names the field that holds such an id in each item of a list, where the provider sends lists.
	ItemID string
}

// Sensitive names what carries a secret in requests themselves, to be masked wherever a request is kept or shown.
type Sensitive struct {
	Headers []string
	Query   []string
}

// Verifier verifies requests. It is safe for concurrent use.
type Verifier struct {
	scheme scheme
}

// scheme is one way to verify a request.
type scheme interface {
	verify(ctx context.Context, r *Request) (Result, error)
}

// Verify tells whether r is genuine. Its error is a fault whose cause is a Reason; no error ever holds a secret.
func (v *Verifier) Verify(ctx context.Context, r *Request) (Result, error) {
	return v.scheme.verify(ctx, r)
}

// Sensitive names the headers and query parameters in which this scheme sends its secret.
func (v *Verifier) Sensitive() Sensitive {
	if s, ok := v.scheme.(interface{ sensitive() Sensitive }); ok {
		return s.sensitive()
	}
	return Sensitive{}
}

// Challenge is what WWW-Authenticate says to a request that is refused, for the schemes of HTTP itself; "" for others.
func (v *Verifier) Challenge() string {
	if s, ok := v.scheme.(interface{ challenge() string }); ok {
		return s.challenge()
	}
	return ""
}
