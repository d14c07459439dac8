package action

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// poll asks the outside service how far it is. What may pass by itself (no connection, 429, 5xx) is no answer: the next
// poll asks again.
func (p *Performer) poll(ctx context.Context, inv *invocation, acted *engine.Acted) error {
	job := inv.act.Scope.Run.Jobs[inv.act.Job.ID]
	if job == nil || inv.act.Action == nil || inv.act.Action.Completion.Polling == nil {
		return &engine.Error{Code: engine.CodeExpression, Message: "the definition says nothing of polling", Permanent: true}
	}
	polling := inv.act.Action.Completion.Polling
	input, err := optional(job.Input)
	if engine.ReadsVariables(inv.act.Job.Input) { // which are masked in what was kept
		input, err = inv.input()
	}
	if err != nil {
		return err
	}
	scope := inv.scope(input)
	if scope.Response, err = optional(job.Attempts[len(job.Attempts)-1].Response); err != nil {
		return err
	}
	resp, err := p.request(ctx, inv, message{
		url: polling.URL, method: polling.Method, headers: polling.Headers, params: polling.Params, body: polling.Body, defaultMethod: http.MethodGet, asks: true,
	}, scope)
	if err != nil {
		if e, ok := errors.AsType[*engine.Error](err); ok && e.Permanent {
			return err
		}
		if context.Cause(ctx) != nil {
			return err
		}
		acted.Pending = true
		return nil
	}
	acted.After = resp.after()
	scope.Result = resp.body
	verdict, err := judge(polling, resp, scope)
	if err != nil {
		return err
	}
	if acted.Output, err = raw(resp.body); err != nil {
		return err
	}
	switch verdict {
	case done:
	case failed:
		return &engine.Error{Code: engine.CodePolling, Message: "the service says that it failed", Data: acted.Output}
	default:
		acted.Pending = true
	}
	return nil
}

type verdict int

const (
	pending verdict = iota
	done
	failed
)

// judge says what a polled response means.
func judge(p *compose.Polling, resp *response, scope engine.ActionScope) (verdict, error) {
	if p.Status == nil {
		switch {
		case statusIn(resp.status, p.FailWhen):
			return failed, nil
		case statusIn(resp.status, p.SuccessWhen):
			return done, nil
		case passing(resp.status):
			return pending, nil
		case resp.status >= http.StatusBadRequest:
			return pending, resp.refusal(nil)
		case p.SuccessWhen == nil && resp.status != http.StatusAccepted && resp.status < http.StatusMultipleChoices:
			return done, nil
		default:
			return pending, nil
		}
	}
	if passing(resp.status) {
		return pending, nil
	}
	if err := resp.refusal(nil); err != nil {
		return pending, err
	}
	status, err := p.Status.Eval(scope)
	if err != nil {
		return pending, expressionError("status", err)
	}
	switch word := value.Text(status); {
	case status == nil:
		return pending, nil
	case slices.Contains(p.SuccessWhen, word):
		return done, nil
	case slices.Contains(p.FailWhen, word):
		return failed, nil
	default:
		return pending, nil
	}
}

// passing tells whether a status says nothing of the task.
func passing(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == 425
}

func optional(raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := value.Decode(raw)
	if err != nil {
		return nil, &engine.Error{Code: engine.CodeExpression, Message: "the run's own document cannot be read: " + err.Error(), Permanent: true}
	}
	return v, nil
}
