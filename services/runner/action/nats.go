package action

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	subjects "github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// modeRequest is the mode in which an answer is awaited.
const modeRequest = "request"

// message publishes on NATS, or asks and takes the answer.
func (p *Performer) message(ctx context.Context, inv *invocation, scope engine.ActionScope) (any, error) {
	if p.o.NATS == nil {
		return nil, &engine.Error{Code: CodeRequest, Message: "components of type nats cannot be run here", Permanent: true}
	}
	action := inv.act.Action
	subject, err := text(action.Subject, scope, "")
	if err != nil {
		return nil, expressionError("subject", err)
	}
	if !subjects.Valid(subject) {
		return nil, expressionError("subject", fmt.Errorf("%q cannot be published to: a subject is made of words with dots between them, without *, > or blanks", subject))
	}
	headers, err := pairs(action.Headers, scope)
	if err != nil {
		return nil, expressionError("headers", err)
	}
	header := map[string]string{}
	for _, kv := range headers {
		header[kv[0]] = kv[1]
	}
	var body any
	if action.Body != nil {
		if body, err = action.Body.Eval(scope); err != nil {
			return nil, expressionError("body", err)
		}
	}
	var data []byte
	if s, ok := body.(string); ok {
		data = []byte(s)
	} else if body != nil {
		if data, err = value.Encode(body); err != nil {
			return nil, expressionError("body", err)
		}
	}
	if action.Mode != modeRequest {
		_, end := p.beginMessage(ctx, inv, "publish", subject, header)
		err := p.o.NATS.Notify(subject, header, data)
		end(err)
		if err != nil {
			return nil, err
		}
		return map[string]any{"subject": inv.secrets.Mask(subject)}, nil
	}
	timeout := action.RequestTimeout
	if timeout == 0 {
		timeout = defaultRequestTimeout
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, end := p.beginMessage(ctx, inv, modeRequest, subject, header)
	answer, err := p.o.NATS.Request(ctx, subject, header, data)
	if errors.Is(err, context.DeadlineExceeded) {
		err = silence(whole, "nobody answered on "+subject, timeout)
	}
	end(err)
	if err != nil {
		return nil, err
	}
	if v, err := value.Decode(answer); err == nil {
		return v, nil
	}
	if !utf8.Valid(answer) {
		return decodeBody(answer, "binary", "")
	}
	return string(answer), nil
}
