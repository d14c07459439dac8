package handshake

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// dropbox echoes the challenge of a GET.
func dropbox(Spec) (answer, error) {
	return func(_ context.Context, r *verify.Request) (*Response, error) {
		challenge, ok := parameter(r, "challenge")
		if r.Method != http.MethodGet || !ok {
			return nil, nil
		}
		return text(challenge), nil
	}, nil
}

// microsoftGraph echoes the token of a request that holds nothing else.
func microsoftGraph(Spec) (answer, error) {
	return func(_ context.Context, r *verify.Request) (*Response, error) {
		token, ok := parameter(r, "validationToken")
		if r.Method != http.MethodPost && r.Method != http.MethodGet || !ok {
			return nil, nil
		}
		return text(token), nil
	}, nil
}

// meta echoes the challenge of a GET that knows the verify token.
func meta(spec Spec) (answer, error) {
	tokens := spec.Verify.Options["verify_token"]
	if slices.Contains(tokens, "") {
		return nil, fault.New(fault.Invalid, "verify.verify_token is empty", "is its variable set?")
	}
	// Without one, every such GET is refused: the endpoint may have been subscribed long ago.
	return func(_ context.Context, r *verify.Request) (*Response, error) {
		mode, ok := parameter(r, "hub.mode")
		if r.Method != http.MethodGet || !ok {
			return nil, nil
		}
		given, _ := parameter(r, "hub.verify_token")
		challenge, asked := parameter(r, "hub.challenge")
		matched := 0
		for _, token := range tokens {
			x, y := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
			matched |= subtle.ConstantTimeCompare(x[:], y[:])
		}
		if mode != "subscribe" || !asked || matched != 1 {
			return nil, fault.New(fault.Forbidden, "hub.verify_token is not the one that is set here",
				"set the same text in verify.verify_token and at the provider")
		}
		return text(challenge), nil
	}, nil
}
