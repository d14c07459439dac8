package verify

import (
	"context"
	"strings"
)

// gitlab compares the secret token, or verifies the signing token's signature where a secret is one (whsec_…).
type gitlab struct {
	token  *plain
	signed *standard
}

func newGitLab(s *settings) scheme {
	g := &gitlab{}
	var tokens [][]byte
	for i, text := range s.secrets() {
		if strings.HasPrefix(string(text), secretPrefix) {
			if g.signed == nil {
				g.signed = &standard{families: []string{"webhook"}, tolerance: s.tolerance(defaultTolerance)}
			}
			g.signed.keys = append(g.signed.keys, standardKey(s, i, string(text)))
		} else {
			tokens = append(tokens, text)
		}
	}
	if len(tokens) > 0 {
		g.token = &plain{header: "X-Gitlab-Token", accepted: tokens}
	}
	if g.signed == nil {
		s.untimed()
	}
	return g
}

func (g *gitlab) verify(ctx context.Context, r *Request) (Result, error) {
	check := scheme(g.token)
	if g.token == nil || g.signed != nil && has(r, "webhook-signature") {
		check = g.signed
	}
	if _, err := check.verify(ctx, r); err != nil {
		return Result{}, err
	}
	// Not X-Gitlab-Event-UUID: all events that one hook sets off in a chain share it.
	return Result{DeliveryID: deliveryID{header: "Idempotency-Key"}.of(r)}, nil
}

func (g *gitlab) sensitive() Sensitive {
	if g.token == nil {
		return Sensitive{}
	}
	return g.token.sensitive()
}
