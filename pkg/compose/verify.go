package compose

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// verifyTypes gives each type of verification the fields without which it cannot work: one of each group.
func verifyTypes() map[string][][]string {
	secret := [][]string{{"secret", "secrets"}}
	key := [][]string{{"public_key", "public_keys"}}
	types := map[string][][]string{
		"discord": key, "sendgrid": key,
		"standard-webhooks": {{"secret", "secrets", "public_key", "public_keys"}},
		"paypal":            {{"webhook_id"}},
		"fal":               nil, "aws-sns": nil,
		"hmac":  {{"secret", "secrets"}, {"header"}},
		"token": {{"secret", "secrets"}, {"header", "query"}},
		"basic": {{"username"}, {"password"}},
		"jwt":   {{"jwks_url", "public_key", "public_keys", "secret", "secrets"}},
	}
	for _, name := range []string{
		"github", "gitlab", "stripe", "slack", "shopify", "twilio", "svix", "replicate", "openai", "zoom", "square",
		"linear", "hubspot", "mailgun", "paddle", "meta", "twitter", "bearer",
	} {
		types[name] = secret
	}
	return types
}

// verifyOptions are the fields of a verification that are templates.
func verifyOptions() map[string]string {
	return map[string]string{ //nolint:gosec // what the fields are for, and no secrets
		"public_key":       "The provider's public key.",
		"public_keys":      "Several public keys.",
		"verify_token":     "The token of Meta's handshake.",
		"webhook_id":       "PayPal's id of the webhook.",
		"username":         "The user of type basic.",
		"password":         "The password of type basic.",
		"header":           "The header that holds the signature or token.",
		"query":            "The query parameter that holds the token.",
		"jwks_url":         "Where the keys of type jwt are.",
		"issuer":           "The issuer that a jwt must have.",
		"audience":         "The audience that a jwt must have, or several of which it must have one.",
		"claims":           "Other claims that a jwt must have, each as name=value.",
		"body_hash_claim":  "The claim of a jwt that holds the body's SHA-256.",
		"topic_arn":        "The topics of aws-sns that may send.",
		"version":          "Of hubspot: v1, v2 or v3 alone.",
		"algorithm":        "Of hmac: sha256, sha1, sha384 or sha512. Of jwt: those that may sign, such as RS256.",
		"encoding":         "Of hmac: hex, hex-upper, base64 or base64url.",
		"secret_encoding":  "Of hmac: text, hex or base64.",
		"prefix":           "What stands before the signature in the header: sha256=",
		"signed":           "Of hmac: the text that is signed, such as {timestamp}.{body}; ${body} is the raw body. The body where it is not given.",
		"timestamp_header": "The header that holds the time of signing.",
		"timestamp_prefix": "What stands before the time, where one header holds it and the signature: t=",
	}
}

func verifyShape() shape[Verify] {
	sc := newScopes()
	secrets := func(d *decoder, n *node, into *Verify) {
		items := []*node{n}
		if n.kind == list {
			items = n.items
		}
		for _, item := range items {
			if !item.given() || item.value == "" {
				d.wrongf(item, "", "a secret must not be empty")
			} else if t := d.template(item, sc.env); t != nil {
				into.Secrets = append(into.Secrets, t)
			}
		}
	}
	s := shape[Verify]{name: "verify", doc: "How a request's signature is checked.", fields: []field[Verify]{
		choice("type", "The provider, or a scheme: hmac, token, basic, bearer, jwt.", func(v *Verify) *string { return &v.Type },
			slices.Sorted(maps.Keys(verifyTypes()))...).must(),
		special("secret", "The secret.", schema{"type": "string"},
			secrets),
		special("secrets", "Several secrets at once, the newest first.", schema{"type": "array", "items": schema{"type": "string"}},
			secrets),
		special("tolerance", "How old or early a signature may be; 0: its age is not checked.", durationSchema(),
			func(d *decoder, n *node, into *Verify) {
				if t, ok := d.duration(n, "tolerance"); ok {
					into.Tolerance = &t
				}
			}),
	}}
	for _, name := range slices.Sorted(maps.Keys(verifyOptions())) {
		in := sc.env
		if name == "signed" {
			in = sc.received
		}
		s.fields = append(s.fields, special(name, verifyOptions()[name], schema{},
			func(d *decoder, n *node, into *Verify) {
				if t := d.template(n, in); t != nil {
					if into.Options == nil {
						into.Options = map[string]*expr.Template{}
					}
					into.Options[name] = t
				}
			}))
	}
	return s
}

// verify checks that a verification has what its type needs.
func (d *decoder) verify(v *Verify, n *node) {
	v.Pos = n.pos
	for _, group := range verifyTypes()[v.Type] {
		if !slices.ContainsFunc(group, func(name string) bool { return n.get(name).given() }) {
			d.wrongf(n, "", "verify of type %s needs %s", v.Type, strings.Join(group, " or "))
		}
	}
	if n.get("secret").given() && n.get("secrets").given() {
		d.wrongKeyf(n.get("secrets"), "keep one of them", "both secret and secrets are given")
	}
	if v.Tolerance != nil && *v.Tolerance > 24*time.Hour {
		d.wrongf(n.get("tolerance"), "", "a tolerance of more than a day checks nothing")
	}
}

func handshakeShape() shape[Handshake] {
	types := []string{
		"slack", "meta", "discord", "microsoft-graph", "zoom", "twitter", "cloudevents", "aws-sns", "azure-event-grid", "dropbox",
	}
	kindOf := choice("type", "The provider.", func(h *Handshake) *string { return &h.Type }, types...).must()
	return shape[Handshake]{
		name: "handshake", doc: "The provider's handshake that an endpoint answers.",
		fields: []field[Handshake]{
			kindOf,
			texts("allowed_origins", "Of cloudevents: the origins that may send, exactly as they are given.",
				func(h *Handshake) *[]string { return &h.AllowedOrigins }),
		},
		short: &shorthand[Handshake]{kinds: []kind{scalar}, schema: kindOf.schema, read: kindOf.read},
	}
}
