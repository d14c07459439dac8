package verify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strings"
)

// plain compares a secret that is sent as it is, in a header or in the query. It proves nothing about the body.
type plain struct {
	header   string
	prefix   string
	query    string
	accepted [][]byte
}

func newPlain(s *settings) scheme {
	s.untimed()
	switch s.spec.Type {
	case "basic":
		return newBasic(s)
	case "bearer":
		return &plain{header: "Authorization", prefix: "Bearer ", accepted: s.secrets()}
	}
	p := &plain{header: s.text("header", ""), prefix: s.text("prefix", ""), query: s.text("query", ""), accepted: s.secrets()}
	if (p.header == "") == (p.query == "") {
		s.problem("verify.header or verify.query must say where the token is, and only one of them")
	}
	if p.prefix != "" && p.header == "" {
		s.problem("verify.prefix is for a token in a header")
	}
	return p
}

// newBasic accepts one user name with any of the passwords, given as password or as secrets.
func newBasic(s *settings) scheme {
	user := s.required("username")
	passwords := s.list("password")
	for _, secret := range s.optionalSecrets() {
		passwords = append(passwords, string(secret))
	}
	if len(passwords) == 0 && len(s.problems) == 0 {
		s.problem("verify.password is missing")
	}
	p := &plain{header: "Authorization", prefix: "Basic "}
	for _, password := range passwords {
		p.accepted = append(p.accepted, []byte(base64.StdEncoding.EncodeToString([]byte(user+":"+password))))
	}
	return p
}

func (p *plain) verify(_ context.Context, r *Request) (Result, error) {
	what := "the header " + p.header
	var given string
	if p.query != "" {
		what = "the query parameter " + p.query
		query, err := url.ParseQuery(r.RawQuery())
		if err != nil {
			return Result{}, malformed("the query", "well-formed")
		}
		switch values := query[p.query]; {
		case len(values) == 0 || len(values) == 1 && values[0] == "":
			return Result{}, missing(what)
		case len(values) > 1:
			return Result{}, refuse(Malformed, what+" is there more than once", "send it once")
		default:
			given = values[0]
		}
	} else {
		value, err := one(r, p.header)
		if err != nil {
			return Result{}, err
		}
		// The word before the token, such as Bearer, has no case (RFC 9110).
		if len(value) <= len(p.prefix) || !strings.EqualFold(value[:len(p.prefix)], p.prefix) {
			return Result{}, malformed(what, p.prefix+"<token>")
		}
		given = value[len(p.prefix):]
	}
	matched := 0
	for _, accepted := range p.accepted {
		matched |= sameText([]byte(given), accepted)
	}
	if matched != 1 {
		return Result{}, refuse(Wrong, what+" is not the secret", "check that verify.secret is the one set at the provider")
	}
	return Result{}, nil
}

func (p *plain) sensitive() Sensitive {
	if p.query != "" {
		return Sensitive{Query: []string{p.query}}
	}
	return Sensitive{Headers: []string{p.header}}
}

func (p *plain) challenge() string {
	switch {
	case !strings.EqualFold(p.header, "Authorization"):
		return ""
	case strings.EqualFold(p.prefix, "Basic "):
		return `Basic realm="callbacks", charset="UTF-8"`
	case strings.EqualFold(p.prefix, "Bearer "):
		return "Bearer"
	default:
		return ""
	}
}

// sameText compares in a time that tells neither the texts nor their lengths.
func sameText(a, b []byte) int {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:])
}
