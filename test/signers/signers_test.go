package signers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	paddle "github.com/PaddleHQ/paddle-go-sdk/v4"
	"github.com/bwmarrin/discordgo"
	"github.com/google/go-github/v81/github"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v72/webhook"
	svix "github.com/svix/svix-webhooks/go"
	twilio "github.com/twilio/twilio-go/client"

	"github.com/switchbackhq/switchback/services/listener/verify"
)

const (
	secret  = "the-secret-that-both-sides-know!"
	address = "https://hooks.example.com/in?a=1"
	body    = `{"id":"evt_1","type":"thing.done","text":"hé <b> & more"}`
	form    = "CallSid=CA1&Digits=1234&From=%2B14158675309&Note=a+b%26c"
)

// provider is an SDK beside our verifier.
type provider struct {
	name      string
	spec      verify.Spec
	signature string // the header that holds it
	// sign makes the header of a genuine request, by the SDK where it can sign.
	sign func(at time.Time, body string) http.Header
	// accepts is the SDK's verdict.
	accepts func(h http.Header, body string) bool
	timed   bool
	body    string
	// laxer: where the SDK is known to accept what we refuse.
	laxer []string
}

func mac256(parts ...string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(strings.Join(parts, "")))
	return m.Sum(nil)
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func request(h http.Header, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, address, bytes.NewBufferString(body))
	r.Header = h
	return r
}

func providers(t *testing.T) []provider {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	whsec := "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))
	standard, err := standardwebhooks.NewWebhook(whsec)
	must(err)
	svixHook, err := svix.NewWebhook(whsec)
	must(err)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	spki, err := x509.MarshalPKIXPublicKey(ecKey.Public())
	must(err)
	ecPublic, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(base64.StdEncoding.EncodeToString(spki))
	must(err)
	validator := twilio.NewRequestValidator(secret)
	simple := func(kind string) verify.Spec { return verify.Spec{Type: kind, Secrets: []string{secret}} }

	return []provider{
		{
			name: "standard-webhooks", spec: verify.Spec{Type: "standard-webhooks", Secrets: []string{whsec}}, signature: "webhook-signature", timed: true,
			sign: func(at time.Time, body string) http.Header {
				signature, err := standard.Sign("msg_1", at, []byte(body))
				must(err)
				return header("webhook-id", "msg_1", "webhook-timestamp", unix(at), "webhook-signature", signature)
			},
			accepts: func(h http.Header, body string) bool { return standard.Verify([]byte(body), h) == nil },
		},
		{
			name: "svix", spec: verify.Spec{Type: "svix", Secrets: []string{whsec}}, signature: "svix-signature", timed: true,
			sign: func(at time.Time, body string) http.Header {
				signature, err := svixHook.Sign("msg_1", at, []byte(body))
				must(err)
				return header("svix-id", "msg_1", "svix-timestamp", unix(at), "svix-signature", signature)
			},
			accepts: func(h http.Header, body string) bool { return svixHook.Verify([]byte(body), h) == nil },
		},
		{
			name: "stripe-go", spec: simple("stripe"), signature: "Stripe-Signature", timed: true, laxer: []string{"future", "in the other case", "in upper case"},
			sign: func(at time.Time, body string) http.Header {
				return header("Stripe-Signature", "t="+unix(at)+",v1="+hex.EncodeToString(webhook.ComputeSignature(at, []byte(body), secret)))
			},
			accepts: func(h http.Header, body string) bool {
				return webhook.ValidatePayload([]byte(body), h.Get("Stripe-Signature"), secret) == nil
			},
		},
		{
			name: "slack-go", spec: simple("slack"), signature: "X-Slack-Signature", timed: true, laxer: []string{"in the other case", "in upper case"},
			sign: func(at time.Time, body string) http.Header {
				return header("X-Slack-Signature", "v0="+hex.EncodeToString(mac256("v0:", unix(at), ":", body)), "X-Slack-Request-Timestamp", unix(at))
			},
			accepts: func(h http.Header, body string) bool {
				v, err := slack.NewSecretsVerifier(h, secret)
				if err != nil {
					return false
				}
				_, _ = v.Write([]byte(body))
				return v.Ensure() == nil
			},
		},
		{
			name: "go-github", spec: simple("github"), signature: "X-Hub-Signature-256", laxer: []string{"in the other case", "in upper case"},
			sign: func(_ time.Time, body string) http.Header {
				return header("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac256(body)))
			},
			accepts: func(h http.Header, body string) bool {
				return github.ValidateSignature(h.Get("X-Hub-Signature-256"), []byte(body), []byte(secret)) == nil
			},
		},
		{
			name: "twilio-go", spec: simple("twilio"), signature: "X-Twilio-Signature", body: form,
			sign: func(_ time.Time, body string) http.Header {
				values, err := url.ParseQuery(body)
				must(err)
				m := hmac.New(sha1.New, []byte(secret))
				m.Write([]byte(address))
				for _, name := range []string{"CallSid", "Digits", "From", "Note"} {
					m.Write([]byte(name + values.Get(name)))
				}
				return header("Content-Type", "application/x-www-form-urlencoded", "X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
			},
			accepts: func(h http.Header, body string) bool {
				return validator.ValidateBody(address, []byte(body), h.Get("X-Twilio-Signature"))
			},
		},
		{
			name: "discordgo", spec: verify.Spec{Type: "discord", Options: map[string][]string{"public_key": {hex.EncodeToString(public)}}},
			signature: "X-Signature-Ed25519", timed: true, laxer: []string{"stale", "future", "in the other case", "in upper case"},
			sign: func(at time.Time, body string) http.Header {
				return header("X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(private, []byte(unix(at)+body))), "X-Signature-Timestamp", unix(at))
			},
			accepts: func(h http.Header, body string) bool { return discordgo.VerifyInteraction(request(h, body), public) },
		},
		{
			name: "paddle-go-sdk", spec: simple("paddle"), signature: "Paddle-Signature", timed: true,
			sign: func(at time.Time, body string) http.Header {
				return header("Paddle-Signature", "ts="+unix(at)+";h1="+hex.EncodeToString(mac256(unix(at), ":", body)))
			},
			accepts: func(h http.Header, body string) bool {
				ok, err := paddle.NewWebhookVerifier(secret, paddle.VerifierWithTimestampTolerance(5*time.Minute)).Verify(request(h, body))
				return ok && err == nil
			},
		},
		{
			name: "sendgrid-go", spec: verify.Spec{Type: "sendgrid", Options: map[string][]string{"public_key": {base64.StdEncoding.EncodeToString(spki)}}},
			signature: "X-Twilio-Email-Event-Webhook-Signature", timed: true, laxer: []string{"stale", "future", "doubled"},
			sign: func(at time.Time, body string) http.Header {
				sum := sha256.Sum256([]byte(unix(at) + body))
				signature, err := ecdsa.SignASN1(rand.Reader, ecKey, sum[:])
				must(err)
				return header("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(signature), "X-Twilio-Email-Event-Webhook-Timestamp", unix(at))
			},
			accepts: func(h http.Header, body string) bool {
				ok, err := eventwebhook.VerifySignature(ecPublic, []byte(body), h.Get("X-Twilio-Email-Event-Webhook-Signature"), h.Get("X-Twilio-Email-Event-Webhook-Timestamp"))
				return ok && err == nil
			},
		},
	}
}

// TestAgreement: on the same request, SDK and verifier come to the same verdict.
func TestAgreement(t *testing.T) {
	for _, p := range providers(t) {
		t.Run(p.name, func(t *testing.T) {
			verifier, err := verify.Compile(p.spec)
			if err != nil {
				t.Fatal(err)
			}
			if p.body == "" {
				p.body = body
			}
			try := func(what string, h http.Header, body string, want bool) {
				t.Helper()
				if sdk := p.accepts(h.Clone(), body); sdk != want && !slices.Contains(p.laxer, what) {
					t.Errorf("%s: the SDK says %v", what, sdk)
				}
				r := &verify.Request{
					Method: http.MethodPost, Bases: []string{"http://127.0.0.1:8090", "https://hooks.example.com"}, Target: "/in?a=1",
					Header: h, Body: []byte(body), Now: time.Now(),
				}
				if _, err := verifier.Verify(t.Context(), r); (err == nil) != want {
					t.Errorf("%s: the verifier says %v", what, err)
				}
			}
			now := time.Now()
			genuine := func() http.Header { return p.sign(now, p.body) }
			try("genuine", genuine(), p.body, true)
			try("altered", genuine(), strings.Replace(p.body, "1", "2", 1), false)
			try("cut", genuine(), p.body[:len(p.body)-1], false)
			try("longer", genuine(), p.body+"x", false)
			try("stale", p.sign(now.Add(-6*time.Minute), p.body), p.body, !p.timed)
			try("future", p.sign(now.Add(6*time.Minute), p.body), p.body, !p.timed)
			if p.timed {
				try("a little old", p.sign(now.Add(-4*time.Minute), p.body), p.body, true)
				try("a little early", p.sign(now.Add(4*time.Minute), p.body), p.body, true)
			}
			right := genuine().Get(p.signature)
			prefix := ""
			if i := strings.LastIndexAny(strings.TrimRight(right, "="), "=,"); i >= 0 {
				prefix = right[:i+1]
			}
			mac := right[len(prefix):]
			for what, signature := range map[string]string{
				"truncated":         right[:len(right)-2],
				"doubled":           right + right,
				"in the other case": prefix + strings.Map(swap, mac),
				"in upper case":     prefix + strings.ToUpper(mac),
				"nothing":           "",
				"without prefix":    mac,
			} {
				if signature == right {
					continue
				}
				h := genuine()
				h.Set(p.signature, signature)
				try(what, h, p.body, false)
			}
		})
	}
}

func swap(c rune) rune {
	switch {
	case c >= 'a' && c <= 'z':
		return c - 32
	case c >= 'A' && c <= 'Z':
		return c + 32
	}
	return c
}
