package handshake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// slack echoes the challenge of a url_verification.
func slack(spec Spec) (answer, error) {
	check, err := verifier(spec.Verify)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *verify.Request) (*Response, error) {
		if r.Method != http.MethodPost || member(r.Body, "type").Str != "url_verification" {
			return nil, nil
		}
		if err := check(ctx, r); err != nil {
			return nil, err
		}
		challenge := member(r.Body, "challenge")
		if challenge.Type != gjson.String {
			return nil, fault.New(fault.Unusable, "the url_verification holds no challenge", "send it as Slack does")
		}
		return text(challenge.Str), nil
	}, nil
}

// discord answers both its pings: that of interactions, and that of webhook events, whose events have the type of the
// other's ping.
func discord(spec Spec) (answer, error) {
	if err := signedBy("discord", spec.Verify); err != nil {
		return nil, err
	}
	check, err := verifier(spec.Verify)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *verify.Request) (*Response, error) {
		kind := member(r.Body, "type")
		if r.Method != http.MethodPost || kind.Raw != "0" && kind.Raw != "1" || member(r.Body, "event").Exists() {
			return nil, nil
		}
		if err := check(ctx, r); err != nil {
			return nil, err
		}
		if kind.Raw == "0" {
			return &Response{Status: http.StatusNoContent, Header: http.Header{}}, nil
		}
		return jsonText(map[string]int{"type": 1})
	}, nil
}

// zoom proves that the endpoint knows the secret, with the one that Zoom has signed with.
func zoom(spec Spec) (answer, error) {
	if err := signedBy("zoom", spec.Verify); err != nil {
		return nil, err
	}
	var checks []func(context.Context, *verify.Request) error
	for _, secret := range spec.Verify.Secrets {
		alone := spec.Verify
		alone.Secrets = []string{secret}
		check, err := verifier(alone)
		if err != nil {
			return nil, err
		}
		checks = append(checks, check)
	}
	if _, err := verifier(spec.Verify); err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *verify.Request) (*Response, error) {
		if r.Method != http.MethodPost || member(r.Body, "event").Str != "endpoint.url_validation" {
			return nil, nil
		}
		var refused error
		for i, check := range checks {
			if err := check(ctx, r); err != nil {
				if i == 0 || verify.ReasonOf(err) != verify.Wrong {
					refused = err
				}
				continue
			}
			token := member(r.Body, "payload.plainToken")
			if token.Type != gjson.String {
				return nil, fault.New(fault.Unusable, "the endpoint.url_validation holds no plainToken", "send it as Zoom does")
			}
			proof := hex.EncodeToString(sum(spec.Verify.Secrets[i], token.Str))
			return jsonText(map[string]string{"plainToken": token.Str, "encryptedToken": proof})
		}
		return nil, refused
	}, nil
}

// twitter proves that the endpoint knows the secret. The proof is what also signs a body, so it is given of nothing that
// could be one.
func twitter(spec Spec) (answer, error) {
	if err := signedBy("twitter", spec.Verify); err != nil {
		return nil, err
	}
	if _, err := verifier(spec.Verify); err != nil {
		return nil, err
	}
	return func(_ context.Context, r *verify.Request) (*Response, error) {
		token, ok := parameter(r, "crc_token")
		if r.Method != http.MethodGet || !ok {
			return nil, nil
		}
		if token == "" || len(token) > 256 || strings.ContainsFunc(token, notInToken) {
			return nil, fault.New(fault.Invalid, "crc_token is not one of Twitter's", "it is letters, digits and -_=+/ alone")
		}
		secret := spec.Verify.Secrets[0]
		// Twitter signs the two parameters that it adds, though it is not said to do so always.
		if given := r.Header.Values("X-Twitter-Webhooks-Signature"); len(given) > 0 {
			if secret, ok = signer(spec.Verify.Secrets, added(r.RawQuery()), given[0]); !ok {
				return nil, fault.Wrap(verify.Wrong, fault.Unauthorized, "the signature in X-Twitter-Webhooks-Signature does not match",
					"check that verify.secret is the app's consumer secret")
			}
		}
		return jsonText(map[string]string{"response_token": "sha256=" + base64.StdEncoding.EncodeToString(sum(secret, token))})
	}, nil
}

// added gives the part of a query that Twitter has added to the endpoint's own.
func added(query string) string {
	var pairs []string
	for pair := range strings.SplitSeq(query, "&") {
		if strings.HasPrefix(pair, "crc_token=") || strings.HasPrefix(pair, "nonce=") {
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(pairs, "&")
}

// signer gives the secret that has signed text.
func signer(secrets []string, text, given string) (string, bool) {
	for _, secret := range secrets {
		want := "sha256=" + base64.StdEncoding.EncodeToString(sum(secret, text))
		if subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1 {
			return secret, true
		}
	}
	return "", false
}

func notInToken(c rune) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	return !letter && !strings.ContainsRune("-_=+/", c)
}

func sum(secret, text string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// member gives a member of a JSON object. What is found in other texts is of no matter: nothing is done that a signature
// does not cover, but echo it.
func member(body []byte, path string) gjson.Result { return gjson.GetBytes(body, path) }
