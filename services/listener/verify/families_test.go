package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestStandardLists(t *testing.T) {
	private := edKey(1)
	public := "whpk_" + b64(private.Public().(ed25519.PublicKey))
	key, older := "whsec_"+b64([]byte(secretText)), "whsec_"+b64([]byte(otherText))
	text := "msg_1." + unix(now) + "." + jsonBody
	v1, old, v1a := "v1,"+b64256(secretText, text), "v1,"+b64256(otherText, text), "v1a,"+b64(ed25519.Sign(private, []byte(text)))
	zero := "v1," + b64(make([]byte, 32))
	tests := []struct {
		name    string
		secrets []string
		list    string
		want    Reason
	}{
		{"the new key's, of two", []string{key}, old + " " + v1, ""},
		{"the old key's, of two", []string{older}, old + " " + v1, ""},
		{"among versions to come", []string{key}, "v9,x v2,later " + v1 + " nonsense", ""},
		{"after one that cannot be read", []string{key}, "v1,??? " + v1, ""},
		{"asymmetric, among the secrets", []string{public}, v1a, ""},
		{"both kinds, both keys", []string{key, public}, v1a + " " + v1, ""},
		{"both kinds, the public key alone", []string{public}, v1 + " " + v1a, ""},
		{"both kinds, the secret alone", []string{key}, zero + " " + v1a + " " + v1, ""},
		{"asymmetric, but only a secret", []string{key}, v1a, Wrong},
		{"symmetric, but only a public key", []string{public}, v1, Wrong},
		{"an HMAC made with the public key", []string{public}, "v1," + b64256(string(private.Public().(ed25519.PublicKey)), text), Wrong},
		{"the signature under another version", []string{key}, "v2" + v1[2:], Malformed},
		{"the HMAC as v1a", []string{key}, "v1a" + v1[2:], Malformed},
		{"without a version", []string{key}, v1[3:], Malformed},
		{"without anything", []string{key}, "v1,", Malformed},
		{"more than anyone sends", []string{key}, strings.Repeat(zero+" ", maxItems) + v1, Malformed},
	}
	for _, test := range tests {
		v := compiled(t, Spec{Type: "standard-webhooks", Secrets: test.secrets})
		_, err := v.Verify(t.Context(), post(jsonBody, "webhook-id", "msg_1", "webhook-timestamp", unix(now), "webhook-signature", test.list))
		if ReasonOf(err) != test.want {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
	v := compiled(t, Spec{Type: "standard-webhooks", Secrets: []string{key}})
	for _, name := range []string{"webhook-id", "webhook-timestamp"} {
		r := post(jsonBody, "webhook-id", "msg_1", "webhook-timestamp", unix(now), "webhook-signature", v1)
		r.Header.(http.Header).Del(name)
		refused(t, v, r, "without "+name, Missing)
		r.Header.(http.Header)[http.CanonicalHeaderKey(name)] = []string{"a", "a"}
		refused(t, v, r, "with two of "+name, Malformed)
	}
	mixed := post(jsonBody, "webhook-id", "msg_1", "svix-timestamp", unix(now), "webhook-signature", v1)
	refused(t, v, mixed, "headers of two families", Missing)
	for _, stamp := range []string{"-1", "+" + unix(now), " " + unix(now), "1.5", "1e9", "0x1", "99999999999999999999", now.Format(time.RFC3339)} {
		text := "msg_1." + stamp + "." + jsonBody
		r := post(jsonBody, "webhook-id", "msg_1", "webhook-timestamp", stamp, "webhook-signature", "v1,"+b64256(secretText, text))
		refused(t, v, r, "the time "+stamp, Malformed)
	}
}

func TestStripeHeader(t *testing.T) {
	v := compiled(t, Spec{Type: "stripe", Secrets: []string{secretText}})
	at := unix(now)
	right, wrongOne := hex256(secretText, at, ".", jsonBody), hex256(otherText, at, ".", jsonBody)
	for text, want := range map[string]Reason{
		"t=" + at + ",v1=" + right + ",v0=" + wrongOne:           "",
		"t=" + at + ",v1=" + wrongOne + ",v1=" + right:           "", // rotation
		"v1=" + right + ",t=" + at:                               "",
		"t=" + at + ",v1=nothex,v1=" + right + ",scheme=other":   "",
		"t=" + at + ",v0=" + right:                               Malformed,
		"t=" + at + ",v1=" + wrongOne:                            Wrong,
		"t=" + at:                                                Malformed,
		"v1=" + right:                                            Malformed,
		"t=,v1=" + right:                                         Malformed,
		"t=" + at + ",t=" + at + ",v1=" + right:                  Malformed,
		"t=" + at + ",junk,v1=" + right:                          Malformed,
		"t=" + at + ",v1=" + right + "=" + right:                 Malformed,
		"t=" + at + strings.Repeat(",v1="+wrongOne, maxItems):    Malformed,
		"t=" + at + ";v1=" + right:                               Malformed,
		"t=" + at + ",v1=" + right[:63]:                          Malformed,
		"t=" + unix(now.Add(time.Second)) + ",v1=" + right:       Wrong,
		"t=soon,v1=" + hex256(secretText, "soon", ".", jsonBody): Malformed,
		"t=-1,v1=" + hex256(secretText, "-1", ".", jsonBody):     Malformed,
		"t=" + at + ", v1=" + right:                              "",
		"T=" + at + ",V1=" + right:                               Malformed,
	} {
		if _, err := v.Verify(t.Context(), post(jsonBody, "Stripe-Signature", text)); ReasonOf(err) != want {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestGitLabTakesBothKinds(t *testing.T) {
	v := compiled(t, Spec{Type: "gitlab", Secrets: []string{"a plain token", "whsec_" + b64([]byte(secretText))}})
	signature := "v1," + b64256(secretText, "id.", unix(now), ".", jsonBody)
	signed := []string{"webhook-id", "id", "webhook-timestamp", unix(now), "webhook-signature", signature}
	for name, test := range map[string]struct {
		header []string
		want   Reason
	}{
		"token":                    {[]string{"X-Gitlab-Token", "a plain token"}, ""},
		"signed":                   {signed, ""},
		"both":                     {append([]string{"X-Gitlab-Token", "a plain token"}, signed...), ""},
		"wrong token":              {[]string{"X-Gitlab-Token", "another"}, Wrong},
		"the signing token itself": {[]string{"X-Gitlab-Token", "whsec_" + b64([]byte(secretText))}, Wrong},
		"neither":                  {nil, Missing},
	} {
		if _, err := v.Verify(t.Context(), post(jsonBody, test.header...)); ReasonOf(err) != test.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	only := compiled(t, Spec{Type: "gitlab", Secrets: []string{"whsec_" + b64([]byte(secretText))}})
	refused(t, only, post(jsonBody, "X-Gitlab-Token", "a plain token"), "a token where only signatures count", Missing)
}

func TestTwilio(t *testing.T) {
	v := compiled(t, Spec{Type: "twilio", Secrets: []string{"12345"}})
	const signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=" // of the vector in TestVectors
	request := func(kind, body string) *Request {
		return &Request{
			Method: "POST", Bases: []string{"https://mycompany.com"}, Target: "/myapp.php?foo=1&bar=2", Now: now,
			Header: header("Content-Type", kind, "X-Twilio-Signature", signature), Body: []byte(body),
		}
	}
	const body = "Digits=1234&CallSid=CA1234567890ABCDE&To=%2B18005551212&Caller=%2B14158675309&From=%2B14158675309"
	if _, err := v.Verify(t.Context(), request(form+"; charset=UTF-8", body)); err != nil {
		t.Error(err)
	}
	twice := request(form, "Digits=1&Digits=1")
	twice.Header.(http.Header).Set("X-Twilio-Signature", b64(mac(sha1.New, "12345", "https://mycompany.com/myapp.php?foo=1&bar=2Digits1")))
	if _, err := v.Verify(t.Context(), twice); err != nil {
		t.Errorf("a value that is there twice counts once: %v", err)
	}
	refused(t, v, request("application/json", body), "a body that is no form", Missing)
	refused(t, v, request("application/json", `{"a":1}`), "JSON without its hash", Missing)
	refused(t, v, request(form, body+"&a=1"), "one more parameter", Wrong)
	refused(t, v, request(form, body+"&a=%zz"), "a form that is none", Malformed)
	prefixed := request(form, body)
	prefixed.Bases, prefixed.Target = []string{"https://mycompany.com/myapp.php"}, "?foo=1&bar=2"
	if _, err := v.Verify(t.Context(), prefixed); err != nil {
		t.Errorf("a base with a path: %v", err)
	}
	nowhere := request(form, body)
	nowhere.Bases = nil
	refused(t, v, nowhere, "no known address", Wrong)
}

func TestSpellings(t *testing.T) {
	for base, want := range map[string]string{
		"https://a.example":         "https://a.example https://a.example:443",
		"http://a.example":          "http://a.example http://a.example:80",
		"https://a.example:8443":    "https://a.example:8443 https://a.example",
		"http://[::1]:8090":         "http://[::1]:8090 http://[::1]",
		"http://[::1]":              "http://[::1] http://[::1]:80",
		"https://a.example:444/pre": "https://a.example:444/pre https://a.example/pre",
		"not an address":            "not an address",
	} {
		if got := strings.Join(spellings(base), " "); got != want {
			t.Errorf("%s: got %s", base, got)
		}
	}
}

func TestHubSpotVersions(t *testing.T) {
	anyVersion := compiled(t, Spec{Type: "hubspot", Secrets: []string{secretText}})
	only3 := compiled(t, Spec{Type: "hubspot", Secrets: []string{secretText}, Options: map[string][]string{"version": {"v3"}}})
	v1 := hex.EncodeToString(hashed([]byte(secretText), []byte(jsonBody)))
	v3 := b64256(secretText, "POST", base, target, jsonBody, milli(now)) // with the escapes left as they are
	both := func() *Request {
		return post(jsonBody, "X-HubSpot-Signature", v1, "X-HubSpot-Signature-Version", "v1", "X-HubSpot-Signature-v3", v3, "X-HubSpot-Request-Timestamp", milli(now))
	}
	for _, v := range []*Verifier{anyVersion, only3} {
		if _, err := v.Verify(t.Context(), both()); err != nil {
			t.Error(err)
		}
		old := both()
		old.Now = now.Add(time.Hour)
		refused(t, v, old, "version 3 too old, version 1 good for ever", Stale)
	}
	stripped := both()
	stripped.Header.(http.Header).Del("X-HubSpot-Signature-v3")
	refused(t, only3, stripped, "without version 3", Missing)
	if _, err := anyVersion.Verify(t.Context(), stripped); err != nil {
		t.Error(err)
	}
	for _, version := range []string{"v3", "v4", "V1", ""} {
		stripped.Header.(http.Header).Set("X-HubSpot-Signature-Version", version)
		refused(t, anyVersion, stripped, "version "+version, Malformed, Missing)
	}
}

func TestMailgunShapes(t *testing.T) {
	v := compiled(t, Spec{Type: "mailgun", Secrets: []string{secretText}})
	at := unix(now)
	mac := hex256(secretText, at, "tok")
	multi := func(fields ...string) *Request {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		for i := 0; i < len(fields); i += 2 {
			must(t, w.WriteField(fields[i], fields[i+1]))
		}
		must(t, w.Close())
		return post(body.String(), "Content-Type", w.FormDataContentType())
	}
	subaccount := post(`{"signature":{"timestamp":"`+at+`","token":"sub","signature":"`+hex256(otherText, at, "sub")+`"},
		"parent-signature":{"timestamp":"`+at+`","token":"tok","signature":"`+mac+`"}}`, "Content-Type", "application/json")
	number := post(`{"signature":{"timestamp":`+at+`,"token":"tok","signature":"`+mac+`"}}`, "Content-Type", "application/json")
	for name, r := range map[string]*Request{
		"form":      post("timestamp="+at+"&token=tok&signature="+mac, "Content-Type", form),
		"multipart": multi("to", "a@example.com", "timestamp", at, "token", "tok", "signature", mac),
		"parent":    subaccount, "number": number,
	} {
		if result, err := v.Verify(t.Context(), r); err != nil || result.DeliveryID != "tok" {
			t.Errorf("%s: got %+v, %v", name, result, err)
		}
	}
	refused(t, v, multi("timestamp", at, "token", "tok", "signature", mac, "token", "other"), "two tokens", Malformed)
	refused(t, v, post("x", "Content-Type", "multipart/form-data"), "no boundary", Malformed)
	refused(t, v, post(`{"a":1}`, "Content-Type", "application/json"), "no signature", Missing)
	refused(t, v, post("", "Content-Type", ""), "nothing", Missing)
	// The time's last digit as the token's first makes another token of the same signature.
	zero := time.Duration(0)
	anyAge := compiled(t, Spec{Type: "mailgun", Secrets: []string{secretText}, Tolerance: &zero})
	shifted := post("timestamp="+at[:9]+"&token="+at[9:]+"tok&signature="+mac, "Content-Type", form)
	refused(t, anyAge, shifted, "a digit moved", Malformed)
}

func TestLinearNeedsATime(t *testing.T) {
	v := compiled(t, Spec{Type: "linear", Secrets: []string{secretText}})
	refused(t, v, post(jsonBody, "Linear-Signature", hex256(secretText, jsonBody)), "no time", Missing)
	const old = `{"webhookTimestamp":1}`
	refused(t, v, post(old, "Linear-Signature", hex256(secretText, old), "Linear-Timestamp", milli(now)), "an old body with a new header", Stale)
}

func TestPlain(t *testing.T) {
	inQuery := compiled(t, Spec{Type: "token", Secrets: []string{"a+b c"}, Options: map[string][]string{"query": {"key"}}})
	for target, want := range map[string]Reason{
		"/x?key=a%2Bb+c":           "",
		"/x?other=1&key=a%2bb%20c": "",
		"/x?key=a+b+c":             Wrong,
		"/x?key=":                  Missing,
		"/x":                       Missing,
		"/x?KEY=a%2Bb+c":           Missing,
		"/x?key=a%2Bb+c&key=z":     Malformed,
		"/x?key=%zz":               Malformed,
	} {
		r := post("")
		r.Target = target
		if _, err := inQuery.Verify(t.Context(), r); ReasonOf(err) != want {
			t.Errorf("%s: got %v", target, err)
		}
	}
	bearer := compiled(t, Spec{Type: "bearer", Secrets: []string{"abc"}})
	for value, want := range map[string]Reason{
		"Bearer abc": "", "bearer abc": "", "BEARER abc": "", "Bearer  abc": Wrong, "Bearer abc ": Wrong, "Bearer ABC": Wrong,
		"Bearer": Malformed, "Bearer ": Malformed, "abc": Malformed, "Basic abc": Malformed, "Bearerabc": Malformed,
	} {
		if _, err := bearer.Verify(t.Context(), post("", "Authorization", value)); ReasonOf(err) != want {
			t.Errorf("%q: got %v", value, err)
		}
	}
	prefixed := compiled(t, Spec{Type: "token", Secrets: []string{"abc"}, Options: map[string][]string{"header": {"X-Key"}, "prefix": {"Token "}}})
	if _, err := prefixed.Verify(t.Context(), post("", "x-key", "Token abc")); err != nil {
		t.Error(err)
	}
}

func TestSensitive(t *testing.T) {
	for _, test := range []struct {
		spec Spec
		want string
	}{
		{Spec{Type: "token", Secrets: []string{"s"}, Options: map[string][]string{"header": {"X-Key"}}}, "X-Key|"},
		{Spec{Type: "token", Secrets: []string{"s"}, Options: map[string][]string{"query": {"key"}}}, "|key"},
		{Spec{Type: "bearer", Secrets: []string{"s"}}, "Authorization|"},
		{Spec{Type: "gitlab", Secrets: []string{"s"}}, "X-Gitlab-Token|"},
		{Spec{Type: "gitlab", Secrets: []string{"whsec_" + b64([]byte("s"))}}, "|"},
		{Spec{Type: "github", Secrets: []string{"s"}}, "|"},
		{Spec{Type: "jwt", Secrets: []string{"s"}}, "Authorization|"},
	} {
		s := compiled(t, test.spec).Sensitive()
		if got := strings.Join(s.Headers, ",") + "|" + strings.Join(s.Query, ","); got != test.want {
			t.Errorf("%s: got %s, want %s", test.spec.Type, got, test.want)
		}
	}
}

func TestForwarded(t *testing.T) {
	for want, pairs := range map[string][]string{
		"https://a.example":      {"X-Forwarded-Proto", "https", "X-Forwarded-Host", "a.example"},
		"https://b.example":      {"X-Forwarded-Proto", "HTTPS, http", "X-Forwarded-Host", "b.example, inner", "X-Forwarded-Port", "443"},
		"https://c.example:8443": {"X-Forwarded-Proto", "https", "X-Forwarded-Host", "c.example", "X-Forwarded-Port", "8443"},
		"https://d.example:444":  {"X-Forwarded-Proto", "https", "X-Forwarded-Host", "d.example:444", "X-Forwarded-Port", "8443"},
		"http://[::1]:9":         {"Forwarded", `for=1.2.3.4; proto=http;host="[::1]:9", for=5.6.7.8`},
	} {
		if got := Forwarded(header(pairs...)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, pairs := range [][]string{
		nil,
		{"X-Forwarded-Proto", "https"},
		{"X-Forwarded-Host", "a.example"},
		{"X-Forwarded-Proto", "ftp", "X-Forwarded-Host", "a.example"},
		{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "a.example/path"},
		{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "user@a.example"},
		{"X-Forwarded-Proto", "https", "X-Forwarded-Host", ":80"},
	} {
		if got := Forwarded(header(pairs...)); got != "" {
			t.Errorf("%q: got %s", pairs, got)
		}
	}
}

func TestSendGridKeys(t *testing.T) {
	small := mustECDSA(t)
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	for name, test := range map[string]struct {
		key string
		ok  bool
	}{
		"base64": {b64(spki(t, small)), true},
		"PEM":    {pemKey(t, small), true},
		"P-384":  {b64(spki(t, large.Public())), false},
		"RSA":    {b64(spki(t, rsaKey(t).Public())), false},
		"secret": {secretText, false},
	} {
		if _, err := Compile(Spec{Type: "sendgrid", Options: map[string][]string{"public_key": {test.key}}}); (err == nil) != test.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func mustECDSA(t *testing.T) crypto.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key.Public()
}
