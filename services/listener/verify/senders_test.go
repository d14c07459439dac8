package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"hash/crc32"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// now is the time at which every request arrives.
var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const (
	secretText = "the-secret-of-this-endpoint-and-no-other"
	otherText  = "another-secret-that-is-known-elsewhere-ok"
	base       = "https://hooks.example.com"
	target     = "/in/coming?a=1&b=%2Ftwo"
	jsonBody   = `{"id":"evt_1","event_id":"ev-1","text":"hello"}`
)

// sender is a provider: how it signs, and how its endpoint is configured.
type sender struct {
	name     string
	spec     Spec // with the right key
	other    Spec // with another key
	delivery string
	item     string
	body     string                                   // "": jsonBody
	send     func(at time.Time, body string) *Request // a genuine request
	// carrier is the header that holds the signature, or "" where the body does.
	carrier string
	// timed: a time is signed; tolerance is the default.
	timed     bool
	tolerance time.Duration
	// unsignedBody: nothing protects the body.
	unsignedBody bool
}

func mac(h func() hash.Hash, key string, parts ...string) []byte {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(strings.Join(parts, "")))
	return m.Sum(nil)
}

func hex256(key string, parts ...string) string {
	return hex.EncodeToString(mac(sha256.New, key, parts...))
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func b64256(key string, parts ...string) string { return b64(mac(sha256.New, key, parts...)) }

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func milli(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }

func post(body string, pairs ...string) *Request {
	return &Request{
		Method: "POST", Bases: []string{"https://gone.example.com", base, "http://127.0.0.1:8090"}, Target: target,
		Header: header(pairs...), Body: []byte(body), Now: now,
	}
}

// senders makes one of every kind. Their signing is written from the schemes' descriptions, apart from the code under test.
func senders(tb testing.TB) []sender {
	tb.Helper()
	const five = 5 * time.Minute
	simple := func(kind string, options ...string) (Spec, Spec) {
		opts := map[string][]string{}
		for i := 0; i < len(options); i += 2 {
			opts[options[i]] = append(opts[options[i]], options[i+1])
		}
		return Spec{Type: kind, Secrets: []string{secretText}, Options: opts}, Spec{Type: kind, Secrets: []string{otherText}, Options: opts}
	}
	var all []sender
	add := func(s sender, specs func() (Spec, Spec)) {
		s.spec, s.other = specs()
		if s.name == "" {
			s.name = s.spec.Type
		}
		if s.body == "" {
			s.body = jsonBody
		}
		all = append(all, s)
	}
	of := func(kind string, options ...string) func() (Spec, Spec) {
		return func() (Spec, Spec) { return simple(kind, options...) }
	}

	add(sender{carrier: "X-Hub-Signature-256", delivery: "d-1", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Hub-Signature-256", "sha256="+hex256(secretText, body), "X-GitHub-Delivery", "d-1")
	}}, of("github"))
	add(sender{carrier: "X-Hub-Signature-256", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Hub-Signature-256", "sha256="+hex256(secretText, body))
	}}, of("meta"))
	add(sender{carrier: "X-Shopify-Hmac-Sha256", delivery: "d-1", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Shopify-Hmac-Sha256", b64256(secretText, body), "X-Shopify-Webhook-Id", "d-1")
	}}, of("shopify"))
	add(sender{carrier: "X-Twitter-Webhooks-Signature", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Twitter-Webhooks-Signature", "sha256="+b64256(secretText, body))
	}}, of("twitter"))
	add(sender{carrier: "X-Square-HmacSha256-Signature", delivery: "ev-1", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Square-HmacSha256-Signature", b64256(secretText, base, target, body))
	}}, of("square"))
	add(sender{carrier: "X-Slack-Signature", delivery: "ev-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "X-Slack-Signature", "v0="+hex256(secretText, "v0:", unix(at), ":", body), "X-Slack-Request-Timestamp", unix(at))
	}}, of("slack"))
	add(sender{carrier: "x-zm-signature", delivery: "d-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "x-zm-signature", "v0="+hex256(secretText, "v0:", unix(at), ":", body), "x-zm-request-timestamp", unix(at), "x-zm-trackingid", "d-1")
	}}, of("zoom"))
	add(sender{carrier: "Stripe-Signature", delivery: "evt_1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "Stripe-Signature", "t="+unix(at)+",v1="+hex256(secretText, unix(at), ".", body))
	}}, of("stripe"))
	add(sender{carrier: "Paddle-Signature", delivery: "ev-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "Paddle-Signature", "ts="+unix(at)+";h1="+hex256(secretText, unix(at), ":", body))
	}}, of("paddle"))
	add(sender{carrier: "Linear-Signature", delivery: "d-1", timed: true, tolerance: time.Minute, send: func(at time.Time, body string) *Request {
		body = strings.Replace(body, "{", `{"webhookTimestamp":`+milli(at)+",", 1)
		return post(body, "Linear-Signature", hex256(secretText, body), "Linear-Delivery", "d-1")
	}}, of("linear"))
	add(sender{name: "linear, time in the header", carrier: "Linear-Signature", timed: true, tolerance: time.Minute, send: func(at time.Time, body string) *Request {
		return post(body, "Linear-Signature", hex256(secretText, body), "Linear-Timestamp", milli(at))
	}}, of("linear"))
	add(sender{carrier: "X-Twilio-Signature", delivery: "d-1", body: "To=%2B1800&From=%2B1900&Note=hello", send: func(_ time.Time, body string) *Request {
		values, err := url.ParseQuery(body)
		must(tb, err)
		params := "From" + values.Get("From") + "Note" + values.Get("Note") + "To" + values.Get("To")
		return post(body, "X-Twilio-Signature", b64(mac(sha1.New, secretText, base, target, params)), "Content-Type", form, "I-Twilio-Idempotency-Token", "d-1")
	}}, of("twilio"))
	add(sender{name: "twilio, JSON", carrier: "X-Twilio-Signature", send: func(_ time.Time, body string) *Request {
		sum := sha256.Sum256([]byte(body))
		r := post(body, "Content-Type", "application/json")
		r.Target += "&bodySHA256=" + hex.EncodeToString(sum[:])
		r.Header.(interface{ Set(k, v string) }).Set("X-Twilio-Signature", b64(mac(sha1.New, secretText, base, r.Target)))
		return r
	}}, of("twilio"))
	plainHash := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, "")))
		return hex.EncodeToString(sum[:])
	}
	add(sender{name: "hubspot v1", carrier: "X-HubSpot-Signature", send: func(_ time.Time, body string) *Request {
		return post(body, "X-HubSpot-Signature", plainHash(secretText, body), "X-HubSpot-Signature-Version", "v1")
	}}, of("hubspot", "version", "v1"))
	add(sender{name: "hubspot v2", carrier: "X-HubSpot-Signature", send: func(_ time.Time, body string) *Request {
		return post(body, "X-HubSpot-Signature", plainHash(secretText, "POST", base, target, body), "X-HubSpot-Signature-Version", "v2")
	}}, of("hubspot", "version", "v2"))
	add(sender{name: "hubspot v3", carrier: "X-HubSpot-Signature-v3", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "X-HubSpot-Signature-v3", b64256(secretText, "POST", base, "/in/coming?a=1&b=/two", body, milli(at)), "X-HubSpot-Request-Timestamp", milli(at))
	}}, of("hubspot", "version", "v3"))

	key := "whsec_" + b64([]byte(secretText))
	standardOf := func(kind, family string) sender {
		return sender{name: kind + " with " + family + "-id", carrier: family + "-signature", delivery: "msg_1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
			return post(body, family+"-id", "msg_1", family+"-timestamp", unix(at), family+"-signature",
				"v1,"+b64256(secretText, "msg_1.", unix(at), ".", body))
		}}
	}
	for _, kind := range []string{"standard-webhooks", "svix", "replicate", "openai"} {
		specs := func() (Spec, Spec) {
			return Spec{Type: kind, Secrets: []string{key}}, Spec{Type: kind, Secrets: []string{"whsec_" + b64([]byte(otherText))}}
		}
		add(standardOf(kind, "webhook"), specs)
		if kind == "svix" || kind == "standard-webhooks" {
			add(standardOf(kind, "svix"), specs)
		}
	}
	add(sender{name: "openai, without the version", carrier: "webhook-signature", delivery: "msg_1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "webhook-id", "msg_1", "webhook-timestamp", unix(at), "webhook-signature", b64256(secretText, "msg_1.", unix(at), ".", body))
	}}, of("openai")) // and the secret as it is
	add(sender{name: "gitlab, signing token", carrier: "webhook-signature", delivery: "d-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "Idempotency-Key", "d-1", "webhook-id", "d-1", "webhook-timestamp", unix(at), "webhook-signature", "v1,"+b64256(secretText, "d-1.", unix(at), ".", body))
	}}, func() (Spec, Spec) {
		return Spec{Type: "gitlab", Secrets: []string{key}}, Spec{Type: "gitlab", Secrets: []string{"whsec_" + b64([]byte(otherText))}}
	})
	add(sender{name: "gitlab, token", carrier: "X-Gitlab-Token", delivery: "d-1", unsignedBody: true, send: func(_ time.Time, body string) *Request {
		return post(body, "X-Gitlab-Token", secretText, "Idempotency-Key", "d-1")
	}}, of("gitlab"))

	private, otherPublic := edKey(1), edKey(2).Public().(ed25519.PublicKey)
	public := private.Public().(ed25519.PublicKey)
	withKey := func(kind, mine, other string) func() (Spec, Spec) {
		return func() (Spec, Spec) {
			return Spec{Type: kind, Options: map[string][]string{"public_key": {mine}}}, Spec{Type: kind, Options: map[string][]string{"public_key": {other}}}
		}
	}
	add(sender{name: "standard-webhooks v1a", carrier: "webhook-signature", delivery: "msg_1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "webhook-id", "msg_1", "webhook-timestamp", unix(at), "webhook-signature", "v1a,"+b64(ed25519.Sign(private, []byte("msg_1."+unix(at)+"."+body))))
	}}, withKey("standard-webhooks", "whpk_"+b64(public), "whpk_"+b64(otherPublic)))
	add(sender{carrier: "X-Signature-Ed25519", delivery: "evt_1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(private, []byte(unix(at)+body))), "X-Signature-Timestamp", unix(at))
	}}, withKey("discord", hex.EncodeToString(public), hex.EncodeToString(otherPublic)))
	add(sender{carrier: "X-Fal-Webhook-Signature", delivery: "req-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		text := "req-1\nuser-1\n" + unix(at) + "\n" + plainHash(body)
		return post(body, "X-Fal-Webhook-Signature", hex.EncodeToString(ed25519.Sign(private, []byte(text))),
			"X-Fal-Webhook-Request-Id", "req-1", "X-Fal-Webhook-User-Id", "user-1", "X-Fal-Webhook-Timestamp", unix(at))
	}}, func() (Spec, Spec) {
		const at = "https://rest.fal.ai/.well-known/jwks.json"
		return Spec{Type: "fal", Fetch: pages{at: jwks(tb, otherPublic, public)}}, Spec{Type: "fal", Fetch: pages{at: jwks(tb, otherPublic)}}
	})

	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	ecOther, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	add(sender{carrier: "X-Twilio-Email-Event-Webhook-Signature", item: "sg_event_id", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		sum := sha256.Sum256([]byte(unix(at) + body))
		signature, err := ecdsa.SignASN1(rand.Reader, ecKey, sum[:])
		must(tb, err)
		return post(body, "X-Twilio-Email-Event-Webhook-Signature", b64(signature), "X-Twilio-Email-Event-Webhook-Timestamp", unix(at))
	}}, withKey("sendgrid", b64(spki(tb, ecKey.Public())), b64(spki(tb, ecOther.Public()))))
	add(sender{delivery: "token-1", timed: true, tolerance: five, unsignedBody: true, send: func(at time.Time, body string) *Request {
		return post(fmt.Sprintf(`{"signature":{"timestamp":%q,"token":"token-1","signature":%q},"event-data":%s}`,
			unix(at), hex256(secretText, unix(at), "token-1"), body), "Content-Type", "application/json")
	}}, of("mailgun"))

	rsaKey, rsaOther := rsaKey(tb), rsaKey(tb)
	const paypalURL = "https://api.paypal.com/v1/notifications/certs/CERT-1"
	authority := newAuthority(tb)
	withCert := func(key *rsa.PrivateKey, webhook string) Spec {
		return Spec{
			Type: "paypal", Options: map[string][]string{"webhook_id": {webhook}}, Roots: authority.pool(),
			Fetch: pages{paypalURL: authority.issue(tb, key, "messageverificationcerts.paypal.com")},
		}
	}
	add(sender{carrier: "PAYPAL-TRANSMISSION-SIG", delivery: "evt_1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		stamp := at.UTC().Format(time.RFC3339)
		text := fmt.Sprintf("tr-1|%s|WH-1|%d", stamp, crc32.ChecksumIEEE([]byte(body)))
		return post(body, "PAYPAL-TRANSMISSION-SIG", b64(signRSA(tb, rsaKey, crypto.SHA256, text)), "PAYPAL-TRANSMISSION-ID", "tr-1",
			"PAYPAL-TRANSMISSION-TIME", stamp, "PAYPAL-CERT-URL", paypalURL, "PAYPAL-AUTH-ALGO", "SHA256withRSA")
	}}, func() (Spec, Spec) { return withCert(rsaKey, "WH-1"), withCert(rsaKey, "WH-2") })
	for version, algorithm := range map[string]crypto.Hash{"1": crypto.SHA1, "2": crypto.SHA256} {
		const certURL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem"
		add(sender{name: "aws-sns version " + version, delivery: "m-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
			return snsRequest(tb, rsaKey, version, algorithm, certURL, map[string]string{
				"Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:us-east-1:1:topic", "Message": body, "Subject": "about",
				"Timestamp": at.UTC().Format("2006-01-02T15:04:05.000Z"),
			})
		}}, func() (Spec, Spec) {
			return Spec{Type: "aws-sns", Fetch: pages{certURL: authority.issue(tb, rsaKey, "sns.amazonaws.com")}},
				Spec{Type: "aws-sns", Fetch: pages{certURL: authority.issue(tb, rsaOther, "sns.amazonaws.com")}}
		})
	}

	add(sender{name: "hmac", carrier: "X-Sig", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Sig", hex256(secretText, body))
	}}, of("hmac", "header", "X-Sig"))
	add(sender{name: "hmac, all of it", carrier: "X-Sig", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		stamp := at.UTC().Format(time.RFC3339)
		text := "POST\n" + base + target + "\n/in/coming a=1&b=%2Ftwo\n" + stamp + "." + body + ".x-1"
		return post(body, "X-Sig", "v1="+base64.RawURLEncoding.EncodeToString(mac(sha512.New, secretText, text)), "X-Time", stamp, "X-Id", "x-1")
	}}, of("hmac", "header", "X-Sig", "prefix", "v1=", "algorithm", "sha512", "encoding", "base64url", "timestamp_header", "X-Time",
		"signed", "{method}\n{url}\n{path} {query}\n{timestamp}.{body}.{header.X-Id}"))
	add(sender{name: "hmac, as in the compose file", carrier: "X-Sig", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "X-Sig", "sha256="+hex256(secretText, "POST /in/coming ", unix(at), ".", body), "X-Time", unix(at))
	}}, of("hmac", "header", "X-Sig", "prefix", "sha256=", "timestamp_header", "X-Time", "signed", "${request.method} ${request.path} ${header.x-time}.${body}"))
	add(sender{name: "hmac, a list", carrier: "X-Sig", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return post(body, "X-Sig", "t="+milli(at)+", v1="+strings.ToUpper(hex.EncodeToString(mac(sha512.New384, secretText, milli(at), ":", body))))
	}}, of("hmac", "header", "X-Sig", "prefix", "v1=", "algorithm", "sha384", "encoding", "hex-upper", "timestamp_prefix", "t=", "signed", "{timestamp}:{body}"))
	add(sender{name: "hmac, a key in hex", carrier: "X-Sig", send: func(_ time.Time, body string) *Request {
		return post(body, "X-Sig", b64(mac(sha1.New, secretText, body)))
	}}, func() (Spec, Spec) {
		mine, other := simple("hmac", "header", "X-Sig", "algorithm", "sha1", "encoding", "base64", "secret_encoding", "hex")
		mine.Secrets, other.Secrets = []string{hex.EncodeToString([]byte(secretText))}, []string{hex.EncodeToString([]byte(otherText))}
		return mine, other
	})
	add(sender{name: "token in a header", carrier: "X-Token", unsignedBody: true, send: func(_ time.Time, body string) *Request {
		return post(body, "X-Token", secretText)
	}}, of("token", "header", "X-Token"))
	add(sender{carrier: "Authorization", unsignedBody: true, send: func(_ time.Time, body string) *Request {
		return post(body, "Authorization", "Bearer "+secretText)
	}}, of("bearer"))
	add(sender{carrier: "Authorization", unsignedBody: true, send: func(_ time.Time, body string) *Request {
		return post(body, "Authorization", "Basic "+b64([]byte("me:"+secretText)))
	}}, of("basic", "username", "me"))

	token := func(key any, algorithm jose.SignatureAlgorithm, kid string, at time.Time, body string) *Request {
		sum := sha256.Sum256([]byte(body))
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
		must(tb, err)
		text, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": "me", "aud": []string{"you"}, "iat": at.Unix(), "jti": "j-1", "email": "a@example.com", "body_sha256": hex.EncodeToString(sum[:]),
		}).Serialize()
		must(tb, err)
		return post(body, "Authorization", "Bearer "+text)
	}
	claims := []string{"issuer", "me", "audience", "you", "claims", "email=a@example.com", "body_hash_claim", "body_sha256"}
	add(sender{name: "jwt by secret", carrier: "Authorization", delivery: "j-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return token([]byte(secretText), jose.HS256, "", at, body)
	}}, of("jwt", claims...))
	add(sender{name: "jwt by key set", carrier: "Authorization", delivery: "j-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return token(private, jose.EdDSA, "k1", at, body)
	}}, func() (Spec, Spec) {
		const at = "https://id.example.com/keys"
		mine, other := simple("jwt", append(claims, "jwks_url", at)...)
		mine.Secrets, other.Secrets = nil, nil
		mine.Fetch, other.Fetch = pages{at: jwks(tb, otherPublic, public)}, pages{at: jwks(tb, otherPublic)}
		return mine, other
	})
	add(sender{name: "jwt by public key", carrier: "Authorization", delivery: "j-1", timed: true, tolerance: five, send: func(at time.Time, body string) *Request {
		return token(rsaKey, jose.RS256, "", at, body)
	}}, func() (Spec, Spec) {
		mine, other := simple("jwt", append(claims, "public_key", pemKey(tb, rsaKey.Public()))...)
		other.Options = map[string][]string{"public_key": {pemKey(tb, rsaOther.Public())}}
		mine.Secrets, other.Secrets = nil, nil
		return mine, other
	})
	return all
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func edKey(n byte) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte{n})
	return ed25519.NewKeyFromSeed(seed[:])
}

func rsaKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024) // short, for the tests' speed
	must(tb, err)
	return key
}

func signRSA(tb testing.TB, key *rsa.PrivateKey, algorithm crypto.Hash, text string) []byte {
	tb.Helper()
	h := algorithm.New()
	h.Write([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, algorithm, h.Sum(nil))
	must(tb, err)
	return signature
}

func spki(tb testing.TB, key crypto.PublicKey) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	must(tb, err)
	return der
}

func pemKey(tb testing.TB, key crypto.PublicKey) string {
	tb.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(tb, key)}))
}

// jwks makes a key set whose keys have the ids k0, k1, …, and a key of a kind that nobody knows.
func jwks(tb testing.TB, keys ...ed25519.PublicKey) string {
	tb.Helper()
	set := map[string]any{}
	list := []any{map[string]any{"kty": "XYZ", "kid": "strange"}}
	for i, key := range keys {
		list = append(list, jose.JSONWebKey{Key: key, KeyID: fmt.Sprintf("k%d", i), Use: "sig"})
	}
	set["keys"] = list
	text, err := json.Marshal(set)
	must(tb, err)
	return string(text)
}

func snsRequest(tb testing.TB, key *rsa.PrivateKey, version string, algorithm crypto.Hash, certURL string, message map[string]string) *Request {
	tb.Helper()
	names := []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	var text strings.Builder
	for _, name := range names {
		if value, ok := message[name]; ok {
			text.WriteString(name + "\n" + value + "\n")
		}
	}
	message["SignatureVersion"], message["SigningCertURL"] = version, certURL
	message["Signature"] = b64(signRSA(tb, key, algorithm, text.String()))
	body, err := json.Marshal(message)
	must(tb, err)
	return post(string(body), "Content-Type", "text/plain; charset=UTF-8", "x-amz-sns-message-type", message["Type"])
}

// authority issues certificates.
type authority struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(tb testing.TB) authority {
	tb.Helper()
	key := rsaKey(tb)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return authority{key, cert}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue gives a certificate as PEM, valid for a day around now.
func (a authority) issue(tb testing.TB, key *rsa.PrivateKey, name string) string {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(tb, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
