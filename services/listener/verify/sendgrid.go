package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"time"
)

const (
	sendgridHeader = "X-Twilio-Email-Event-Webhook-Signature"
	sendgridTime   = "X-Twilio-Email-Event-Webhook-Timestamp"
)

// sendgrid verifies an ECDSA signature with the webhook's public key.
type sendgrid struct {
	keys      []*ecdsa.PublicKey
	tolerance time.Duration
}

func newSendGrid(s *settings) scheme {
	v := &sendgrid{tolerance: s.tolerance(defaultTolerance)}
	for i, text := range publicKeys(s) {
		key, ok := ecdsaKey(text)
		if !ok {
			s.problem("verify.public_key %d is not the base64 text of a P-256 public key that SendGrid shows", i+1)
			continue
		}
		v.keys = append(v.keys, key)
	}
	return v
}

func ecdsaKey(text string) (*ecdsa.PublicKey, bool) {
	der, err := base64.StdEncoding.DecodeString(text)
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der, err = block.Bytes, nil
	}
	if err != nil {
		return nil, false
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, false
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	return key, ok && key.Curve == elliptic.P256()
}

func (v *sendgrid) verify(_ context.Context, r *Request) (Result, error) {
	text, err := one(r, sendgridHeader)
	if err != nil {
		return Result{}, err
	}
	stamp, err := one(r, sendgridTime)
	if err != nil {
		return Result{}, err
	}
	given, ok := base64Std.decode(text, 0)
	if !ok {
		return Result{}, malformed("the signature in "+sendgridHeader, "base64 of an ECDSA signature")
	}
	sum := sha256.Sum256(append([]byte(stamp), r.Body...))
	genuine := false
	for _, key := range v.keys {
		genuine = genuine || ecdsa.VerifyASN1(key, sum[:], given)
	}
	if !genuine {
		return Result{}, wrong("the signature in " + sendgridHeader)
	}
	if err := age(r.Now, "the header "+sendgridTime, stamp, seconds, v.tolerance); err != nil {
		return Result{}, err
	}
	return Result{ItemID: "sg_event_id"}, nil
}
