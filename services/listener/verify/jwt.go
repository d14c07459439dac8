package verify

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// token verifies a JSON Web Token: by shared secrets, by public keys, or by those at a URL.
type token struct {
	header     string
	algorithms []jose.SignatureAlgorithm
	keys       []any // secrets or public keys
	set        *cache[*jose.JSONWebKeySet]
	url        string
	issuer     string
	audience   []string
	claims     []string // name=value
	bodyHash   string   // the claim that holds the body's SHA-256
	tolerance  time.Duration
}

func newJWT(s *settings) scheme {
	t := &token{
		header: s.text("header", "Authorization"), url: s.text("jwks_url", ""), bodyHash: s.text("body_hash_claim", ""),
		issuer: s.text("issuer", ""), audience: s.list("audience"),
		claims: s.list("claims"), tolerance: s.tolerance(defaultTolerance),
	}
	for _, claim := range t.claims {
		if !strings.Contains(claim, "=") {
			s.problem("verify.claims has %q, which is not name=value", claim)
		}
	}
	sources := 0
	// Each kind of key has algorithms of its own: a public key must never be taken for a shared secret.
	possible := []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
	if secrets := s.optionalSecrets(); len(secrets) > 0 {
		sources++
		possible = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
		for _, secret := range secrets {
			// HMAC fills a short key up with zeros itself; go-jose wants it as long as the hash, and gives the same result.
			t.keys = append(t.keys, append(secret, make([]byte, max(0, sha256.BlockSize-len(secret)))...))
		}
	}
	if public := s.list("public_key", "public_keys"); len(public) > 0 {
		sources++
		for i, text := range public {
			key, err := publicPEM(text)
			if err != nil {
				s.problem("verify.public_key %d cannot be read: %v", i+1, err)
			}
			t.keys = append(t.keys, key)
		}
	}
	if t.url != "" {
		sources++
		if _, ok := plainURL(t.url); !ok {
			s.problem("verify.jwks_url is not an https address")
		}
		t.set = newCache(s.fetcher(), keySet)
	}
	if sources != 1 && len(s.problems) == 0 {
		s.problem("jwt needs one of verify.secret, verify.public_key and verify.jwks_url")
	}
	t.algorithms = possible
	if only := s.list("algorithm"); len(only) > 0 {
		t.algorithms = nil
		for _, name := range only {
			if !slices.Contains(possible, jose.SignatureAlgorithm(name)) {
				s.problem("verify.algorithm %q is not one for such a key", name)
			}
			t.algorithms = append(t.algorithms, jose.SignatureAlgorithm(name))
		}
	}
	return t
}

// publicPEM reads a PEM public key or certificate.
func publicPEM(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if block.Type == "CERTIFICATE" {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

func (t *token) verify(ctx context.Context, r *Request) (Result, error) {
	text, err := one(r, t.header)
	if err != nil {
		return Result{}, err
	}
	if word, rest, ok := strings.Cut(text, " "); ok && strings.EqualFold(word, "Bearer") {
		text = rest
	} else if strings.EqualFold(t.header, "Authorization") {
		return Result{}, malformed("the header Authorization", "Bearer <token>")
	}
	parsed, err := jwt.ParseSigned(text, t.algorithms)
	if err == nil && strings.ContainsAny(text, "\r\n") { // which encoding/base64 skips
		err = errors.New("it goes over several lines")
	}
	if err != nil {
		return Result{}, because(Malformed, "the token in "+t.header+" cannot be read", "it is expected to be a signed JWT", err)
	}
	var claims jwt.Claims
	var all map[string]json.RawMessage
	if err := t.open(ctx, r, parsed, &claims, &all); err != nil {
		return Result{}, err
	}
	if err := t.times(r.Now, claims); err != nil {
		return Result{}, err
	}
	if err := t.check(claims, all, r.Body); err != nil {
		return Result{}, because(Wrong, "the token in "+t.header+" is not for this endpoint", "compare its claims with those in verify", err)
	}
	return Result{DeliveryID: claims.ID}, nil
}

// open reads the claims with the key that has signed them.
func (t *token) open(ctx context.Context, r *Request, parsed *jwt.JSONWebToken, claims ...any) error {
	if t.set == nil {
		return t.try(parsed, t.keys, claims...)
	}
	var refused error
	for _, renew := range []bool{false, true} { // a key may be newer than our copy
		set, err := t.set.get(ctx, t.url, r.Now, renew)
		if err != nil {
			return unavailable("the keys of verify.jwks_url", err)
		}
		var keys []any
		for _, key := range set.Keys {
			if kid := parsed.Headers[0].KeyID; kid == "" || key.KeyID == kid {
				if key.Algorithm == "" || key.Algorithm == parsed.Headers[0].Algorithm {
					keys = append(keys, key.Key)
				}
			}
		}
		if refused = t.try(parsed, keys, claims...); !errors.Is(refused, Wrong) {
			return refused
		}
	}
	return refused
}

func (t *token) try(parsed *jwt.JSONWebToken, keys []any, claims ...any) error {
	for _, key := range keys {
		var payload json.RawMessage
		if parsed.Claims(key, &payload) != nil {
			continue
		}
		for _, into := range claims {
			if err := parsed.Claims(key, into); err != nil {
				return because(Malformed, "the token's claims cannot be read", "they are expected to be a JSON object with the registered claims", err)
			}
		}
		return nil
	}
	return wrong("the token's signature in " + t.header)
}

// times holds the token's own times against now. One that says when it ends is good until then; one that says only when
// it was made is as old as that; one that says neither would be good for ever.
func (t *token) times(now time.Time, claims jwt.Claims) error {
	expiry, start, issued := claims.Expiry, claims.NotBefore, claims.IssuedAt
	switch {
	case expiry != nil && now.Sub(expiry.Time()) > t.tolerance:
		return refuse(Stale, "the token has expired", "send a new one")
	case start != nil && start.Time().Sub(now) > t.tolerance:
		return refuse(Future, "the token is not valid yet", "set the clocks of both sides")
	case t.tolerance == 0:
		return nil
	case issued == nil && expiry == nil:
		return malformed("the token's age", "in its claims exp or iat (or tolerance: 0 accepts it for ever)")
	case issued == nil:
		return nil
	case issued.Time().Sub(now) > t.tolerance || expiry == nil:
		return fresh(now, issued.Time(), t.tolerance)
	}
	return nil
}

// check holds the claims against what is expected. Times were checked before.
func (t *token) check(claims jwt.Claims, all map[string]json.RawMessage, body []byte) error {
	if t.issuer != "" && claims.Issuer != t.issuer {
		return jwt.ErrInvalidIssuer
	}
	if len(t.audience) > 0 && !slices.ContainsFunc(t.audience, claims.Audience.Contains) {
		return jwt.ErrInvalidAudience
	}
	for _, claim := range t.claims {
		name, want, _ := strings.Cut(claim, "=")
		if claimText(all[name]) != want {
			return fmt.Errorf("the claim %s is another", name)
		}
	}
	if t.bodyHash != "" {
		sum := sha256.Sum256(body)
		got := []byte(claimText(all[t.bodyHash]))
		if sameText(got, []byte(hex.EncodeToString(sum[:])))|sameText(got, []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) != 1 {
			return fmt.Errorf("the claim %s is not the body's SHA-256", t.bodyHash)
		}
	}
	return nil
}

// claimText gives a claim as text; an unknown one is "".
func claimText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (t *token) sensitive() Sensitive { return Sensitive{Headers: []string{t.header}} }

func (t *token) challenge() string {
	if !strings.EqualFold(t.header, "Authorization") {
		return ""
	}
	return "Bearer"
}
