// Package handshake answers what providers ask of an endpoint before they send to it: echo a challenge, prove that you
// know the secret, confirm a subscription.
//
// It is pure, as package verify is: it fetches through the Fetcher that it is given, and only to confirm a subscription.
package handshake

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// Spec says which handshake an endpoint answers.
type Spec struct {
	Type string
	// AllowedOrigins are whom the cloudevents handshake lets send, compared exactly; none given: anyone who asks.
	AllowedOrigins []string
	// Verify is the endpoint's verification; its Type is empty where there is none. What a provider signs is verified
	// by it before it is answered. Its Fetch is needed for aws-sns in any case.
	Verify verify.Spec
}

// Response is the answer to a handshake.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Handshake answers one provider's handshakes. It is safe for concurrent use.
type Handshake struct {
	methods []string
	answer  answer
}

// answer is one provider's way. It gives nil, nil for a request that is no handshake.
type answer func(ctx context.Context, r *verify.Request) (*Response, error)

// Types lists what Spec.Type may be.
func Types() []string {
	return []string{"aws-sns", "azure-event-grid", "cloudevents", "discord", "dropbox", "meta", "microsoft-graph", "slack", "twitter", "zoom"}
}

// For gives the handshake that comes with a type of verification, or "".
func For(verifyType string) string {
	switch verifyType {
	case "aws-sns", "discord", "meta", "slack", "twitter", "zoom":
		return verifyType
	default:
		return ""
	}
}

// Compile makes the handshake that spec describes.
func Compile(spec Spec) (*Handshake, error) {
	construct, methods := constructor(spec.Type)
	if construct == nil {
		return nil, fault.New(fault.Invalid, "handshake "+spec.Type+" is not known", "it is one of "+strings.Join(Types(), ", "))
	}
	if len(spec.AllowedOrigins) > 0 && spec.Type != "cloudevents" {
		return nil, fault.New(fault.Invalid, "allowed_origins means nothing to "+spec.Type, "it is for the handshake cloudevents")
	}
	answer, err := construct(spec)
	if err != nil {
		return nil, err
	}
	return &Handshake{methods: methods, answer: answer}, nil
}

func constructor(kind string) (func(Spec) (answer, error), []string) {
	switch kind {
	case "aws-sns":
		return awsSNS, []string{http.MethodPost}
	case "azure-event-grid":
		return azureEventGrid, []string{http.MethodPost, http.MethodOptions}
	case "cloudevents":
		return cloudEvents, []string{http.MethodOptions}
	case "discord":
		return discord, []string{http.MethodPost}
	case "dropbox":
		return dropbox, []string{http.MethodGet}
	case "meta":
		return meta, []string{http.MethodGet}
	case "microsoft-graph":
		return microsoftGraph, []string{http.MethodPost, http.MethodGet}
	case "slack":
		return slack, []string{http.MethodPost}
	case "twitter":
		return twitter, []string{http.MethodGet}
	case "zoom":
		return zoom, []string{http.MethodPost}
	default:
		return nil, nil
	}
}

// Methods gives the methods that a handshake comes with, some of which its endpoint may not take otherwise.
func (h *Handshake) Methods() []string { return h.methods }

// Answer gives the answer to r where r is a handshake: handled is false for every other request, and nothing is then known
// of its sender. An error is the fault of a handshake that is refused.
func (h *Handshake) Answer(ctx context.Context, r *verify.Request) (response *Response, handled bool, err error) {
	response, err = h.answer(ctx, r)
	return response, response != nil || err != nil, err
}

// verifier compiles the endpoint's verification; a nil one lets everybody pass.
func verifier(spec verify.Spec) (func(context.Context, *verify.Request) error, error) {
	if spec.Type == "" {
		return func(context.Context, *verify.Request) error { return nil }, nil
	}
	v, err := verify.Compile(spec)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *verify.Request) error {
		_, err := v.Verify(ctx, r)
		return err
	}, nil
}

// signedBy refuses a handshake of a provider that signs, where the verification cannot check such signatures.
func signedBy(kind string, spec verify.Spec) error {
	if spec.Type == kind {
		return nil
	}
	return fault.New(fault.Invalid, "handshake "+kind+" needs what "+kind+" signs with",
		"write verify: {type: "+kind+", …}, which brings the handshake with it")
}

// text answers with plain text, which no browser takes for anything else.
func text(body string) *Response {
	return &Response{
		Status: http.StatusOK, Body: []byte(body),
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}},
	}
}

func jsonText(value any) (*Response, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "writing the answer", "")
	}
	return &Response{Status: http.StatusOK, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

// parameter gives a query parameter, decoded, and whether it is there.
func parameter(r *verify.Request, name string) (string, bool) {
	query, _ := url.ParseQuery(r.RawQuery()) // what can be read of it is what counts
	values := query[name]
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}
