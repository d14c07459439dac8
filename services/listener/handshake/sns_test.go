package handshake

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

const (
	certURL      = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"
	subscribeURL = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn&Token=tok"
)

// amazon is where certificates are and subscriptions are confirmed.
type amazon struct {
	cert    []byte
	away    bool
	visited []string
}

func (a *amazon) Fetch(_ context.Context, url string) ([]byte, error) {
	if url == certURL {
		return a.cert, nil
	}
	a.visited = append(a.visited, url)
	if a.away {
		return nil, errors.New("no answer")
	}
	return []byte("<ConfirmSubscriptionResponse/>"), nil
}

func TestSNS(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024) // short, for the test's speed
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})

	message := func(kind, address string) *verify.Request {
		m := map[string]string{
			"Type": kind, "MessageId": "m", "TopicArn": "arn", "Token": "tok", "Message": "You have chosen", "SubscribeURL": address,
			"Timestamp": now.Format(time.RFC3339), "SignatureVersion": "2", "SigningCertURL": certURL,
		}
		var text strings.Builder
		for _, name := range []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"} {
			if kind != "Notification" || name != "SubscribeURL" && name != "Token" {
				text.WriteString(name + "\n" + m[name] + "\n")
			}
		}
		sum := sha256.Sum256([]byte(text.String()))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		m["Signature"] = base64.StdEncoding.EncodeToString(signature)
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return request("POST", "/in", string(body), "x-amz-sns-message-type", kind)
	}
	forged := message("SubscriptionConfirmation", subscribeURL)
	forged.Body = append([]byte(`{"Type":"SubscriptionConfirmation","x":`), append(forged.Body, '}')...)

	tests := []struct {
		name    string
		verify  verify.Spec
		request *verify.Request
		away    bool
		status  int
		refused fault.Code
		visited []string
	}{
		{name: "subscription", verify: verify.Spec{Type: "aws-sns"}, request: message("SubscriptionConfirmation", subscribeURL), status: 200, visited: []string{subscribeURL}},
		{name: "without a verification of its own", request: message("SubscriptionConfirmation", subscribeURL), status: 200, visited: []string{subscribeURL}},
		{name: "end of a subscription", verify: verify.Spec{Type: "aws-sns"}, request: message("UnsubscribeConfirmation", subscribeURL), status: 200},
		{name: "notification", verify: verify.Spec{Type: "aws-sns"}, request: message("Notification", subscribeURL)},
		{name: "signed, but to elsewhere", verify: verify.Spec{Type: "aws-sns"}, request: message("SubscriptionConfirmation", "https://169.254.169.254/"), refused: fault.Unusable},
		{name: "altered", verify: verify.Spec{Type: "aws-sns"}, request: forged, refused: fault.Unauthorized},
		{name: "not signed", verify: verify.Spec{Type: "aws-sns"}, request: request("POST", "/", `{"Type":"SubscriptionConfirmation","SubscribeURL":"`+subscribeURL+`"}`), refused: fault.Unauthorized},
		{
			name: "another topic", verify: verify.Spec{Type: "aws-sns", Options: map[string][]string{"topic_arn": {"arn:other"}}},
			request: message("SubscriptionConfirmation", subscribeURL), refused: fault.Unauthorized,
		},
		{name: "Amazon is away", verify: verify.Spec{Type: "aws-sns"}, request: message("SubscriptionConfirmation", subscribeURL), away: true, refused: fault.Unavailable, visited: []string{subscribeURL}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &amazon{cert: cert, away: test.away}
			test.verify.Fetch = a
			h, err := Compile(Spec{Type: "aws-sns", Verify: test.verify})
			if err != nil {
				t.Fatal(err)
			}
			response, handled, err := h.Answer(t.Context(), test.request)
			if fault.CodeOf(err) != test.refused {
				t.Errorf("got %v, want %q", err, test.refused)
			}
			switch {
			case response == nil && test.status != 0:
				t.Error("it is not answered")
			case response != nil && (response.Status != test.status || !handled):
				t.Errorf("got %d, handled %v", response.Status, handled)
			}
			if !slices.Equal(a.visited, test.visited) {
				t.Errorf("visited %q, want %q", a.visited, test.visited)
			}
		})
	}
}
