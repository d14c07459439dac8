package verify

import (
	"strings"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Types lists what Spec.Type may be.
func Types() []string {
	return []string{
		"aws-sns", "discord", "fal", "github", "gitlab", "hubspot", "linear", "mailgun", "meta", "openai", "paddle", "paypal",
		"replicate", "sendgrid", "shopify", "slack", "square", "standard-webhooks", "stripe", "svix", "twilio", "twitter", "zoom",
		"hmac", "token", "basic", "bearer", "jwt",
	}
}

// Compile makes the verifier that spec describes. It refuses a spec that could not keep anyone out: one without a secret,
// or with an empty one.
func Compile(spec Spec) (*Verifier, error) {
	// verify_token is read by the handshakes alone.
	s := &settings{spec: spec, used: map[string]bool{"verify_token": true}}
	made := compile(s)
	if made == nil {
		return nil, fault.New(fault.Invalid, "verify.type "+spec.Type+" is not known", "it is one of "+strings.Join(Types(), ", "))
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	return &Verifier{scheme: made}, nil
}

func compile(s *settings) scheme {
	switch s.spec.Type {
	case "github", "meta", "shopify", "slack", "square", "stripe", "paddle", "twitter", "zoom":
		return preset(s)
	case "hmac":
		return genericMAC(s)
	case "linear":
		return newLinear(s)
	case "standard-webhooks", "svix", "replicate", "openai":
		return newStandard(s)
	case "gitlab":
		return newGitLab(s)
	case "twilio":
		return newTwilio(s)
	case "hubspot":
		return newHubSpot(s)
	case "discord":
		return newDiscord(s)
	case "fal":
		return newFal(s)
	case "sendgrid":
		return newSendGrid(s)
	case "mailgun":
		return newMailgun(s)
	case "paypal":
		return newPayPal(s)
	case "aws-sns":
		return newSNS(s)
	case "token", "basic", "bearer":
		return newPlain(s)
	case "jwt":
		return newJWT(s)
	default:
		return nil
	}
}
