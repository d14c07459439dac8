package verify

import (
	"context"
	"crypto/sha256"
	"time"
)

// linearTolerance is Linear's own rule.
const linearTolerance = time.Minute

// linear is a plain HMAC of a body that holds its own time.
type linear struct {
	mac       macScheme
	tolerance time.Duration
}

func newLinear(s *settings) scheme {
	return &linear{
		mac: macScheme{
			keys: s.secrets(), hash: sha256.New, size: sha256.Size, code: hexLower, header: "Linear-Signature",
			signed: []segment{{kind: bodyPart}}, id: deliveryID{header: "Linear-Delivery"},
		},
		tolerance: s.tolerance(linearTolerance),
	}
}

func (l *linear) verify(ctx context.Context, r *Request) (Result, error) {
	result, err := l.mac.verify(ctx, r)
	if err != nil || l.tolerance == 0 {
		return result, err
	}
	what, text := "webhookTimestamp in the body", field(r.Body, "webhookTimestamp")
	if text == "" {
		// Not signed, and so no proof; but what Linear's own SDK falls back on.
		what = "the header Linear-Timestamp"
		if text, err = one(r, "Linear-Timestamp"); err != nil {
			return Result{}, err
		}
	}
	if err := age(r.Now, what, text, millis, l.tolerance); err != nil {
		return Result{}, err
	}
	return result, nil
}
