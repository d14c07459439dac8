package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	falHeader = "X-Fal-Webhook-Signature"
	falTime   = "X-Fal-Webhook-Timestamp"
	falUser   = "X-Fal-Webhook-User-Id"
	falID     = "X-Fal-Webhook-Request-Id"
)

// fal verifies an Ed25519 signature with the keys that fal.ai publishes.
type fal struct {
	keys      *cache[[]ed25519.PublicKey]
	urls      []string
	tolerance time.Duration
}

func newFal(s *settings) scheme {
	// fal.ai's documentation has had both; the first is the later one.
	urls := []string{"https://rest.fal.ai/.well-known/jwks.json", "https://rest.alpha.fal.ai/.well-known/jwks.json"}
	if only := s.oneOf("jwks_url", "", urls...); only != "" {
		urls = []string{only}
	}
	return &fal{keys: newCache(s.fetcher(), edKeys), urls: urls, tolerance: s.tolerance(defaultTolerance)}
}

func edKeys(body []byte) ([]ed25519.PublicKey, error) {
	set, err := keySet(body)
	if err != nil {
		return nil, err
	}
	var keys []ed25519.PublicKey
	for _, key := range set.Keys {
		if public, ok := key.Key.(ed25519.PublicKey); ok {
			keys = append(keys, public)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no Ed25519 key")
	}
	return keys, nil
}

// keySet reads a JSON Web Key Set, and passes over the keys in it that are of no kind that we know.
func keySet(body []byte) (*jose.JSONWebKeySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	set := &jose.JSONWebKeySet{}
	for _, text := range raw.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(text) == nil && key.IsPublic() && key.Valid() && key.Use != "enc" {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("the key set holds no key to verify with")
	}
	return set, nil
}

func (f *fal) verify(ctx context.Context, r *Request) (Result, error) {
	values := make([]string, 0, 4)
	for _, name := range []string{falHeader, falID, falUser, falTime} {
		value, err := one(r, name)
		if err != nil {
			return Result{}, err
		}
		values = append(values, value)
	}
	given, ok := hexLower.decode(values[0], ed25519.SignatureSize)
	if !ok {
		return Result{}, malformed("the signature in "+falHeader, "128 lower-case hex digits")
	}
	sum := sha256.Sum256(r.Body)
	text := []byte(strings.Join(append(values[1:], hex.EncodeToString(sum[:])), "\n"))
	if err := f.match(ctx, r, text, given); err != nil {
		return Result{}, err
	}
	if err := age(r.Now, "the header "+falTime, values[3], seconds, f.tolerance); err != nil {
		return Result{}, err
	}
	return Result{DeliveryID: values[1]}, nil
}

func (f *fal) match(ctx context.Context, r *Request, text, given []byte) error {
	var failed error
	got := false
	for _, renew := range []bool{false, true} { // a key may be newer than our copy
		for _, url := range f.urls {
			keys, err := f.keys.get(ctx, url, r.Now, renew)
			if err != nil {
				failed = err
				continue
			}
			got = true
			if anySigned(keys, text, given) {
				return nil
			}
			break // the second address is for when the first does not answer
		}
	}
	if !got {
		return unavailable("fal.ai's public keys", failed)
	}
	return wrong("the signature in " + falHeader)
}
