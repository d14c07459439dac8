package verify

import (
	"crypto/sha256"
)

// preset makes the verifier of a provider that signs with an HMAC-SHA256.
func preset(s *settings) scheme {
	m := &macScheme{keys: s.secrets(), hash: sha256.New, size: sha256.Size, code: hexLower, signed: []segment{{kind: bodyPart}}}
	timed := false
	switch s.spec.Type {
	case "github":
		// The older X-Hub-Signature, an HMAC-SHA1, is sent beside this one and not needed.
		m.header, m.prefix = "X-Hub-Signature-256", "sha256="
		m.id.header = "X-GitHub-Delivery"
	case "meta":
		m.header, m.prefix = "X-Hub-Signature-256", "sha256="
	case "shopify":
		m.header, m.code = "X-Shopify-Hmac-Sha256", base64Std
		m.id.header = "X-Shopify-Webhook-Id"
	case "twitter":
		m.header, m.prefix, m.code = "X-Twitter-Webhooks-Signature", "sha256=", base64Std
	case "square":
		m.header, m.code = "X-Square-Hmacsha256-Signature", base64Std
		m.signed = []segment{{kind: urlPart}, {kind: bodyPart}}
		m.id.field = "event_id"
	case "slack":
		timed = true
		m.header, m.prefix, m.stampHeader = "X-Slack-Signature", "v0=", "X-Slack-Request-Timestamp"
		m.signed = []segment{{text: "v0:"}, {kind: stampPart}, {text: ":"}, {kind: bodyPart}}
		m.id.field = "event_id"
	case "zoom":
		timed = true
		m.header, m.prefix, m.stampHeader = "X-Zm-Signature", "v0=", "X-Zm-Request-Timestamp"
		m.signed = []segment{{text: "v0:"}, {kind: stampPart}, {text: ":"}, {kind: bodyPart}}
		m.id.header = "X-Zm-Trackingid"
	case "stripe":
		timed = true
		m.header, m.prefix = "Stripe-Signature", "v1="
		m.list = &list{separators: ",", stampPrefix: "t="}
		m.signed = []segment{{kind: stampPart}, {text: "."}, {kind: bodyPart}}
		m.id.field = "id"
	case "paddle":
		timed = true
		m.header, m.prefix = "Paddle-Signature", "h1="
		m.list = &list{separators: ";", stampPrefix: "ts="}
		m.signed = []segment{{kind: stampPart}, {text: ":"}, {kind: bodyPart}}
		m.id.field = "event_id"
	}
	if timed {
		m.tolerance = s.tolerance(defaultTolerance)
	} else {
		s.untimed()
	}
	return m
}
