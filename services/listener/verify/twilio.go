package verify

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Twilio signs with
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
)

const twilioHeader = "X-Twilio-Signature"

// twilio verifies an HMAC-SHA1 over the address and the form's parameters, or the address with the body's hash in it.
type twilio struct {
	keys [][]byte
}

func newTwilio(s *settings) scheme {
	s.untimed()
	return &twilio{keys: s.secrets()}
}

func (t *twilio) verify(_ context.Context, r *Request) (Result, error) {
	text, err := one(r, twilioHeader)
	if err != nil {
		return Result{}, err
	}
	given, ok := base64Std.decode(text, sha1.Size)
	if !ok {
		return Result{}, malformed("the signature in "+twilioHeader, "base64 of an HMAC-SHA1")
	}
	params, err := twilioParams(r)
	if err != nil {
		return Result{}, err
	}
	matched := 0
	for _, base := range r.Bases {
		// Whether a port is in the text depends on which part of Twilio signs, so its SDKs try both as well.
		for _, spelling := range spellings(base) {
			for _, key := range t.keys {
				mac := hmac.New(sha1.New, key)
				_, _ = io.WriteString(mac, spelling+r.Target+params)
				matched |= subtle.ConstantTimeCompare(mac.Sum(nil), given)
			}
		}
	}
	if matched != 1 {
		return Result{}, wrongURL("the signature in "+twilioHeader, r)
	}
	return Result{DeliveryID: deliveryID{header: "I-Twilio-Idempotency-Token"}.of(r)}, nil
}

// twilioParams gives the text that follows the address: each parameter's name and value, sorted. It is empty for a body
// whose hash is in the address, and refuses a body that nothing signs.
func twilioParams(r *Request) (string, error) {
	query, err := url.ParseQuery(r.RawQuery())
	if err != nil {
		return "", malformed("the query", "well-formed")
	}
	if hashes := query["bodySHA256"]; len(hashes) > 0 {
		sum := sha256.Sum256(r.Body)
		if len(hashes) != 1 || subtle.ConstantTimeCompare([]byte(hashes[0]), []byte(hex.EncodeToString(sum[:]))) != 1 {
			return "", refuse(Wrong, "the body is not the one of bodySHA256", "check that nothing changes the body on its way")
		}
		return "", nil
	}
	if len(r.Body) == 0 {
		return "", nil
	}
	if kind, _ := mediaType(r); kind != "application/x-www-form-urlencoded" {
		return "", missing("bodySHA256, which covers a body that is no form,")
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return "", malformed("the form", "well-formed")
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		values := form[name]
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			text.WriteString(name)
			text.WriteString(value)
		}
	}
	return text.String(), nil
}

// spellings gives a base as it is, without its port, and with the port that its scheme stands for.
func spellings(base string) []string {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return []string{base}
	}
	all := []string{base}
	host := u.Hostname()
	if u.Port() != "" {
		if u.Host = host; strings.Contains(host, ":") {
			u.Host = "[" + host + "]"
		}
		return append(all, u.String())
	}
	u.Host = net.JoinHostPort(host, usualPort(u.Scheme))
	return append(all, u.String())
}
