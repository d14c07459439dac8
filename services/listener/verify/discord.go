package verify

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"time"
)

const (
	discordHeader = "X-Signature-Ed25519"
	discordTime   = "X-Signature-Timestamp"
)

// discord verifies an Ed25519 signature with the application's public key.
type discord struct {
	keys      []ed25519.PublicKey
	tolerance time.Duration
}

func newDiscord(s *settings) scheme {
	d := &discord{tolerance: s.tolerance(defaultTolerance)}
	for i, text := range publicKeys(s) {
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			s.problem("verify.public_key %d is not the 64 hex digits of a Discord application's public key", i+1)
			continue
		}
		d.keys = append(d.keys, key)
	}
	return d
}

// publicKeys gives the public keys, of which there must be one. As they are no secrets they may stand in either place.
func publicKeys(s *settings) []string {
	keys := s.list("public_key", "public_keys")
	for _, secret := range s.optionalSecrets() {
		keys = append(keys, string(secret))
	}
	if len(keys) == 0 && len(s.problems) == 0 {
		s.problem("verify.public_key is missing")
	}
	return keys
}

func (d *discord) verify(_ context.Context, r *Request) (Result, error) {
	text, err := one(r, discordHeader)
	if err != nil {
		return Result{}, err
	}
	stamp, err := one(r, discordTime)
	if err != nil {
		return Result{}, err
	}
	given, ok := hexLower.decode(text, ed25519.SignatureSize)
	if !ok {
		return Result{}, malformed("the signature in "+discordHeader, "128 lower-case hex digits")
	}
	if !anySigned(d.keys, append([]byte(stamp), r.Body...), given) {
		return Result{}, wrong("the signature in " + discordHeader)
	}
	if err := age(r.Now, "the header "+discordTime, stamp, seconds, d.tolerance); err != nil {
		return Result{}, err
	}
	return Result{DeliveryID: field(r.Body, "id")}, nil
}

func anySigned(keys []ed25519.PublicKey, text, given []byte) bool {
	for _, key := range keys {
		if ed25519.Verify(key, text, given) {
			return true
		}
	}
	return false
}
