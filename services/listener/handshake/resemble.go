package handshake

import (
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/switchbackhq/switchback/services/listener/verify"
)

// Resembles names the handshake that r looks like, "" for none. It is for an endpoint that was not told to answer it, whose
// owner may wonder why the provider does not accept its address.
func Resembles(r *verify.Request) string {
	queries := []struct{ name, kind string }{
		{"hub.mode", "meta"}, {"crc_token", "twitter"}, {"validationToken", "microsoft-graph"}, {"challenge", "dropbox"},
	}
	for _, q := range queries {
		if _, there := parameter(r, q.name); there && (r.Method == http.MethodGet || q.kind == "microsoft-graph") {
			return q.kind
		}
	}
	if r.Method != http.MethodPost || !gjson.ValidBytes(r.Body) {
		return ""
	}
	is := func(path, text string) bool { return member(r.Body, path).Str == text }
	switch {
	case is("type", "url_verification"):
		return "slack"
	case is("event", "endpoint.url_validation"):
		return "zoom"
	case is("Type", "SubscriptionConfirmation"):
		return "aws-sns"
	case is("0.eventType", "Microsoft.EventGrid.SubscriptionValidationEvent"):
		return "azure-event-grid"
	case len(r.Header.Values("X-Signature-Ed25519")) > 0 && !member(r.Body, "event").Exists():
		return "discord"
	default:
		return ""
	}
}
