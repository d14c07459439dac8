package ngrok

import (
	"errors"
	"net"
	"regexp"
	"strings"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

var (
	errorCode = regexp.MustCompile(`ERR_NGROK_\d{1,6}`)
	anyToken  = regexp.MustCompile(`(?i)(auth-?token:\s*)\S+|(auth-?token\s+)\S{16,}`) // without a colon, what is as long as a token
)

// maxText bounds what is shown of an edge's text.
const maxText = 400

const reachHint = "check the way to connect.ngrok-agent.com:443, or set connect_url"

// known says what the edge's codes mean.
var known = map[string]struct {
	class tunnel.Class
	hint  string
}{
	"ERR_NGROK_105":  {tunnel.Auth, tokenHint},
	"ERR_NGROK_106":  {tunnel.Auth, tokenHint},
	"ERR_NGROK_107":  {tunnel.Auth, tokenHint},
	"ERR_NGROK_302":  {tunnel.Auth, tokenHint},
	"ERR_NGROK_4018": {tunnel.Auth, "verify the account, and set NGROK_AUTHTOKEN: https://dashboard.ngrok.com/get-started/your-authtoken"},
	"ERR_NGROK_108":  {tunnel.Quota, "another agent holds the account's session: end it, or see https://dashboard.ngrok.com/agents"},
	"ERR_NGROK_121":  {tunnel.Config, "update Switchback: the edge does not take this version"},
	"ERR_NGROK_313":  {tunnel.Config, domainHint},
	"ERR_NGROK_314":  {tunnel.Config, domainHint},
	"ERR_NGROK_319":  {tunnel.Config, domainHint},
	"ERR_NGROK_320":  {tunnel.Config, domainHint},
	"ERR_NGROK_326":  {tunnel.Config, domainHint},
	"ERR_NGROK_334":  {tunnel.Conflict, "the domain is in use, perhaps still by our own last session: it is tried again"},
	"ERR_NGROK_725":  {tunnel.Quota, "the account's limit of traffic is reached"},
	"ERR_NGROK_727":  {tunnel.Quota, "the account's limit of requests is reached"},
}

const (
	tokenHint  = "copy the token from https://dashboard.ngrok.com/get-started/your-authtoken into NGROK_AUTHTOKEN"
	domainHint = "check domain against https://dashboard.ngrok.com/domains"
)

// explain classifies what the library or the edge says. Such texts may hold the token: it is taken out.
func (s *session) explain(err error) *tunnel.Error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	e := classify(err.Error(), s.token)
	if n, ok := errors.AsType[*net.DNSError](err); ok {
		e.Class, e.Message, e.Hint = tunnel.Network, "the name of ngrok's edge is not known ("+n.Err+")", reachHint
	}
	return e
}

func classify(text, token string) *tunnel.Error {
	code := errorCode.FindString(text)
	text = clean(text, token)
	if code == "" {
		if strings.Contains(text, "x509:") || strings.Contains(text, "certificate") {
			return &tunnel.Error{
				Class: tunnel.Config, Message: "ngrok's edge shows a certificate that is not trusted: " + text,
				Hint: "set connect_ca to the authority of connect_url, or of what intercepts TLS here",
			}
		}
		return &tunnel.Error{Class: tunnel.Network, Message: "ngrok: " + text, Hint: reachHint}
	}
	e := &tunnel.Error{Class: tunnel.Remote, Message: "ngrok: " + text, Hint: "see https://ngrok.com/docs/errors/" + strings.ToLower(code)}
	if !strings.Contains(text, code) {
		e.Message += " (" + code + ")"
	}
	if k, ok := known[code]; ok {
		e.Class, e.Hint = k.class, k.hint
	}
	return e
}

// clean makes one short line of a text, without the token.
func clean(text, token string) string {
	if token != "" {
		text = strings.ReplaceAll(text, token, "***")
	}
	text = anyToken.ReplaceAllString(text, "${1}${2}***")
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
