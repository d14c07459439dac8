package handshake

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const secret, old = "the-secret-of-this-endpoint", "the-secret-before-it"

func request(method, target, body string, pairs ...string) *verify.Request {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return &verify.Request{Method: method, Target: target, Header: h, Body: []byte(body), Now: now, Bases: []string{"https://hooks.example.com"}}
}

func mac(key, text string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// v0 signs as Slack and Zoom do.
func v0(header, stamp, key, body string) *verify.Request {
	at := strconv.FormatInt(now.Unix(), 10)
	return request("POST", "/in", body, header, "v0="+hex.EncodeToString(mac(key, "v0:"+at+":"+body)), stamp, at)
}

func slackRequest(key, body string) *verify.Request {
	return v0("X-Slack-Signature", "X-Slack-Request-Timestamp", key, body)
}

func zoomRequest(key, body string) *verify.Request {
	return v0("X-Zm-Signature", "X-Zm-Request-Timestamp", key, body)
}

var discordKey = ed25519.NewKeyFromSeed(make([]byte, 32))

func discordRequest(body string) *verify.Request {
	at := strconv.FormatInt(now.Unix(), 10)
	return request("POST", "/in", body, "X-Signature-Timestamp", at,
		"X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(discordKey, []byte(at+body))))
}

// altered changes a byte of a signed body.
func altered(r *verify.Request) *verify.Request {
	r.Body = append(r.Body, ' ')
	return r
}

func TestAnswer(t *testing.T) {
	signed := func(kind string, secrets ...string) verify.Spec { return verify.Spec{Type: kind, Secrets: secrets} }
	both := []string{secret, old}
	discordSpec := verify.Spec{Type: "discord", Options: map[string][]string{"public_key": {hex.EncodeToString(discordKey.Public().(ed25519.PublicKey))}}}
	metaSpec := verify.Spec{Type: "meta", Secrets: both, Options: map[string][]string{"verify_token": {"tok en"}}}
	events := []string{"https://events.example.com", "eventemitter.example.com"}
	b64 := base64.StdEncoding.EncodeToString
	crc := func(key string) string { return `{"response_token":"sha256=` + b64(mac(key, "NDMyNz-_=+/")) + `"}` }
	const crcQuery = "crc_token=NDMyNz-_%3D%2B%2F&nonce=abc"
	zoomBody := `{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}`
	zoomAnswer := func(key string) string {
		return `{"encryptedToken":"` + hex.EncodeToString(mac(key, "qgg8vlvZRS6UYooatFL8Aw")) + `","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}`
	}
	azure := `[{"id":"2d1781af","topic":"/subscriptions/x","subject":"","data":{"validationCode":"512d38b6-c7b8","validationUrl":"https://rp.example"},` +
		`"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2018-01-25T22:12:19.4556811Z"}]`
	const challenge = `{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}`

	tests := []struct {
		name    string
		spec    Spec
		request *verify.Request
		status  int // 0: no handshake
		kind    string
		body    string
		header  map[string]string
		refused fault.Code
	}{
		{
			name: "slack", spec: Spec{Type: "slack", Verify: signed("slack", both...)}, request: slackRequest(secret, challenge),
			status: 200, kind: "text/plain; charset=utf-8", body: "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
		},
		{name: "slack, the old secret", spec: Spec{Type: "slack", Verify: signed("slack", both...)}, request: slackRequest(old, challenge), status: 200},
		{name: "slack, not signed", spec: Spec{Type: "slack", Verify: signed("slack", secret)}, request: request("POST", "/", challenge), refused: fault.Unauthorized},
		{name: "slack, altered", spec: Spec{Type: "slack", Verify: signed("slack", secret)}, request: altered(slackRequest(secret, challenge)), refused: fault.Unauthorized},
		{name: "slack, another event", spec: Spec{Type: "slack", Verify: signed("slack", secret)}, request: request("POST", "/", `{"type":"event_callback","challenge":"x"}`)},
		{name: "slack, deeper", spec: Spec{Type: "slack", Verify: signed("slack", secret)}, request: request("POST", "/", `{"event":{"type":"url_verification"}}`)},
		{name: "slack, a form", spec: Spec{Type: "slack", Verify: signed("slack", secret)}, request: request("POST", "/", `command=%2Fx&type=url_verification`)},
		{name: "slack, no challenge", spec: Spec{Type: "slack", Verify: signed("slack", secret)}, request: slackRequest(secret, `{"type":"url_verification"}`), refused: fault.Unusable},
		{name: "slack, nothing verified here", spec: Spec{Type: "slack"}, request: request("POST", "/", challenge), status: 200},

		{name: "zoom", spec: Spec{Type: "zoom", Verify: signed("zoom", both...)}, request: zoomRequest(secret, zoomBody), status: 200, kind: "application/json", body: zoomAnswer(secret)},
		{name: "zoom, the old secret", spec: Spec{Type: "zoom", Verify: signed("zoom", both...)}, request: zoomRequest(old, zoomBody), status: 200, body: zoomAnswer(old)},
		{name: "zoom, altered", spec: Spec{Type: "zoom", Verify: signed("zoom", both...)}, request: altered(zoomRequest(secret, zoomBody)), refused: fault.Unauthorized},
		{name: "zoom, not signed", spec: Spec{Type: "zoom", Verify: signed("zoom", both...)}, request: request("POST", "/", zoomBody), refused: fault.Unauthorized},
		{name: "zoom, no token", spec: Spec{Type: "zoom", Verify: signed("zoom", secret)}, request: zoomRequest(secret, `{"event":"endpoint.url_validation"}`), refused: fault.Unusable},
		{name: "zoom, an event", spec: Spec{Type: "zoom", Verify: signed("zoom", secret)}, request: request("POST", "/", `{"event":"meeting.started"}`)},

		{name: "discord interaction", spec: Spec{Type: "discord", Verify: discordSpec}, request: discordRequest(`{"id":"1","type":1,"token":"t","version":1}`), status: 200, kind: "application/json", body: `{"type":1}`},
		{name: "discord event", spec: Spec{Type: "discord", Verify: discordSpec}, request: discordRequest(`{"version":1,"application_id":"1","type":0}`), status: 204},
		{name: "discord, altered", spec: Spec{Type: "discord", Verify: discordSpec}, request: altered(discordRequest(`{"type":1}`)), refused: fault.Unauthorized},
		{name: "discord, not signed", spec: Spec{Type: "discord", Verify: discordSpec}, request: request("POST", "/", `{"type":0}`), refused: fault.Unauthorized},
		{name: "discord, an event that came", spec: Spec{Type: "discord", Verify: discordSpec}, request: request("POST", "/", `{"version":1,"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}`)},
		{name: "discord, a command", spec: Spec{Type: "discord", Verify: discordSpec}, request: request("POST", "/", `{"type":2}`)},
		{name: "discord, not a number", spec: Spec{Type: "discord", Verify: discordSpec}, request: request("POST", "/", `{"type":"1"}`)},

		{
			name: "meta", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("GET", "/in?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=tok+en", ""),
			status: 200, kind: "text/plain; charset=utf-8", body: "1158201444", header: map[string]string{"X-Content-Type-Options": "nosniff"},
		},
		{name: "meta, another token", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("GET", "/?hub.mode=subscribe&hub.challenge=1&hub.verify_token=tok", ""), refused: fault.Forbidden},
		{name: "meta, no token", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("GET", "/?hub.mode=subscribe&hub.challenge=1", ""), refused: fault.Forbidden},
		{name: "meta, no token anywhere", spec: Spec{Type: "meta", Verify: signed("meta", secret)}, request: request("GET", "/?hub.mode=subscribe&hub.challenge=1&hub.verify_token=", ""), refused: fault.Forbidden},
		{name: "meta, no challenge", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("GET", "/?hub.mode=subscribe&hub.verify_token=tok+en", ""), refused: fault.Forbidden},
		{name: "meta, another mode", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("GET", "/?hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=tok+en", ""), refused: fault.Forbidden},
		{name: "meta, a GET", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("GET", "/in", "")},
		{name: "meta, a POST", spec: Spec{Type: "meta", Verify: metaSpec}, request: request("POST", "/in?hub.mode=subscribe", "{}")},

		{
			name: "microsoft-graph", spec: Spec{Type: "microsoft-graph"}, request: request("POST", "/in?a=1&validationToken=Validation%3A+Testing+%3Cb%3E", ""),
			status: 200, kind: "text/plain; charset=utf-8", body: "Validation: Testing <b>", header: map[string]string{"X-Content-Type-Options": "nosniff"},
		},
		{name: "microsoft-graph, the older way", spec: Spec{Type: "microsoft-graph"}, request: request("GET", "/in?validationToken=abc", ""), status: 200, body: "abc"},
		{name: "microsoft-graph, beside a bad parameter", spec: Spec{Type: "microsoft-graph"}, request: request("POST", "/in?x=%zz&validationToken=abc", ""), status: 200, body: "abc"},
		{name: "microsoft-graph, a notification", spec: Spec{Type: "microsoft-graph"}, request: request("POST", "/in", `{"value":[]}`)},

		{name: "dropbox", spec: Spec{Type: "dropbox"}, request: request("GET", "/in?challenge=ab%2Bc", ""), status: 200, kind: "text/plain; charset=utf-8", body: "ab+c", header: map[string]string{"X-Content-Type-Options": "nosniff"}},
		{name: "dropbox, a POST", spec: Spec{Type: "dropbox"}, request: request("POST", "/in?challenge=abc", "{}")},

		{name: "twitter", spec: Spec{Type: "twitter", Verify: signed("twitter", both...)}, request: request("GET", "/in?"+crcQuery, ""), status: 200, kind: "application/json", body: crc(secret)},
		{name: "twitter, signed", spec: Spec{Type: "twitter", Verify: signed("twitter", both...)}, request: request("GET", "/in?x=1&"+crcQuery, "", "X-Twitter-Webhooks-Signature", "sha256="+b64(mac(old, crcQuery))), status: 200, body: crc(old)},
		{name: "twitter, wrongly signed", spec: Spec{Type: "twitter", Verify: signed("twitter", both...)}, request: request("GET", "/in?"+crcQuery, "", "X-Twitter-Webhooks-Signature", "sha256="+b64(mac("x", crcQuery))), refused: fault.Unauthorized},
		{name: "twitter, a body to sign", spec: Spec{Type: "twitter", Verify: signed("twitter", secret)}, request: request("GET", "/in?crc_token=%7B%22a%22%3A1%7D", ""), refused: fault.Invalid},
		{name: "twitter, a text to sign", spec: Spec{Type: "twitter", Verify: signed("twitter", secret)}, request: request("GET", "/in?crc_token=%22a%22", ""), refused: fault.Invalid},
		{name: "twitter, no token", spec: Spec{Type: "twitter", Verify: signed("twitter", secret)}, request: request("GET", "/in?crc_token=", ""), refused: fault.Invalid},
		{name: "twitter, a long token", spec: Spec{Type: "twitter", Verify: signed("twitter", secret)}, request: request("GET", "/in?crc_token="+strings.Repeat("a", 257), ""), refused: fault.Invalid},
		{name: "twitter, an event", spec: Spec{Type: "twitter", Verify: signed("twitter", secret)}, request: request("POST", "/in?crc_token=a", "{}")},

		{
			name: "cloudevents", spec: Spec{Type: "cloudevents", AllowedOrigins: events},
			request: request("OPTIONS", "/in", "", "WebHook-Request-Origin", "eventemitter.example.com", "WebHook-Request-Rate", "120"), status: 200,
			header: map[string]string{"WebHook-Allowed-Origin": "eventemitter.example.com", "WebHook-Allowed-Rate": "120", "Allow": "POST"},
		},
		{
			name: "cloudevents, anyone", spec: Spec{Type: "cloudevents"}, request: request("OPTIONS", "/in", "", "WebHook-Request-Origin", "a.example"), status: 200,
			header: map[string]string{"WebHook-Allowed-Origin": "a.example", "WebHook-Allowed-Rate": "*"},
		},
		{
			name: "cloudevents, a rate that is none", spec: Spec{Type: "cloudevents"}, request: request("OPTIONS", "/in", "", "WebHook-Request-Origin", "a.example", "WebHook-Request-Rate", "1\r\nX: y"),
			status: 200, header: map[string]string{"WebHook-Allowed-Rate": "*"},
		},
		{name: "cloudevents, a longer origin", spec: Spec{Type: "cloudevents", AllowedOrigins: events}, request: request("OPTIONS", "/", "", "WebHook-Request-Origin", "eventemitter.example.com.evil.example"), refused: fault.Forbidden},
		{name: "cloudevents, a shorter origin", spec: Spec{Type: "cloudevents", AllowedOrigins: events}, request: request("OPTIONS", "/", "", "WebHook-Request-Origin", "eventemitter.example"), refused: fault.Forbidden},
		{name: "cloudevents, another case", spec: Spec{Type: "cloudevents", AllowedOrigins: events}, request: request("OPTIONS", "/", "", "WebHook-Request-Origin", "Eventemitter.example.com"), refused: fault.Forbidden},
		{name: "cloudevents, two origins", spec: Spec{Type: "cloudevents"}, request: request("OPTIONS", "/", "", "WebHook-Request-Origin", "a", "WebHook-Request-Origin", "b"), refused: fault.Forbidden},
		{name: "cloudevents, CORS", spec: Spec{Type: "cloudevents"}, request: request("OPTIONS", "/", "", "Origin", "https://a.example")},
		{name: "cloudevents, an event", spec: Spec{Type: "cloudevents"}, request: request("POST", "/", "{}", "WebHook-Request-Origin", "a.example")},

		{name: "azure-event-grid", spec: Spec{Type: "azure-event-grid"}, request: request("POST", "/in", azure), status: 200, kind: "application/json", body: `{"validationResponse":"512d38b6-c7b8"}`},
		{name: "azure-event-grid, CloudEvents", spec: Spec{Type: "azure-event-grid"}, request: request("OPTIONS", "/in", "", "WebHook-Request-Origin", "eventgrid.azure.net"), status: 200, header: map[string]string{"WebHook-Allowed-Origin": "eventgrid.azure.net"}},
		{name: "azure-event-grid, another origin", spec: Spec{Type: "azure-event-grid"}, request: request("OPTIONS", "/in", "", "WebHook-Request-Origin", "eventgrid.azure.net.evil.example"), refused: fault.Forbidden},
		{name: "azure-event-grid, an event", spec: Spec{Type: "azure-event-grid"}, request: request("POST", "/in", `[{"eventType":"Microsoft.Storage.BlobCreated","data":{"validationCode":"x"}}]`)},
		{name: "azure-event-grid, no code", spec: Spec{Type: "azure-event-grid"}, request: request("POST", "/in", strings.Replace(azure, "validationCode", "other", 1)), refused: fault.Unusable},
		{
			name: "azure-event-grid, with a token", spec: Spec{Type: "azure-event-grid", Verify: verify.Spec{Type: "token", Secrets: []string{"s"}, Options: map[string][]string{"query": {"key"}}}},
			request: request("POST", "/in?key=s", azure), status: 200,
		},
		{
			name: "azure-event-grid, without its token", spec: Spec{Type: "azure-event-grid", Verify: verify.Spec{Type: "token", Secrets: []string{"s"}, Options: map[string][]string{"query": {"key"}}}},
			request: request("POST", "/in", azure), refused: fault.Unauthorized,
		},
	}
	tried := map[string]bool{"aws-sns": true} // TestSNS
	for _, test := range tests {
		tried[test.spec.Type] = true
		t.Run(test.name, func(t *testing.T) {
			h, err := Compile(test.spec)
			if err != nil {
				t.Fatal(err)
			}
			response, handled, err := h.Answer(t.Context(), test.request)
			switch {
			case test.refused != "":
				if fault.CodeOf(err) != test.refused || !handled || response != nil || fault.HintOf(err) == "" {
					t.Errorf("got %+v, %v, %v; want %s", response, handled, err, test.refused)
				}
				return
			case err != nil:
				t.Fatal(err)
			case test.status == 0:
				if handled {
					t.Errorf("got %+v for no handshake", response)
				}
				return
			case response == nil || !handled:
				t.Fatal("it is not answered")
			}
			if response.Status != test.status || test.body != "" && string(response.Body) != test.body {
				t.Errorf("got %d %s", response.Status, response.Body)
			}
			if test.status == 204 && len(response.Body) > 0 {
				t.Errorf("a body in a 204: %s", response.Body)
			}
			if got := response.Header.Get("Content-Type"); test.kind != "" && got != test.kind {
				t.Errorf("got content type %s", got)
			}
			for name, want := range test.header {
				if got := response.Header.Get(name); got != want {
					t.Errorf("got %s: %s, want %s", name, got, want)
				}
			}
		})
	}
	for _, kind := range Types() {
		if !tried[kind] {
			t.Errorf("%s is not tried", kind)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for want, spec := range map[string]Spec{
		"handshake slak is not known":   {Type: "slak"},
		"needs what zoom signs with":    {Type: "zoom"},
		"needs what discord signs with": {Type: "discord", Verify: verify.Spec{Type: "hmac"}},
		"needs what twitter signs with": {Type: "twitter", Verify: verify.Spec{Type: "meta", Secrets: []string{"s"}}},
		"verify.secret is missing":      {Type: "zoom", Verify: verify.Spec{Type: "zoom"}},
		"verify.secret 1 is empty":      {Type: "twitter", Verify: verify.Spec{Type: "twitter", Secrets: []string{""}}},
		"verify.secret 2 is empty":      {Type: "slack", Verify: verify.Spec{Type: "slack", Secrets: []string{"s", ""}}},
		"verify.verify_token is empty":  {Type: "meta", Verify: verify.Spec{Type: "meta", Options: map[string][]string{"verify_token": {""}}}},
		"allowed_origins means nothing": {Type: "slack", AllowedOrigins: []string{"a"}},
		"allowed_origins has an empty":  {Type: "cloudevents", AllowedOrigins: []string{"a", ""}},
		"nothing to fetch them with":    {Type: "aws-sns"},
		"verify.public_key is missing":  {Type: "discord", Verify: verify.Spec{Type: "discord"}},
	} {
		if _, err := Compile(spec); fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestFor(t *testing.T) {
	got := map[string][]string{}
	for _, kind := range verify.Types() {
		if name := For(kind); name != "" {
			made, methods := constructor(name)
			if made == nil {
				t.Errorf("%s brings %s, which is none", kind, name)
			}
			got[kind] = methods
		}
	}
	want := map[string][]string{"aws-sns": {"POST"}, "discord": {"POST"}, "meta": {"GET"}, "slack": {"POST"}, "twitter": {"GET"}, "zoom": {"POST"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzAnswer: whatever comes, nothing that is not signed is answered where signatures are asked for.
func TestResembles(t *testing.T) {
	for _, tt := range []struct {
		request *verify.Request
		want    string
	}{
		{request("POST", "/", `{"type":"url_verification","challenge":"x"}`), "slack"},
		{request("POST", "/", `{"event":"endpoint.url_validation"}`), "zoom"},
		{request("POST", "/", `{"Type":"SubscriptionConfirmation"}`), "aws-sns"},
		{request("POST", "/", `[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]`), "azure-event-grid"},
		{discordRequest(`{"type":1}`), "discord"},
		{request("GET", "/?hub.mode=subscribe&hub.challenge=1", ""), "meta"},
		{request("GET", "/?crc_token=1", ""), "twitter"},
		{request("GET", "/?challenge=1", ""), "dropbox"},
		{request("POST", "/?validationToken=1", ""), "microsoft-graph"},
		{request("POST", "/?challenge=1", "{}"), ""},
		{request("POST", "/", `{"type":"event_callback"}`), ""},
		{request("POST", "/", `{"type":"url_verification"`), ""},
		{request("POST", "/", ""), ""},
		{request("GET", "/", ""), ""},
		{request("PUT", "/", `{"type":"url_verification"}`), ""},
	} {
		if got := Resembles(tt.request); got != tt.want {
			t.Errorf("%s %s %s resembles %q, want %q", tt.request.Method, tt.request.Target, tt.request.Body, got, tt.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	specs := []Spec{
		{Type: "slack", Verify: verify.Spec{Type: "slack", Secrets: []string{secret}}},
		{Type: "zoom", Verify: verify.Spec{Type: "zoom", Secrets: []string{secret}}},
		{Type: "discord", Verify: verify.Spec{Type: "discord", Options: map[string][]string{"public_key": {hex.EncodeToString(discordKey.Public().(ed25519.PublicKey))}}}},
		{Type: "aws-sns", Verify: verify.Spec{Type: "aws-sns", Fetch: nowhere{}}},
		{Type: "azure-event-grid", Verify: verify.Spec{Type: "bearer", Secrets: []string{secret}}},
		{Type: "meta", Verify: verify.Spec{Type: "meta", Secrets: []string{secret}, Options: map[string][]string{"verify_token": {secret}}}},
	}
	var all []*Handshake
	for _, spec := range specs {
		h, err := Compile(spec)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, h)
	}
	f.Add("POST", "/?hub.mode=subscribe", `{"type":"url_verification","challenge":"x"}`, "v0=00")
	f.Add("GET", "/?hub.mode=subscribe&hub.challenge=1", `{"type":0}`, "")
	f.Add("POST", "/", `[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]`, "Bearer x")
	f.Add("POST", "/", `{"Type":"SubscriptionConfirmation","Signature":"a"`, "v0=")
	f.Add("POST", "/", `{"event":"endpoint.url_validation"}`, "v0=")
	f.Fuzz(func(t *testing.T, method, target, body, signature string) {
		r := request(method, target, body, "X-Slack-Signature", signature, "X-Slack-Request-Timestamp", "1", "X-Zm-Signature", signature,
			"X-Zm-Request-Timestamp", "1", "X-Signature-Ed25519", signature, "X-Signature-Timestamp", "1", "Authorization", signature)
		for i, h := range all {
			if response, _, _ := h.Answer(t.Context(), r); response != nil {
				t.Fatalf("%s answered %q", specs[i].Type, response.Body)
			}
		}
		if kind := Resembles(r); kind != "" && !slices.Contains(Types(), kind) {
			t.Fatalf("resembles %q", kind)
		}
	})
}

type nowhere struct{}

func (nowhere) Fetch(context.Context, string) ([]byte, error) {
	return nil, errors.New("nothing is anywhere")
}
