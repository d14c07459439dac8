package handshake

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// awsSNS confirms a subscription by visiting the address that the verified message names, and takes note of its end.
func awsSNS(spec Spec) (answer, error) {
	signed := spec.Verify
	if signed.Type != "aws-sns" {
		// The message is signed in any case, and must be verified before its address is visited.
		signed = verify.Spec{Type: "aws-sns", Fetch: spec.Verify.Fetch}
	}
	check, err := verifier(signed)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *verify.Request) (*Response, error) {
		kind := member(r.Body, "Type").Str
		if r.Method != http.MethodPost || kind != "SubscriptionConfirmation" && kind != "UnsubscribeConfirmation" {
			return nil, nil
		}
		if err := check(ctx, r); err != nil {
			return nil, err
		}
		message, err := verify.ParseSNS(r.Body)
		if err != nil {
			return nil, err
		}
		if message["Type"] == "SubscriptionConfirmation" {
			address, ok := verify.SNSAddress(message["SubscribeURL"])
			if !ok {
				return nil, fault.New(fault.Unusable, "SubscribeURL is no address of Amazon SNS", "confirm the subscription by hand")
			}
			if _, err := signed.Fetch.Fetch(ctx, address); err != nil {
				return nil, fault.Wrap(err, fault.Unavailable, "the subscription could not be confirmed", "Amazon SNS tries again; see that this host can reach it")
			}
		}
		return text(""), nil
	}, nil
}

// cloudEvents lets the origins send that may, as the CloudEvents webhook specification has it.
func cloudEvents(spec Spec) (answer, error) {
	for _, origin := range spec.AllowedOrigins {
		if strings.TrimSpace(origin) == "" {
			return nil, fault.New(fault.Invalid, "allowed_origins has an empty entry", "is its variable set?")
		}
	}
	return consent(spec.AllowedOrigins), nil
}

func consent(allowed []string) answer {
	return func(_ context.Context, r *verify.Request) (*Response, error) {
		origins := r.Header.Values("WebHook-Request-Origin")
		if r.Method != http.MethodOptions || len(origins) == 0 {
			return nil, nil
		}
		origin := origins[0]
		known := len(allowed) == 0 || slices.Contains(allowed, origin) || slices.Contains(allowed, "*")
		if len(origins) != 1 || origin == "" || !known {
			return nil, fault.New(fault.Forbidden, "WebHook-Request-Origin is not among those that may send here",
				"list it in handshake.allowed_origins, letter for letter")
		}
		rate := "*"
		if asked := r.Header.Values("WebHook-Request-Rate"); len(asked) == 1 && number(asked[0]) {
			rate = asked[0]
		}
		header := http.Header{"Allow": {http.MethodPost}, "Webhook-Allowed-Origin": {origin}, "Webhook-Allowed-Rate": {rate}}
		return &Response{Status: http.StatusOK, Header: header}, nil
	}
}

func number(text string) bool {
	return text != "" && len(text) < 10 && !strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
}

// azureEventGrid gives a validation event its code back, and consents to Event Grid's own origin for its CloudEvents.
func azureEventGrid(spec Spec) (answer, error) {
	check, err := verifier(spec.Verify)
	if err != nil {
		return nil, err
	}
	preflight := consent([]string{"eventgrid.azure.net"})
	return func(ctx context.Context, r *verify.Request) (*Response, error) {
		if r.Method == http.MethodOptions {
			return preflight(ctx, r)
		}
		event := gjson.ParseBytes(r.Body)
		if event.IsArray() {
			event = event.Get("0")
		}
		if r.Method != http.MethodPost || event.Get("eventType").Str != "Microsoft.EventGrid.SubscriptionValidationEvent" {
			return nil, nil
		}
		if err := check(ctx, r); err != nil {
			return nil, err
		}
		code := event.Get("data.validationCode")
		if code.Type != gjson.String {
			return nil, fault.New(fault.Unusable, "the validation event holds no validationCode", "send it as Event Grid does")
		}
		return jsonText(map[string]string{"validationResponse": code.Str})
	}, nil
}
