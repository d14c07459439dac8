package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what Amazon SNS signs with, in its version 1
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// sns verifies the RSA signature that is in the body of Amazon SNS's messages.
type sns struct {
	certs     *cache[[]*x509.Certificate]
	topics    []string // nil: any
	tolerance time.Duration
}

func newSNS(s *settings) scheme {
	return &sns{
		certs:     newCache(s.fetcher(), certificates),
		topics:    s.list("topic_arn"),
		tolerance: s.tolerance(defaultTolerance),
	}
}

func (v *sns) verify(ctx context.Context, r *Request) (Result, error) {
	message, err := ParseSNS(r.Body)
	if err != nil {
		return Result{}, err
	}
	text, err := message.signed()
	if err != nil {
		return Result{}, err
	}
	given, ok := base64Std.decode(message["Signature"], 0)
	if !ok {
		return Result{}, malformed("Signature", "base64")
	}
	var algorithm crypto.Hash
	var sum []byte
	switch message["SignatureVersion"] {
	case "1":
		h := sha1.Sum(text) //nolint:gosec // see its import
		algorithm, sum = crypto.SHA1, h[:]
	case "2":
		h := sha256.Sum256(text)
		algorithm, sum = crypto.SHA256, h[:]
	default:
		return Result{}, malformed("SignatureVersion", "1 or 2")
	}
	address, ok := SNSAddress(message["SigningCertURL"])
	if !ok || !strings.HasSuffix(address, ".pem") {
		return Result{}, malformed("SigningCertURL", "an https address of Amazon SNS that ends with .pem")
	}
	key, err := v.key(ctx, address, r.Now)
	if err != nil {
		return Result{}, err
	}
	if rsa.VerifyPKCS1v15(key, algorithm, sum, given) != nil {
		return Result{}, refuse(Wrong, "the signature in the body does not match", "check that nothing changes the body on its way")
	}
	if len(v.topics) > 0 && !slices.Contains(v.topics, message["TopicArn"]) {
		return Result{}, refuse(Wrong, "the message is of another topic", "verify.topic_arn lists the topics that are accepted")
	}
	if err := age(r.Now, "Timestamp", message["Timestamp"], rfc3339, v.tolerance); err != nil {
		return Result{}, err
	}
	return Result{DeliveryID: message["MessageId"]}, nil
}

func (v *sns) key(ctx context.Context, address string, now time.Time) (*rsa.PublicKey, error) {
	chain, err := v.certs.get(ctx, address, now, false)
	if err != nil {
		return nil, unavailable("the certificate of Amazon SNS", err)
	}
	refused := func(cause error) error {
		return because(Wrong, "the certificate of SigningCertURL is not one to trust", "check that the clock is right", cause)
	}
	if now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return nil, refused(errors.New("it is not valid now"))
	}
	key, ok := chain[0].PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, refused(errors.New("its key is not RSA"))
	}
	return key, nil
}

// SNSMessage is a message of Amazon SNS: the texts in its body.
type SNSMessage map[string]string

// ParseSNS reads a message. A name that is there twice is refused, as another reader could take the one that is not signed.
func ParseSNS(body []byte) (SNSMessage, error) {
	refused := func(cause error) error {
		return because(Malformed, "the body cannot be read", "it is expected to be a message of Amazon SNS (raw message delivery is not signed: turn it off)", cause)
	}
	in := json.NewDecoder(bytes.NewReader(body))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, refused(errors.New("it is no JSON object"))
	}
	message := SNSMessage{}
	seen := map[string]bool{}
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return nil, refused(err)
		}
		name, _ := token.(string)
		if seen[name] {
			return nil, refused(fmt.Errorf("%q is there twice", name))
		}
		seen[name] = true
		var value any
		if err := in.Decode(&value); err != nil {
			return nil, refused(err)
		}
		switch text, ok := value.(string); {
		case ok:
			message[name] = text
		case value != nil && slices.Contains(snsNames, name):
			return nil, refused(fmt.Errorf("%q is no text", name))
		}
	}
	if _, err := in.Token(); err != nil {
		return nil, refused(err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, refused(errors.New("something follows the JSON object"))
	}
	if message["Signature"] == "" {
		return nil, missing("Signature in the body")
	}
	return message, nil
}

// snsNames are the names whose values are signed, or say how.
var snsNames = []string{
	"Message", "MessageId", "Signature", "SignatureVersion", "SigningCertURL", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
}

// signed gives the text that is signed: a line for each name and each value, in the order of names.
func (m SNSMessage) signed() ([]byte, error) {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	switch m["Type"] {
	case "Notification":
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	default:
		return nil, malformed("Type", "Notification, SubscriptionConfirmation or UnsubscribeConfirmation")
	}
	var text bytes.Buffer
	for _, name := range names {
		value, ok := m[name]
		if !ok {
			if name == "Subject" {
				continue
			}
			return nil, missing(name + " in the body")
		}
		text.WriteString(name + "\n" + value + "\n")
	}
	return text.Bytes(), nil
}

// SNSAddress gives an https address of Amazon SNS itself, or false. The form is that of Amazon's own validators:
// sns.REGION.amazonaws.com, or .com.cn.
func SNSAddress(text string) (string, bool) {
	u, ok := plainURL(text)
	if !ok {
		return "", false
	}
	region, sns := strings.CutPrefix(strings.TrimSuffix(u.Host, ".cn"), "sns.")
	region, amazon := strings.CutSuffix(region, ".amazonaws.com")
	if !sns || !amazon || len(region) < 3 || strings.ContainsFunc(region, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
	}) {
		return "", false
	}
	return u.String(), true
}
