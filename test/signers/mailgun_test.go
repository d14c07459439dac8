package signers

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailgun/mailgun-go/v4"

	"github.com/switchbackhq/switchback/services/listener/verify"
)

// TestMailgun: the signature is in the body here, over a time and a token and nothing else.
func TestMailgun(t *testing.T) {
	sdk := mailgun.NewMailgun("example.com", "api-key")
	sdk.SetWebhookSigningKey(secret)
	verifier, err := verify.Compile(verify.Spec{Type: "mailgun", Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	genuine := func(at time.Time) mailgun.Signature {
		return mailgun.Signature{TimeStamp: unix(at), Token: "token-1", Signature: hex.EncodeToString(mac256(unix(at), "token-1"))}
	}
	changed := func(change func(s *mailgun.Signature)) mailgun.Signature {
		s := genuine(now)
		change(&s)
		return s
	}
	for what, tt := range map[string]struct {
		signature mailgun.Signature
		want      bool
		laxer     bool // the SDK is
	}{
		"genuine":           {signature: genuine(now), want: true},
		"stale":             {signature: genuine(now.Add(-6 * time.Minute)), laxer: true},
		"future":            {signature: genuine(now.Add(6 * time.Minute)), laxer: true},
		"another token":     {signature: changed(func(s *mailgun.Signature) { s.Token = "token-2" })},
		"another time":      {signature: changed(func(s *mailgun.Signature) { s.TimeStamp = unix(now.Add(time.Second)) })},
		"truncated":         {signature: changed(func(s *mailgun.Signature) { s.Signature = s.Signature[2:] })},
		"doubled":           {signature: changed(func(s *mailgun.Signature) { s.Signature += s.Signature })},
		"in the other case": {signature: changed(func(s *mailgun.Signature) { s.Signature = strings.ToUpper(s.Signature) }), laxer: true},
		"nothing":           {signature: changed(func(s *mailgun.Signature) { s.Signature = "" })},
	} {
		if ok, err := sdk.VerifyWebhookSignature(tt.signature); (ok && err == nil) != (tt.want || tt.laxer) {
			t.Errorf("%s: the SDK says %v, %v", what, ok, err)
		}
		data, err := json.Marshal(mailgun.WebhookPayload{Signature: tt.signature})
		if err != nil {
			t.Fatal(err)
		}
		_, err = verifier.Verify(t.Context(), &verify.Request{
			Method: http.MethodPost, Bases: []string{"http://127.0.0.1:8090"}, Target: "/in", Header: header("Content-Type", "application/json"), Body: data, Now: now,
		})
		if (err == nil) != tt.want {
			t.Errorf("%s: the verifier says %v", what, err)
		}
	}
}
