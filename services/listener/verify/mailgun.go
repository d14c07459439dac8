package verify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"mime/multipart"
	"net/url"
	"time"

	"github.com/tidwall/gjson"
)

// mailgun verifies an HMAC of a time and a token, which are in the body. It signs nothing else of the body: its token,
// which is the delivery's id, is what keeps a signature from being used twice.
type mailgun struct {
	keys      [][]byte
	tolerance time.Duration
}

func newMailgun(s *settings) scheme {
	return &mailgun{keys: s.secrets(), tolerance: s.tolerance(defaultTolerance)}
}

// mailgunSignature is what a webhook has under "signature", and a route's form at its top.
type mailgunSignature struct {
	stamp, token, mac string
}

func (m *mailgun) verify(_ context.Context, r *Request) (Result, error) {
	signatures, err := mailgunSignatures(r)
	if err != nil {
		return Result{}, err
	}
	refused := wrong("the signature in the body")
	for _, signature := range signatures {
		given, ok := hexLower.decode(signature.mac, sha256.Size)
		// Time and token are signed without anything between them, so the time's length must be beyond doubt.
		if !ok || len(signature.stamp) != 10 || !digits(signature.stamp) || signature.token == "" {
			refused = malformed("the signature in the body", "a timestamp in seconds, a token, and lower-case hex")
			continue
		}
		matched := 0
		for _, key := range m.keys {
			mac := hmac.New(sha256.New, key)
			_, _ = io.WriteString(mac, signature.stamp+signature.token)
			matched |= subtle.ConstantTimeCompare(mac.Sum(nil), given)
		}
		if matched != 1 {
			continue
		}
		if err := age(r.Now, "the timestamp in the body", signature.stamp, seconds, m.tolerance); err != nil {
			return Result{}, err
		}
		return Result{DeliveryID: signature.token}, nil
	}
	return Result{}, refused
}

// mailgunSignatures finds the signature, and the parent account's for a subaccount.
func mailgunSignatures(r *Request) ([]mailgunSignature, error) {
	var found []mailgunSignature
	get := func(value func(string) string) {
		if s := (mailgunSignature{value("timestamp"), value("token"), value("signature")}); s.mac != "" {
			found = append(found, s)
		}
	}
	switch kind, params := mediaType(r); kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, malformed("the form", "well-formed")
		}
		get(form.Get)
	case "multipart/form-data":
		form, err := formFields(r.Body, params["boundary"], "timestamp", "token", "signature")
		if err != nil {
			return nil, err
		}
		get(func(name string) string { return form[name] })
	default:
		for _, name := range []string{"signature", "parent-signature"} {
			// By text and number alone, as the text is what is signed.
			get(func(part string) string { return gjson.GetBytes(r.Body, name+"."+part).String() })
		}
	}
	if len(found) == 0 {
		return nil, missing("the signature in the body")
	}
	return found, nil
}

// maxField bounds the fields that are read of a multipart form, and maxParts how many parts are looked at.
const (
	maxField = 1 << 10
	maxParts = 1000
)

// formFields gives the named fields of a multipart form.
func formFields(body []byte, boundary string, names ...string) (map[string]string, error) {
	refused := malformed("the form", "multipart/form-data")
	if boundary == "" {
		return nil, refused
	}
	fields := map[string]string{}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return fields, nil
		}
		if err != nil {
			return nil, refused
		}
		for _, name := range names {
			if part.FormName() != name || part.FileName() != "" {
				continue
			}
			value, err := io.ReadAll(io.LimitReader(part, maxField))
			if err != nil {
				return nil, refused
			}
			if _, twice := fields[name]; twice {
				return nil, refused
			}
			fields[name] = string(value)
		}
	}
	return nil, refused
}
