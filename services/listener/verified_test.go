package listener_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener"
)

var discordKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func verifiedHooks() string {
	return `
listener:
  host: 127.0.0.1
  port: 0
  trusted_proxies: [127.0.0.1]
  base_path: /hooks
  callbacks:
    - {path: /github, identify_by: "${body.id}", verify: {type: github, secrets: ["${env.NEW}", "${env.OLD}"]}}
    - {path: /stripe, identify_by: "${body.id}", verify: {type: stripe, secret: "${env.NEW}"}}
    - {path: /slack, identify_by: "${body.id}", verify: {type: slack, secret: "${env.NEW}"}}
    - {path: /meta, identify_by: "${body.id}", verify: {type: meta, secret: "${env.NEW}", verify_token: "${env.OLD}"}}
    - {path: /discord, identify_by: "${body.id}", verify: {type: discord, public_key: "` + hex.EncodeToString(discordKey.Public().(ed25519.PublicKey)) + `"}}
    - {path: /events, identify_by: "${body.id}", handshake: {type: cloudevents, allowed_origins: [eventemitter.example.com]}}
    - {path: /twilio, identify_by: "${body.CallSid}", verify: {type: twilio, secret: "${env.NEW}"}}
    - {path: /both, when: "${body.from == 'a'}", identify_by: "a ${body.id}", verify: {type: token, header: X-A, secret: "${env.NEW}"}}
    - {path: /both, when: "${body.from == 'b'}", identify_by: "b ${body.id}", verify: {type: token, header: X-B, secret: "${env.OLD}"}}
    - {path: /jwt, identify_by: "${body.id}", verify: {type: jwt, jwks_url: "https://keys.example/jwks"}}
`
}

func secrets(d *listener.Deps) {
	d.Getenv = func(name string) (string, bool) { return "the " + name, name == "NEW" || name == "OLD" }
}

func mac(secret, text string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

func TestVerifiedRequests(t *testing.T) {
	f := &fake{}
	s := start(t, verifiedHooks(), f, listener.Config{}, secrets)
	now := time.Now()
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	const body = `{"id":"x1"}`
	stripe := func(secret, stamp, body string) string {
		return "t=" + stamp + ",v1=" + mac(secret, stamp+"."+body)
	}
	slack := func(stamp, body string) []string {
		return []string{"X-Slack-Request-Timestamp", stamp, "X-Slack-Signature", "v0=" + mac("the NEW", "v0:"+stamp+":"+body)}
	}
	discord := func(stamp, body string) []string {
		return []string{"X-Signature-Timestamp", stamp, "X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(discordKey, []byte(stamp+body)))}
	}
	tests := []struct {
		name, path, body string
		header           []string
		status           int
		id, want         string // of what is stored; in the answer
	}{
		{"github", "/github", body, []string{"X-Hub-Signature-256", "sha256=" + mac("the NEW", body)}, 200, "x1", ""},
		{"github, old secret", "/github", body, []string{"X-Hub-Signature-256", "sha256=" + mac("the OLD", body)}, 200, "x1", ""},
		{"github, other secret", "/github", body, []string{"X-Hub-Signature-256", "sha256=" + mac("", body)}, 401, "", "does not match"},
		{"github, other body", "/github", body + " ", []string{"X-Hub-Signature-256", "sha256=" + mac("the NEW", body)}, 401, "", ""},
		{"github, unsigned", "/github", body, nil, 401, "", "X-Hub-Signature-256"},
		{"github, not decoded before", "/github", `{`, nil, 401, "", ""},
		{"stripe", "/stripe", body, []string{"Stripe-Signature", stripe("the NEW", at(0), body)}, 200, "x1", ""},
		{"stripe, stale", "/stripe", body, []string{"Stripe-Signature", stripe("the NEW", at(-6*time.Minute), body)}, 401, "", ""},
		{"stripe, future", "/stripe", body, []string{"Stripe-Signature", stripe("the NEW", at(6*time.Minute), body)}, 401, "", ""},
		{"slack", "/slack", body, slack(at(0), body), 200, "x1", ""},
		{"slack, stale", "/slack", body, slack(at(-6*time.Minute), body), 401, "", ""},
		{"slack, url_verification", "/slack", `{"type":"url_verification","challenge":"c-1"}`, slack(at(0), `{"type":"url_verification","challenge":"c-1"}`), 200, "", "c-1"},
		{"slack, forged url_verification", "/slack", `{"type":"url_verification","challenge":"c-1"}`, slack(at(0), "other"), 401, "", ""},
		{"discord", "/discord", `{"type":2,"id":"x1"}`, discord(at(0), `{"type":2,"id":"x1"}`), 200, "x1", ""},
		{"discord, ping", "/discord", `{"type":1,"id":"x1"}`, discord(at(0), `{"type":1,"id":"x1"}`), 200, "", `{"type":1}`},
		{"discord, forged ping", "/discord", `{"type":1,"id":"x1"}`, discord(at(0), `{}`), 401, "", ""},
		{"discord, other ping", "/discord", `{"type":0}`, discord(at(0), `{"type":0}`), 204, "", ""},
		{"one of two", "/both", `{"from":"b","id":1}`, []string{"X-B", "the OLD"}, 200, "b 1", ""},
		{"the other's token", "/both", `{"from":"a","id":1}`, []string{"X-B", "the OLD"}, 422, "", ""},
		{"neither's token", "/both", `{"from":"a","id":1}`, []string{"X-A", "the OLD"}, 401, "", ""},
		{"neither's token, not decoded", "/both", `{`, nil, 401, "", ""},
		{"handshake elsewhere", "/events", body, nil, 200, "x1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(f.stored())
			r := s.post(tt.path, tt.body, tt.header...)
			if r.status != tt.status || !strings.Contains(r.body, tt.want) {
				t.Errorf("%d %s, want %d %s", r.status, r.body, tt.status, tt.want)
			}
			if r.status == 401 {
				r.problem(t)
			}
			if stored := f.stored()[before:]; tt.id == "" && len(stored) > 0 || tt.id != "" && (len(stored) != 1 || stored[0].ID != tt.id) {
				t.Errorf("stores %+v, want %q", stored, tt.id)
			}
		})
	}
	for _, secret := range []string{"the NEW", "the OLD"} {
		if strings.Contains(s.logs.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// TestHandshakesBeforeMethods: a GET or OPTIONS of a handshake is answered where the endpoint takes POST alone.
func TestHandshakesBeforeMethods(t *testing.T) {
	f := &fake{}
	s := start(t, verifiedHooks(), f, listener.Config{}, secrets)
	tests := []struct {
		method, path string
		header       []string
		status       int
		want         string
	}{
		{"GET", "/meta?hub.mode=subscribe&hub.verify_token=the+OLD&hub.challenge=42", nil, 200, "42"},
		{"GET", "/meta?hub.mode=subscribe&hub.verify_token=guess&hub.challenge=42", nil, 403, ""},
		{"GET", "/meta", nil, 405, ""},
		{"GET", "/github?hub.mode=subscribe&hub.verify_token=the+OLD&hub.challenge=42", nil, 405, "the endpoint answers it with verify: {type: meta, …}"},
		{"OPTIONS", "/events", []string{"WebHook-Request-Origin", "eventemitter.example.com"}, 200, ""},
		{"OPTIONS", "/events", []string{"WebHook-Request-Origin", "evil.eventemitter.example.com"}, 403, ""},
		{"OPTIONS", "/events", nil, 204, ""},
	}
	for _, tt := range tests {
		r := do(t, client(t), newRequest(t, tt.method, s.url(tt.path), "", tt.header...))
		if r.status != tt.status || !strings.Contains(r.body, tt.want) {
			t.Errorf("%s %s %v: %d %s, want %d %s", tt.method, tt.path, tt.header, r.status, r.body, tt.status, tt.want)
		}
		if r.status == 200 && tt.method == "OPTIONS" && r.header.Get("WebHook-Allowed-Origin") != tt.header[1] {
			t.Errorf("allowed origin %v", r.header)
		}
	}
	if n := len(f.stored()); n > 0 {
		t.Errorf("%d callbacks of handshakes", n)
	}
}

// TestChallenge: some senders give their user name and password only when they are asked.
func TestChallenge(t *testing.T) {
	s := start(t, `
listener:
  host: 127.0.0.1
  port: 0
  callbacks:
    - {path: /basic, verify: {type: basic, username: me, password: "${env.NEW}"}}
    - {path: /bearer, verify: {type: bearer, secret: "${env.NEW}"}}
    - {path: /both, when: "${body.a == 1}", verify: {type: bearer, secret: "${env.NEW}"}}
    - {path: /both, when: "${body.a == 2}", verify: {type: jwt, secret: "${env.NEW}"}}
    - {path: /jwt, verify: {type: jwt, secret: "${env.NEW}", header: X-Token}}
    - {path: /token, verify: {type: token, secret: "${env.NEW}", header: X-Token, prefix: "Bearer "}}
    - {path: /github, verify: {type: github, secret: "${env.NEW}"}}
`, &fake{}, listener.Config{}, secrets)
	for path, want := range map[string][]string{
		"/basic": {`Basic realm="callbacks", charset="UTF-8"`}, "/bearer": {"Bearer"}, "/both": {"Bearer", "Bearer"},
		"/jwt": nil, "/token": nil, "/github": nil,
	} {
		r := s.post(path, `{}`)
		if got := r.header.Values("WWW-Authenticate"); r.status != 401 || !slices.Equal(got, want) {
			t.Errorf("%s: %d %q, want %q", path, r.status, got, want)
		}
	}
	if got := s.logs.String(); !strings.Contains(got, "the header Authorization is missing") {
		t.Errorf("the log does not say why: %s", got)
	}
}

// TestHandshakeThatNobodyAnswers: whoever registers the endpoint is told what it lacks.
func TestHandshakeThatNobodyAnswers(t *testing.T) {
	s := start(t, `
listener:
  host: 127.0.0.1
  port: 0
  path: /events
  identify_by: ${body.event.id}
`, &fake{}, listener.Config{})
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/events", `{"type":"url_verification","challenge":"x"}`, "this looks like the handshake of slack: the endpoint answers it with verify: {type: slack, …}"},
		{"GET", "/events?challenge=x", ``, "this looks like the handshake of dropbox: the endpoint answers it with handshake: dropbox"},
		{"POST", "/events", `{"event":{"key":1}}`, "the body has event"},
		{"GET", "/events", ``, "it takes POST"},
	} {
		r := do(t, client(t), newRequest(t, tt.method, s.url(tt.path), tt.body))
		if got := r.problem(t)["hint"]; got != tt.want {
			t.Errorf("%s %s %s: %d, hint %q, want %q", tt.method, tt.path, tt.body, r.status, got, tt.want)
		}
	}
}

// TestKeysThatCannotBeHad: the sender is asked to come again, and not let in.
func TestKeysThatCannotBeHad(t *testing.T) {
	f := &fake{}
	s := start(t, verifiedHooks(), f, listener.Config{}, secrets, func(d *listener.Deps) { d.Fetch = nothing{} })
	token := "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30." + base64.RawURLEncoding.EncodeToString(make([]byte, 256))
	r := s.post("/jwt", `{"id":1}`, "Authorization", "Bearer "+token)
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" || len(f.stored()) > 0 {
		t.Errorf("%d %s, %d stored", r.status, r.body, len(f.stored()))
	}
}

// TestDeliveryIDs: the provider's id of a delivery counts where the file has no dedupe_by.
func TestDeliveryIDs(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	s := start(t, verifiedHooks(), b, listener.Config{}, secrets)
	const body = `{"id":"x"}`
	signature := "sha256=" + mac("the NEW", body)
	for i, want := range []string{"false", "true"} {
		r := s.post("/github", body, "X-Hub-Signature-256", signature, "X-GitHub-Delivery", "d-1")
		if r.status != 200 || !strings.Contains(r.body, `"duplicate":`+want) {
			t.Errorf("delivery %d: %d %s", i, r.status, r.body)
		}
	}
	if r := s.post("/github", body, "X-Hub-Signature-256", signature, "X-GitHub-Delivery", "d-2"); !strings.Contains(r.body, `"duplicate":false`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := len(stored(t, b, "x")); n != 2 {
		t.Errorf("%d stored, want one a delivery", n)
	}
}

// TestDeliveriesAreRememberedBeyondTheWindow: also by another listener, and where JetStream has forgotten them.
func TestDeliveriesAreRememberedBeyondTheWindow(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true, DedupeWindow: 100 * time.Millisecond})
	first := start(t, natsHooks, b, listener.Config{})
	second := start(t, natsHooks, b, listener.Config{})
	if r := first.post("/done", `{"id":"x"}`, "X-Delivery", "d-1"); r.status != 200 {
		t.Fatal(r.body)
	}
	run := first.post("/start", `{"n":1}`, "X-Delivery", "d-1")
	// The window is over when JetStream takes an id for the second time.
	probe := func() bool {
		ack, err := b.PublishCallback(t.Context(), &event.Callback{ID: "probe", DeliveryID: "probe"})
		return err == nil && ack.Duplicate
	}
	probe()
	for until := time.Now().Add(time.Minute); probe() && time.Now().Before(until); {
		continue
	}
	if r := second.post("/done", `{"id":"x"}`, "X-Delivery", "d-1"); r.status != 200 || !strings.Contains(r.body, `"duplicate":true`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := len(stored(t, b, "x")); n != 1 {
		t.Errorf("%d stored", n)
	}
	if r := second.post("/start", `{"n":1}`, "X-Delivery", "d-1"); r.body != run.body {
		t.Errorf("%s, then %s", run.body, r.body)
	}
}

func twilio(url string) string {
	m := hmac.New(sha1.New, []byte("the NEW"))
	m.Write([]byte(url + "CallSidCA1"))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// TestSignedAddresses: each of the addresses that a sender may have called is tried, and no other.
func TestSignedAddresses(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	s := start(t, verifiedHooks(), b, listener.Config{}, secrets)
	post := func(url string, header ...string) int {
		return s.post("/twilio?a=b%20c", "CallSid=CA1", append(header, "Content-Type", "application/x-www-form-urlencoded", "X-Twilio-Signature", twilio(url))...).status
	}
	const target = "/hooks/twilio?a=b%20c"
	if got := post(s.url("/twilio?a=b%20c")); got != 200 {
		t.Errorf("the local address: %d", got)
	}
	if got := post("https://tunnel.example" + target); got != 401 {
		t.Errorf("an address of nobody: %d", got)
	}
	forwarded := []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "proxy.example"}
	if got := post("https://proxy.example"+target, forwarded...); got != 200 {
		t.Errorf("the forwarded address: %d", got)
	}
	_, port, _ := strings.Cut(s.l.Addresses()[0].Addr, ":")
	status := event.GatewayStatus{Port: 1, Driver: "ngrok", PublicURL: "https://tunnel.example", Status: event.GatewayUp}
	if _, err := b.Bucket(subject.BucketGateways).Put(t.Context(), port, encode(t, status), 0); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); post("https://tunnel.example"+target) != 200; { // until the listener has seen it
		if time.Now().After(until) {
			t.Fatal("the gateway's address does not count")
		}
	}

	public := start(t, strings.Replace(verifiedHooks(), "base_path", "public_url: https://public.example/\n  base_path", 1), &fake{}, listener.Config{}, secrets,
		func(d *listener.Deps) { d.Document.Listeners[0].TrustedProxies = nil })
	s = public
	if got := post("https://public.example" + target); got != 200 {
		t.Errorf("public_url: %d", got)
	}
	if got := post("https://proxy.example"+target, forwarded...); got != 401 {
		t.Errorf("forwarded by a proxy that is not trusted: %d", got)
	}
}
