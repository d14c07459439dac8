package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"
)

// standard is the Standard Webhooks scheme, and those of Svix, Replicate, OpenAI and GitLab's signing tokens, which it is.
type standard struct {
	families  []string // of headers: webhook-id, webhook-timestamp, webhook-signature
	keys      [][]byte
	public    []ed25519.PublicKey
	bare      bool // items without "v1," count as well
	tolerance time.Duration
}

func newStandard(s *settings) scheme {
	v := &standard{families: []string{"webhook", "svix"}, tolerance: s.tolerance(defaultTolerance)}
	raw := false
	switch s.spec.Type {
	case "svix":
		v.families = []string{"svix", "webhook"}
	case "openai":
		// As OpenAI's SDKs have it: a secret without the prefix is text, and so is a signature.
		v.families, v.bare, raw = []string{"webhook"}, true, true
	case "replicate":
		v.families = []string{"webhook"}
	}
	for i, text := range append(s.list("public_key", "public_keys"), publicSecrets(s)...) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, publicPrefix))
		if err != nil || len(key) != ed25519.PublicKeySize {
			s.problem("verify.public_key %d is not whpk_ and the base64 of an Ed25519 key", i+1)
			continue
		}
		v.public = append(v.public, key)
	}
	for i, text := range s.optionalSecrets() {
		switch text := string(text); {
		case strings.HasPrefix(text, publicPrefix): // read above
		case strings.HasPrefix(text, "whsk_"):
			s.problem("verify.secret %d is the sender's private key (whsk_); the receiver needs its public key (whpk_)", i+1)
		case raw && !strings.HasPrefix(text, secretPrefix):
			v.keys = append(v.keys, []byte(text))
		default:
			v.keys = append(v.keys, standardKey(s, i, text))
		}
	}
	if len(v.keys) == 0 && len(v.public) == 0 && len(s.problems) == 0 {
		s.problem("verify.secret is missing")
	}
	return v
}

const (
	secretPrefix = "whsec_"
	publicPrefix = "whpk_"
)

// publicSecrets gives the public keys that stand among the secrets.
func publicSecrets(s *settings) []string {
	var keys []string
	for _, text := range s.spec.Secrets {
		if strings.HasPrefix(text, publicPrefix) {
			keys = append(keys, text)
		}
	}
	return keys
}

func standardKey(s *settings, i int, text string) []byte {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil || len(key) == 0 {
		s.problem("verify.secret %d is not base64, with or without whsec_ in front", i+1)
	}
	return key
}

func (v *standard) verify(_ context.Context, r *Request) (Result, error) {
	family := v.families[0]
	for _, f := range v.families {
		if has(r, f+"-signature") {
			family = f
			break
		}
	}
	header := family + "-signature"
	signatures, err := one(r, header)
	if err != nil {
		return Result{}, err
	}
	id, err := one(r, family+"-id")
	if err != nil {
		return Result{}, err
	}
	stamp, err := one(r, family+"-timestamp")
	if err != nil {
		return Result{}, err
	}
	if err := v.match(r, header, signatures, id+"."+stamp+"."); err != nil {
		return Result{}, err
	}
	if err := age(r.Now, "the header "+family+"-timestamp", stamp, seconds, v.tolerance); err != nil {
		return Result{}, err
	}
	return Result{DeliveryID: id}, nil
}

// match looks for a signature, among those in the list, that one of the keys has made.
func (v *standard) match(r *Request, header, signatures, before string) error {
	items := strings.Fields(signatures)
	if len(items) > maxItems {
		return malformed("the list in "+header, "shorter")
	}
	var macs, signs [][]byte
	for _, item := range items {
		version, text, ok := strings.Cut(item, ",")
		if !ok && v.bare {
			version, text = "v1", item
		}
		// Other versions, and what cannot be read, are passed over as the specification says.
		switch version {
		case "v1":
			if mac, ok := base64Std.decode(text, sha256.Size); ok {
				macs = append(macs, mac)
			}
		case "v1a":
			if sign, ok := base64Std.decode(text, ed25519.SignatureSize); ok {
				signs = append(signs, sign)
			}
		}
	}
	if len(macs) == 0 && len(signs) == 0 {
		return malformed("the signature in "+header, "v1,<base64> or v1a,<base64>, or several with blanks between")
	}
	matched := 0
	for _, key := range v.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(before))
		mac.Write(r.Body)
		want := mac.Sum(nil)
		for _, given := range macs {
			matched |= subtle.ConstantTimeCompare(want, given)
		}
	}
	if len(signs) > 0 && len(v.public) > 0 {
		text := append([]byte(before), r.Body...)
		for _, key := range v.public {
			for _, sign := range signs {
				if ed25519.Verify(key, text, sign) {
					matched = 1
				}
			}
		}
	}
	if matched != 1 {
		return wrong("the signature in " + header)
	}
	return nil
}
