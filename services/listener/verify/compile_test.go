package verify

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/fault"
)

func errorStatus(err error) int { return fault.HTTPStatus(err) }

func TestCompileRefuses(t *testing.T) {
	options := func(pairs ...string) map[string][]string {
		o := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i]] = append(o[pairs[i]], pairs[i+1])
		}
		return o
	}
	one := []string{"s"}
	for want, spec := range map[string]Spec{
		"verify.type  is not known":              {},
		"verify.type githb is not known":         {Type: "githb", Secrets: one},
		"verify.secret is missing":               {Type: "github"},
		"verify.secret 2 is empty":               {Type: "github", Secrets: []string{"a", ""}},
		"verify.scret means nothing to github":   {Type: "github", Secrets: one, Options: options("scret", "s")},
		"verify.header is missing":               {Type: "hmac", Secrets: one},
		"verify.header is empty":                 {Type: "hmac", Secrets: one, Options: options("header", "")},
		"verify.header takes one value":          {Type: "hmac", Secrets: one, Options: options("header", "A", "header", "B")},
		"verify.algorithm is \"md5\"":            {Type: "hmac", Secrets: one, Options: options("header", "A", "algorithm", "md5")},
		"verify.encoding is \"ascii\"":           {Type: "hmac", Secrets: one, Options: options("header", "A", "encoding", "ascii")},
		"verify.signed has {boody}":              {Type: "hmac", Secrets: one, Options: options("header", "A", "signed", "{boody}{body}")},
		"verify.signed has {header.}":            {Type: "hmac", Secrets: one, Options: options("header", "A", "signed", "{header.}{body}")},
		"verify.signed has a { that":             {Type: "hmac", Secrets: one, Options: options("header", "A", "signed", "{body}{time")},
		"does not hold {body}":                   {Type: "hmac", Secrets: one, Options: options("header", "A", "signed", "{url}")},
		"does not hold the time":                 {Type: "hmac", Secrets: one, Options: options("header", "A", "timestamp_header", "T")},
		"neither verify.timestamp_header":        {Type: "hmac", Secrets: one, Options: options("header", "A", "signed", "{timestamp}{body}")},
		"needs verify.prefix":                    {Type: "hmac", Secrets: one, Options: options("header", "A", "signed", "{timestamp}{body}", "timestamp_prefix", "t=")},
		"verify.secret 1 is not hex":             {Type: "hmac", Secrets: one, Options: options("header", "A", "secret_encoding", "hex")},
		"verify.header or verify.query must":     {Type: "token", Secrets: one},
		"only one of them":                       {Type: "token", Secrets: one, Options: options("header", "A", "query", "a")},
		"verify.prefix is for a token in a head": {Type: "token", Secrets: one, Options: options("query", "a", "prefix", "b")},
		"verify.username is missing":             {Type: "basic", Secrets: one},
		"verify.password is missing":             {Type: "basic", Options: options("username", "me")},
		"verify.password is empty":               {Type: "basic", Options: options("username", "me", "password", "")},
		"verify.public_key is missing":           {Type: "discord"},
		"verify.public_key 1 is not the 64 hex":  {Type: "discord", Options: options("public_key", strings.Repeat("0", 63))},
		"verify.secret 1 is not base64":          {Type: "svix", Secrets: []string{"whsec_?"}},
		"private key (whsk_)":                    {Type: "standard-webhooks", Secrets: []string{"whsk_AAAA"}},
		"verify.public_key 1 is not whpk_":       {Type: "standard-webhooks", Options: options("public_key", "whpk_AAAA")},
		"verify.webhook_id is missing":           {Type: "paypal", Fetch: pages{}},
		"verify.webhook_id is empty":             {Type: "paypal", Fetch: pages{}, Options: options("webhook_id", "")},
		"verify.secret means nothing to paypal":  {Type: "paypal", Fetch: pages{}, Secrets: one, Options: options("webhook_id", "1")},
		"verify.version is \"v4\"":               {Type: "hubspot", Secrets: one, Options: options("version", "v4")},
		"nothing to fetch them with":             {Type: "aws-sns"},
		"one of verify.secret, verify.public_ke": {Type: "jwt"},
		"jwt needs one of":                       {Type: "jwt", Secrets: one, Fetch: pages{}, Options: options("jwks_url", "https://a.example/k")},
		"verify.jwks_url is not an https":        {Type: "jwt", Fetch: pages{}, Options: options("jwks_url", "http://a.example/k")},
		"verify.algorithm \"none\"":              {Type: "jwt", Secrets: one, Options: options("algorithm", "none")},
		"verify.algorithm \"RS256\"":             {Type: "jwt", Secrets: one, Options: options("algorithm", "RS256")},
		"it is not PEM":                          {Type: "jwt", Options: options("public_key", "abc")},
		"is not name=value":                      {Type: "jwt", Secrets: one, Options: options("claims", "abc")},
	} {
		_, err := Compile(spec)
		if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("got %v (%s), want %s", err, fault.HintOf(err), want)
		}
	}
	_, err := Compile(Spec{Type: "hmac", Options: options("algorithm", "x", "typo", "y")})
	for _, want := range []string{"secret is missing", "header is missing", "algorithm", "typo"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, which does not say %s", err, want)
		}
	}
	if _, err := Compile(Spec{Type: "meta", Secrets: one, Options: options("verify_token", "t")}); err != nil {
		t.Errorf("what the handshake reads: %v", err)
	}
}
