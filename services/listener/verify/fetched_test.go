package verify

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// web is a Fetcher that counts.
type web struct {
	asked atomic.Int64
	give  func(url string) ([]byte, error)
}

func (w *web) Fetch(_ context.Context, url string) ([]byte, error) {
	w.asked.Add(1)
	return w.give(url)
}

func TestCache(t *testing.T) {
	value, broken := "one", error(nil)
	w := &web{give: func(string) ([]byte, error) { return []byte(value), broken }}
	c := newCache(w, func(b []byte) (string, error) {
		if len(b) == 0 {
			return "", errors.New("nothing there")
		}
		return string(b), nil
	})
	at := now
	step := func(wait time.Duration, renew bool, want string, asked int64) {
		t.Helper()
		at = at.Add(wait)
		got, err := c.get(t.Context(), "u", at, renew)
		if err != nil {
			got = "error"
		}
		if got != want || w.asked.Load() != asked {
			t.Errorf("got %s after %d questions (%v), want %s after %d", got, w.asked.Load(), err, want, asked)
		}
	}
	step(0, false, "one", 1)
	value = "two"
	step(keepFresh-time.Second, false, "one", 1)
	step(time.Second, false, "two", 2)
	value = "three"
	step(time.Second, true, "two", 2) // renewed a second ago
	step(keepRefresh, true, "three", 3)
	value, broken = "", errors.New("away")
	step(keepFresh, false, "three", 4) // stale, but there
	step(keepFailure-time.Second, false, "three", 4)
	step(keepFailure, false, "three", 5)
	step(keepStale, false, "error", 6)
	step(time.Second, false, "error", 6) // a failure is kept too
	broken = nil
	step(keepFailure, false, "error", 7) // what cannot be parsed is a failure
	value = "four"
	step(keepFailure, false, "four", 8)
}

func TestCacheForgetsWhatFailedFirst(t *testing.T) {
	w := &web{give: func(url string) ([]byte, error) {
		if url == "good" {
			return []byte("good"), nil
		}
		return nil, errors.New("nothing there")
	}}
	c := newCache(w, func(b []byte) (string, error) { return string(b), nil })
	for i := range 10 * maxCached {
		if i == 1 {
			if _, err := c.get(t.Context(), "good", now, false); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = c.get(t.Context(), fmt.Sprint("made up ", i), now.Add(time.Duration(i)), false)
	}
	if len(c.entries) > maxCached {
		t.Errorf("%d are kept", len(c.entries))
	}
	before := w.asked.Load()
	if v, err := c.get(t.Context(), "good", now, false); v != "good" || err != nil || w.asked.Load() != before {
		t.Errorf("what works was forgotten for what does not: %q, %v", v, err)
	}
}

// TestCacheAsksOnce: many requests at once are one question, which outlives those that asked.
func TestCacheAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		fetch := fetchFunc(func(ctx context.Context, _ string) ([]byte, error) {
			asked.Add(1)
			<-time.After(time.Second)
			return []byte("v"), ctx.Err()
		})
		c := newCache(fetch, func(b []byte) (string, error) { return string(b), nil })
		results := make(chan error)
		given, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			go func() {
				_, err := c.get(given, "u", now, false)
				results <- err
			}()
		}
		for range 20 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// TestCacheWaitsForASlot: more addresses than slots, none of which answers, end in errors and not in a heap of questions.
func TestCacheWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most, under atomic.Int64
		fetch := fetchFunc(func(ctx context.Context, _ string) ([]byte, error) {
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		c := newCache(fetch, func(b []byte) (string, error) { return string(b), nil })
		results := make(chan error)
		for i := range 20 {
			go func() {
				_, err := c.get(t.Context(), fmt.Sprint(i), now, false)
				results <- err
			}()
		}
		for range 20 {
			if <-results == nil {
				t.Error("no error")
			}
		}
		if most.Load() != maxFetches {
			t.Errorf("%d questions at once", most.Load())
		}
	})
}

type fetchFunc func(context.Context, string) ([]byte, error)

func (f fetchFunc) Fetch(ctx context.Context, url string) ([]byte, error) { return f(ctx, url) }

func TestFalKeys(t *testing.T) {
	first, second := edKey(1), edKey(2)
	const primary, fallback = "https://rest.fal.ai/.well-known/jwks.json", "https://rest.alpha.fal.ai/.well-known/jwks.json"
	var send func(at time.Time, body string) *Request
	for _, s := range senders(t) {
		if s.spec.Type == "fal" {
			send = s.send
		}
	}
	served := map[string]string{primary: jwks(t, second.Public().(ed25519.PublicKey))}
	w := &web{give: func(url string) ([]byte, error) { return pages(served).Fetch(t.Context(), url) }}
	v := compiled(t, Spec{Type: "fal", Fetch: w})
	at := func(wait time.Duration) *Request {
		r := send(now.Add(wait), jsonBody)
		r.Now = now.Add(wait)
		return r
	}
	refused(t, v, at(0), "by a key that is not published", Wrong)
	served[primary] = jwks(t, first.Public().(ed25519.PublicKey), second.Public().(ed25519.PublicKey))
	refused(t, v, at(time.Second), "published a second later", Wrong)
	if w.asked.Load() != 1 {
		t.Errorf("asked %d times: anyone could make us ask", w.asked.Load())
	}
	if _, err := v.Verify(t.Context(), at(keepRefresh)); err != nil || w.asked.Load() != 2 {
		t.Errorf("a new key is not found: %v, asked %d times", err, w.asked.Load())
	}
	delete(served, primary)
	served[fallback] = jwks(t, first.Public().(ed25519.PublicKey))
	if _, err := compiled(t, Spec{Type: "fal", Fetch: w}).Verify(t.Context(), at(0)); err != nil {
		t.Errorf("the other address: %v", err)
	}
	served[fallback] = `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`
	if _, err := compiled(t, Spec{Type: "fal", Fetch: w}).Verify(t.Context(), at(0)); ReasonOf(err) != Unavailable {
		t.Errorf("a key set of secrets: got %v", err)
	}
	if _, err := Compile(Spec{Type: "fal", Fetch: w, Options: map[string][]string{"jwks_url": {"https://evil.example/keys"}}}); err == nil {
		t.Error("keys from anywhere")
	}
}

func TestPayPalCertificates(t *testing.T) {
	key, authority, stranger := rsaKey(t), newAuthority(t), newAuthority(t)
	const certURL = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1"
	good := authority.issue(t, key, "messageverificationcerts.sandbox.paypal.com")
	for name, test := range map[string]struct {
		url, cert string
		wait      time.Duration
		algorithm string
		want      Reason
	}{
		"good":             {url: certURL, cert: good},
		"unknown root":     {url: certURL, cert: stranger.issue(t, key, "messageverificationcerts.paypal.com"), want: Wrong},
		"another name":     {url: certURL, cert: authority.issue(t, key, "paypal.com.evil.example"), want: Wrong},
		"a name like it":   {url: certURL, cert: authority.issue(t, key, "evilpaypal.com"), want: Wrong},
		"expired":          {url: certURL, cert: good, wait: 25 * time.Hour, want: Wrong},
		"not yet valid":    {url: certURL, cert: good, wait: -25 * time.Hour, want: Wrong},
		"no certificate":   {url: certURL, cert: "hello", want: Unavailable},
		"nothing there":    {url: "https://api.paypal.com/other", want: Unavailable},
		"http":             {url: "http://api.paypal.com/c", cert: good, want: Malformed},
		"another host":     {url: "https://api.paypal.com.evil.example/c", cert: good, want: Malformed},
		"a host like it":   {url: "https://evilpaypal.com/c", cert: good, want: Malformed},
		"a host as a user": {url: "https://api.paypal.com@evil.example/c", cert: good, want: Malformed},
		"a port":           {url: "https://api.paypal.com:8443/c", cert: good, want: Malformed},
		"no URL":           {url: "api.paypal.com", cert: good, want: Malformed},
		"a weak algorithm": {url: certURL, cert: good, algorithm: "SHA1withRSA", want: Malformed},
	} {
		served := pages{}
		if test.cert != "" {
			served[test.url] = test.cert
		}
		zero := time.Duration(0)
		v := compiled(t, Spec{Type: "paypal", Options: map[string][]string{"webhook_id": {"W"}}, Fetch: served, Roots: authority.pool(), Tolerance: &zero})
		text := fmt.Sprintf("t|%s|W|%d", now.Format(time.RFC3339), uint32(0xcbf43926)) // CRC-32 of 123456789
		if test.algorithm == "" {
			test.algorithm = "SHA256withRSA"
		}
		r := post("123456789", "PAYPAL-TRANSMISSION-SIG", b64(signRSA(t, key, crypto.SHA256, text)), "PAYPAL-TRANSMISSION-ID", "t",
			"PAYPAL-TRANSMISSION-TIME", now.Format(time.RFC3339), "PAYPAL-CERT-URL", test.url, "PAYPAL-AUTH-ALGO", test.algorithm)
		r.Now = now.Add(test.wait)
		if _, err := v.Verify(t.Context(), r); ReasonOf(err) != test.want {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestSNS(t *testing.T) {
	key, authority := rsaKey(t), newAuthority(t)
	const certURL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
	served := pages{certURL: authority.issue(t, key, "sns.amazonaws.com")}
	v := compiled(t, Spec{Type: "aws-sns", Fetch: served})
	message := func(change map[string]string) map[string]string {
		m := map[string]string{
			"Type": "SubscriptionConfirmation", "MessageId": "m-1", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "You have chosen",
			"Token": "tok", "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription", "Timestamp": now.Format(time.RFC3339),
		}
		maps.Copy(m, change)
		return m
	}
	signed := func(change map[string]string) *Request {
		return snsRequest(t, key, "2", crypto.SHA256, certURL, message(change))
	}
	for _, kind := range []string{"SubscriptionConfirmation", "UnsubscribeConfirmation"} {
		if result, err := v.Verify(t.Context(), signed(map[string]string{"Type": kind})); err != nil || result.DeliveryID != "m-1" {
			t.Errorf("%s: %+v, %v", kind, result, err)
		}
	}
	for name, change := range map[string]func(m map[string]any){
		"another Message":      func(m map[string]any) { m["Message"] = "You have not" },
		"another SubscribeURL": func(m map[string]any) { m["SubscribeURL"] = "https://evil.example/" },
		"another Token":        func(m map[string]any) { m["Token"] = "x" },
		"another TopicArn":     func(m map[string]any) { m["TopicArn"] = "arn" },
		"another Type":         func(m map[string]any) { m["Type"] = "Notification" },
		"an unknown Type":      func(m map[string]any) { m["Type"] = "Other" },
		"no Token":             func(m map[string]any) { delete(m, "Token") },
		"Token is a number":    func(m map[string]any) { m["Token"] = 1 },
		"Message is a list":    func(m map[string]any) { m["Message"] = []string{"You have chosen"} },
		"version 3":            func(m map[string]any) { m["SignatureVersion"] = "3" },
		"version 1":            func(m map[string]any) { m["SignatureVersion"] = "1" },
		"no version":           func(m map[string]any) { delete(m, "SignatureVersion") },
		"no certificate":       func(m map[string]any) { delete(m, "SigningCertURL") },
		"another host":         func(m map[string]any) { m["SigningCertURL"] = "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem" },
		"a bucket":             func(m map[string]any) { m["SigningCertURL"] = "https://s3.amazonaws.com/x.pem" },
		"a host that ends so": func(m map[string]any) {
			m["SigningCertURL"] = "https://sns.evil.example/sns.eu-west-1.amazonaws.com/x.pem"
		},
		"http":                  func(m map[string]any) { m["SigningCertURL"] = strings.Replace(certURL, "https", "http", 1) },
		"no .pem":               func(m map[string]any) { m["SigningCertURL"] = "https://sns.eu-west-1.amazonaws.com/x" },
		"a query":               func(m map[string]any) { m["SigningCertURL"] = "https://sns.eu-west-1.amazonaws.com/?x=.txt" },
		"no signature":          func(m map[string]any) { delete(m, "Signature") },
		"an empty signature":    func(m map[string]any) { m["Signature"] = "" },
		"a signature with room": func(m map[string]any) { m["Signature"] = " " + m["Signature"].(string) },
	} {
		r := signed(nil)
		m := map[string]any{}
		must(t, json.Unmarshal(r.Body, &m))
		change(m)
		r.Body, _ = json.Marshal(m)
		refused(t, v, r, name, Wrong, Malformed, Missing)
	}
	r := signed(nil)
	r.Body = []byte(strings.Replace(string(r.Body), "{", `{"Message":"forged",`, 1))
	refused(t, v, r, "a Message before the signed one", Malformed)
	r = signed(nil)
	r.Body = []byte(strings.TrimSuffix(string(r.Body), "}") + `,"\u004dessage":"forged"}`)
	refused(t, v, r, "a Message after the signed one, escaped", Malformed)
	for _, body := range []string{"", "[]", "null", "1", `{"a":`, `{"a":1}{}`, `{"a":1} x`, string(signed(nil).Body) + "{}"} {
		refused(t, v, post(body), "the body "+body, Malformed, Missing)
	}
	r = snsRequest(t, key, "2", crypto.SHA256, certURL, map[string]string{
		"Type": "Notification", "MessageId": "m-1", "TopicArn": "arn", "Message": "m", "Timestamp": now.Format(time.RFC3339),
	})
	if _, err := v.Verify(t.Context(), r); err != nil {
		t.Errorf("without a Subject: %v", err)
	}
	r.Body = []byte(strings.Replace(string(r.Body), "{", `{"Subject":["forged"],`, 1))
	refused(t, v, r, "a Subject that is no text", Malformed)
	late := signed(nil)
	late.Now = now.Add(48 * time.Hour)
	refused(t, v, late, "when the certificate has expired", Wrong)

	pinned := compiled(t, Spec{Type: "aws-sns", Fetch: served, Options: map[string][]string{"topic_arn": {"arn:other", "arn:aws:sns:eu-west-1:1:t"}}})
	if _, err := pinned.Verify(t.Context(), signed(nil)); err != nil {
		t.Error(err)
	}
	refused(t, pinned, signed(map[string]string{"TopicArn": "arn:aws:sns:eu-west-1:2:t"}), "somebody else's topic", Wrong)
	for address, want := range map[string]bool{
		"https://sns.us-east-1.amazonaws.com/?Action=1": true, "https://sns.cn-north-1.amazonaws.com.cn/x": true, "https://sns.us-gov-west-1.amazonaws.com/": true,
		"https://sns.us-east-1.amazonaws.com:443/": false, "https://sns..amazonaws.com/": false, "https://sns.a.b.amazonaws.com/": false,
		"https://sns.us-east-1.amazonaws.com.cn.evil.example/": false, "https://user@sns.us-east-1.amazonaws.com/": false, "https://xsns.us-east-1.amazonaws.com/": false,
		"https://amazonaws.com/": false, "https://sns.cn/": false, "": false, "https://sns.us_east.amazonaws.com/": false,
	} {
		if _, ok := SNSAddress(address); ok != want {
			t.Errorf("%s: got %v", address, ok)
		}
	}
}

func TestJWT(t *testing.T) {
	private := edKey(1)
	rsaPrivate := rsaKey(t)
	rsaPEM := pemKey(t, rsaPrivate.Public())
	sign := func(algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k0"))
		must(t, err)
		text, err := jwt.Signed(signer).Claims(claims).Serialize()
		must(t, err)
		return text
	}
	at := func(wait time.Duration) int64 { return now.Add(wait).Unix() }
	secret := Spec{Type: "jwt", Secrets: []string{"short"}}
	padded := append([]byte("short"), make([]byte, 64)...)
	hs := func(claims map[string]any) string { return sign(jose.HS256, padded[:64], claims) }
	with := func(spec Spec, options ...string) Spec {
		spec.Options = map[string][]string{}
		for i := 0; i < len(options); i += 2 {
			spec.Options[options[i]] = append(spec.Options[options[i]], options[i+1])
		}
		return spec
	}
	public := with(Spec{Type: "jwt"}, "public_key", rsaPEM)
	none := "eyJhbGciOiJub25lIn0." + strings.Split(hs(map[string]any{"exp": at(time.Hour)}), ".")[1] + "."
	for name, test := range map[string]struct {
		spec  Spec
		token string
		want  Reason
	}{
		"ends later":                 {secret, hs(map[string]any{"exp": at(time.Hour)}), ""},
		"made long ago, ends later":  {secret, hs(map[string]any{"exp": at(time.Minute), "iat": at(-time.Hour)}), ""},
		"ended just now":             {secret, hs(map[string]any{"exp": at(-5 * time.Minute)}), ""},
		"ended":                      {secret, hs(map[string]any{"exp": at(-5*time.Minute - time.Second)}), Stale},
		"starts later":               {secret, hs(map[string]any{"exp": at(time.Hour), "nbf": at(6 * time.Minute)}), Future},
		"made later":                 {secret, hs(map[string]any{"exp": at(time.Hour), "iat": at(6 * time.Minute)}), Future},
		"made long ago":              {secret, hs(map[string]any{"iat": at(-6 * time.Minute)}), Stale},
		"made now":                   {secret, hs(map[string]any{"iat": at(0)}), ""},
		"good for ever":              {secret, hs(map[string]any{"sub": "x"}), Malformed},
		"a time that is none":        {secret, hs(map[string]any{"exp": "tomorrow"}), Malformed},
		"no claims":                  {secret, sign(jose.HS256, padded[:64], nil), Malformed},
		"unsigned":                   {secret, none, Malformed},
		"no token":                   {secret, "abc", Malformed},
		"two tokens":                 {secret, hs(map[string]any{"exp": at(time.Hour)}) + "." + hs(nil), Malformed},
		"the public key as a secret": {public, sign(jose.HS256, []byte(rsaPEM), map[string]any{"exp": at(time.Hour)}), Malformed},
		"by the private key":         {public, sign(jose.RS256, rsaPrivate, map[string]any{"exp": at(time.Hour)}), ""},
		"another algorithm":          {with(Spec{Type: "jwt"}, "public_key", rsaPEM, "algorithm", "PS256"), sign(jose.RS256, rsaPrivate, map[string]any{"exp": at(time.Hour)}), Malformed},
		"issuer":                     {with(secret, "issuer", "me"), hs(map[string]any{"exp": at(time.Hour), "iss": "me"}), ""},
		"another issuer":             {with(secret, "issuer", "me"), hs(map[string]any{"exp": at(time.Hour), "iss": "you"}), Wrong},
		"no issuer":                  {with(secret, "issuer", "me"), hs(map[string]any{"exp": at(time.Hour)}), Wrong},
		"one of the audiences":       {with(secret, "audience", "a", "audience", "b"), hs(map[string]any{"exp": at(time.Hour), "aud": []string{"c", "b"}}), ""},
		"another audience":           {with(secret, "audience", "a"), hs(map[string]any{"exp": at(time.Hour), "aud": "b"}), Wrong},
		"claims":                     {with(secret, "claims", "n=12", "claims", "ok=true", "claims", "s=a=b"), hs(map[string]any{"exp": at(time.Hour), "n": 12, "ok": true, "s": "a=b"}), ""},
		"another claim":              {with(secret, "claims", "n=12"), hs(map[string]any{"exp": at(time.Hour), "n": 13}), Wrong},
		"no such claim":              {with(secret, "claims", "n=12"), hs(map[string]any{"exp": at(time.Hour)}), Wrong},
		"no hash of the body":        {with(secret, "body_hash_claim", "h"), hs(map[string]any{"exp": at(time.Hour)}), Wrong},
		"the hash of another body":   {with(secret, "body_hash_claim", "h"), hs(map[string]any{"exp": at(time.Hour), "h": strings.Repeat("0", 64)}), Wrong},
		"the hash of the body":       {with(secret, "body_hash_claim", "h"), hs(map[string]any{"exp": at(time.Hour), "h": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}), ""},
		"the hash in base64":         {with(secret, "body_hash_claim", "h"), hs(map[string]any{"exp": at(time.Hour), "h": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"}), ""},
	} {
		if _, err := compiled(t, test.spec).Verify(t.Context(), post("", "Authorization", "Bearer "+test.token)); ReasonOf(err) != test.want {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	zero := time.Duration(0)
	strict := Spec{Type: "jwt", Secrets: []string{"short"}, Tolerance: &zero}
	for name, test := range map[string]struct {
		claims map[string]any
		want   Reason
	}{
		"for ever":      {map[string]any{"sub": "x"}, ""},
		"made long ago": {map[string]any{"iat": at(-time.Hour)}, ""},
		"ended":         {map[string]any{"exp": at(-time.Second)}, Stale},
	} {
		if _, err := compiled(t, strict).Verify(t.Context(), post("", "Authorization", "Bearer "+hs(test.claims))); ReasonOf(err) != test.want {
			t.Errorf("tolerance 0, %s: got %v, want %q", name, err, test.want)
		}
	}
	custom := compiled(t, with(secret, "header", "X-Jwt"))
	for _, value := range []string{hs(map[string]any{"exp": at(time.Hour)}), "Bearer " + hs(map[string]any{"exp": at(time.Hour)})} {
		if _, err := custom.Verify(t.Context(), post("", "X-Jwt", value)); err != nil {
			t.Error(err)
		}
	}
	refused(t, compiled(t, secret), post("", "Authorization", hs(map[string]any{"exp": at(time.Hour)})), "no Bearer", Malformed)

	// A key set: a key that comes later, a key for another algorithm, a key with a secret in it.
	const url = "https://id.example.com/keys"
	set := func(keys ...jose.JSONWebKey) []byte {
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		must(t, err)
		return text
	}
	var body []byte
	w := &web{give: func(string) ([]byte, error) { return body, nil }}
	spec := with(Spec{Type: "jwt", Fetch: w}, "jwks_url", url)
	fromSet := compiled(t, spec)
	request := func(wait time.Duration, text string) *Request {
		r := post("", "Authorization", "Bearer "+text)
		r.Now = now.Add(wait)
		return r
	}
	ed := sign(jose.EdDSA, private, map[string]any{"exp": at(time.Hour)})
	body = set(jose.JSONWebKey{Key: private.Public(), KeyID: "k9"})
	refused(t, fromSet, request(0, ed), "an unknown key id", Wrong)
	body = set(jose.JSONWebKey{Key: private.Public(), KeyID: "k9"}, jose.JSONWebKey{Key: private.Public(), KeyID: "k0"})
	refused(t, fromSet, request(time.Second, ed), "asked again too soon", Wrong)
	if _, err := fromSet.Verify(t.Context(), request(keepRefresh, ed)); err != nil || w.asked.Load() != 2 {
		t.Errorf("a new key: %v, asked %d times", err, w.asked.Load())
	}
	body = set(jose.JSONWebKey{Key: private.Public(), KeyID: "k0", Algorithm: "ES256"})
	refused(t, compiled(t, spec), request(0, ed), "a key for another algorithm", Wrong)
	body = set(jose.JSONWebKey{Key: private.Public(), KeyID: "k0", Use: "enc"})
	if _, err := compiled(t, spec).Verify(t.Context(), request(0, ed)); ReasonOf(err) != Unavailable {
		t.Errorf("a key to encrypt with: %v", err)
	}
	body = []byte(`{"keys":[{"kty":"oct","k":"c2hvcnQ","kid":"k0"}]}`)
	if _, err := compiled(t, spec).Verify(t.Context(), request(0, hs(map[string]any{"exp": at(time.Hour)}))); ReasonOf(err) != Malformed {
		t.Errorf("a shared secret in a public set: %v", err)
	}
}

func TestKeySetLeavesSecretsOut(t *testing.T) {
	private, err := json.Marshal(jose.JSONWebKey{Key: edKey(1)})
	must(t, err)
	for _, set := range []string{`{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}`, `{"keys":[` + string(private) + `]}`, `{"keys":[]}`, `{}`, ``, `[]`} {
		if keys, err := keySet([]byte(set)); err == nil {
			t.Errorf("%s: got %v", set, keys.Keys)
		}
	}
}

// TestUnavailableIsNotTheSendersFault: a provider sends again what is answered 503, and gives up on 401.
func TestUnavailableIsNotTheSendersFault(t *testing.T) {
	spec := Spec{Type: "jwt", Fetch: pages{}, Options: map[string][]string{"jwks_url": {"https://id.example.com/keys"}}}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: edKey(1)}, nil)
	must(t, err)
	text, err := jwt.Signed(signer).Claims(map[string]any{}).Serialize()
	must(t, err)
	_, err = compiled(t, spec).Verify(t.Context(), post("", "Authorization", "Bearer "+text))
	if ReasonOf(err) != Unavailable || errorStatus(err) != http.StatusServiceUnavailable {
		t.Errorf("got %v", err)
	}
}
