// Package action performs a job's invocation of its component: it evaluates the input, calls the outside service, and says what came of it.
package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// Codes of an invocation's error, beside those of the engine.
const (
	CodeRequest  = "request"  // the outside service could not be reached
	CodeResponse = "response" // its answer could not be read
)

// Resolver gives what does not belong to the run: ${env…}, ${gateway…}, ${listener…}. It may wait, bounded by ctx.
type Resolver interface {
	Resolve(ctx context.Context, ref *expr.Reference) (any, error)
}

// Options say how outside services are called.
type Options struct {
	Logger      *slog.Logger
	Transport   *http.Transport  // nil: NewTransport()
	MaxResponse int64            // bytes of a response's body, where the component sets no other; default 16 MiB
	Now         func() time.Time // nil: time.Now
	NATS        Messenger        // for components of type nats; nil: there is none
	AllowShell  bool             // components of type shell may run
	Servers     Servers          // of components of type http-server; nil: they may not run
	Tracer      trace.Tracer     // nil: no traces
}

// Messenger is what components of type nats need.
type Messenger interface {
	Notify(subject string, header map[string]string, data []byte) error
	Request(ctx context.Context, subject string, header map[string]string, data []byte) ([]byte, error)
}

// Servers are what components of type http-server need.
type Servers interface {
	// Ready returns when the component's server takes requests.
	Ready(ctx context.Context, c *compose.Component) error
}

// Performer performs invocations. It is safe for concurrent use.
type Performer struct {
	o       Options
	clients *clients
	shells  *shells
}

// New gives a performer.
func New(o Options) *Performer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.MaxResponse == 0 {
		o.MaxResponse = 16 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Performer{o: o, clients: newClients(o.Transport, o.MaxResponse), shells: newShells()}
}

// Perform performs one invocation and reports its end. Only the end of ctx other than by the invocation's deadline is
// an error: then nothing is known of the invocation, and it is to be performed again.
func (p *Performer) Perform(ctx context.Context, act engine.Act, static Resolver) (engine.Acted, error) {
	acted := engine.Acted{Job: act.Job.ID, Attempt: act.Attempt, Poll: act.Poll}
	inner, cancel := context.WithDeadlineCause(ctx, act.Deadline, errDeadline)
	defer cancel()
	inv := &invocation{act: act, at: p.o.Now(), secrets: &engine.Secrets{}}
	inv.static = bound{ctx: inner, resolver: static, secrets: inv.secrets}
	do := p.perform
	if act.Poll > 0 {
		do = p.poll
	}
	err := do(inner, inv, &acted)
	if err != nil && ctx.Err() != nil {
		return acted, context.Cause(ctx)
	}
	if err != nil {
		acted.Err = inv.failure(inner, err)
	}
	acted.Requests = inv.requests
	acted.At = p.o.Now()
	return acted, nil
}

var errDeadline = errors.New("the time that the file allows is over")

// invocation is one call of Perform.
type invocation struct {
	act      engine.Act
	at       time.Time
	static   expr.Scope
	secrets  *engine.Secrets
	requests []event.Request
}

func (p *Performer) perform(ctx context.Context, inv *invocation, acted *engine.Acted) error {
	input, err := inv.input()
	if err != nil {
		return &engine.Error{Code: engine.CodeExpression, Message: "the job's input: " + err.Error(), Permanent: true}
	}
	if acted.Input, err = raw(input); err != nil {
		return err
	}
	acted.Input = inv.secrets.MaskJSON(acted.Input)
	scope := inv.scope(input)
	action := inv.act.Action
	if action == nil {
		return &engine.Error{Code: engine.CodeExpression, Message: "the definition has no component " + inv.act.Job.Component, Permanent: true}
	}
	var result any
	switch action.Type {
	case compose.Logger:
		result, err = p.log(ctx, inv, scope)
	case compose.HTTPClient, compose.HTTPServer:
		var resp *response
		if resp, err = p.request(ctx, inv, own(action), scope); err == nil {
			result, err = resp.body, resp.refusal(action.RetryOn)
			acted.After = resp.after() // before it is polled
		}
	case compose.NATS:
		result, err = p.message(ctx, inv, scope)
	case compose.Shell:
		result, err = p.shell(ctx, inv, scope)
	default:
		err = &engine.Error{Code: engine.CodeExpression, Message: "components of type " + action.Type + " cannot be run here", Permanent: true}
	}
	if err != nil {
		return err
	}
	scope.Response, scope.At = result, p.o.Now()
	err = finish(inv, scope, acted)
	if action.Type == compose.Logger {
		acted.Output = inv.secrets.MaskJSON(acted.Output) // its input
	}
	return err
}

// scope is what the component's templates may refer to.
func (inv *invocation) scope(input any) engine.ActionScope {
	return engine.ActionScope{
		Invocation: inv.act.ID, Run: inv.act.Scope.Run.ID, Workflow: inv.act.Scope.Run.Workflow,
		Job: inv.act.Job.ID, Attempt: inv.act.Attempt, Input: input, At: inv.at, Static: inv.static,
	}
}

// input evaluates the job's input: without a template, the workflow's.
func (inv *invocation) input() (any, error) {
	scope := inv.act.Scope
	scope.Static = inv.static
	if inv.act.Job.Input == nil {
		return scope.Default()
	}
	return inv.act.Job.Input.Eval(scope)
}

// finish turns a response into the component's output and the wait that follows.
func finish(inv *invocation, scope engine.ActionScope, acted *engine.Acted) error {
	action := inv.act.Action
	waits, polls := action.Completion.Kind == compose.CompleteCallback, action.Completion.Kind == compose.CompletePolling
	var err error
	output := scope.Response
	switch {
	case action.Output == nil:
	case (waits || polls) && action.OutputNeedsResult:
		output = nil
	default:
		if output, err = action.Output.Eval(scope); err != nil {
			return &engine.Error{Code: engine.CodeOutput, Message: "the component's output: " + err.Error(), Permanent: true}
		}
	}
	if polls || waits && action.OutputNeedsResult { // it is asked for again
		if acted.Response, err = raw(scope.Response); err != nil {
			return err
		}
	}
	if acted.Output, err = raw(output); err != nil {
		return err
	}
	switch {
	case waits:
		acted.Wait, err = waitFor(inv, scope)
	case polls:
		acted.Wait = &engine.Wait{Poll: true}
	}
	return err
}

// waitFor says which callback ends the invocation.
func waitFor(inv *invocation, scope engine.ActionScope) (*engine.Wait, error) {
	c := inv.act.Action.Completion
	w := &engine.Wait{ID: inv.act.ID, Timeout: c.Timeout, AcceptEarly: c.AcceptEarly, Quorum: c.Quorum, Heartbeat: c.Heartbeat}
	var id any
	var err error
	switch {
	case c.OwnID:
		return w, nil
	case c.WaitFor != nil:
		id, err = c.WaitFor.Eval(scope)
	case c.IdentifyBy != nil:
		id, err = c.IdentifyBy.Eval(asCallback{scope})
	default:
		id = compose.DefaultCallbackID
	}
	if err != nil {
		return nil, &engine.Error{Code: engine.CodeExpression, Message: "the id to wait for: " + err.Error(), Permanent: true}
	}
	if w.ID, w.More, err = engine.IDs(id); err != nil {
		return nil, &engine.Error{
			Code: CodeResponse, Permanent: true,
			Message: err.Error() + ": the response has no value where wait_for, or the endpoint's identify_by, looks for it",
		}
	}
	if err := engine.Reachable(w.Quorum, w.More); err != nil {
		return nil, &engine.Error{Code: CodeResponse, Permanent: true, Message: "quorum: " + err.Error()}
	}
	return w, nil
}

// asCallback reads a response as if it were the callback's body, or its query: both name the task in the same way.
type asCallback struct{ engine.ActionScope }

func (s asCallback) Resolve(ref *expr.Reference) (any, error) {
	switch ref.Source {
	case "body", "item", "query":
		return expr.Walk(s.Response, ref.Path), nil
	default:
		return s.ActionScope.Resolve(ref)
	}
}

// bound makes a resolver a scope for the length of one invocation, and remembers what must not be shown.
type bound struct {
	ctx      context.Context //nolint:containedctx // a template's scope has no context of its own
	resolver Resolver
	secrets  *engine.Secrets
}

func (b bound) Resolve(ref *expr.Reference) (any, error) {
	v, err := b.resolver.Resolve(b.ctx, ref)
	if err == nil {
		b.secrets.Read(ref, v)
	}
	return v, err
}

// failure tells an error to the run.
func (inv *invocation) failure(ctx context.Context, err error) *engine.Error {
	f, ok := errors.AsType[*engine.Error](err)
	if context.Cause(ctx) == errDeadline { //nolint:errorlint // identity: a nested cause is another deadline
		why := ""
		if ok { // what it was that took so long
			why = ": " + f.Message
		}
		return &engine.Error{
			Code:    engine.CodeTimeout,
			Message: inv.secrets.Mask(fmt.Sprintf("job %s was not done by %s%s", inv.act.Job.ID, inv.act.Deadline.UTC().Format(time.RFC3339), why)),
		}
	}
	if !ok {
		f = &engine.Error{Code: CodeRequest, Message: err.Error()}
		if fault.CodeOf(err) == fault.TooLarge { // for a message of NATS: it will not shrink
			f.Code, f.Permanent = engine.CodeTooLarge, true
		}
	}
	masked := *f
	masked.Message = inv.secrets.Mask(f.Message)
	if len(f.Data) > 0 {
		masked.Data = inv.secrets.MaskJSON(f.Data)
	}
	return &masked
}

func raw(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	data, err := value.Encode(v)
	if err != nil {
		return nil, &engine.Error{Code: engine.CodeExpression, Message: "a value has no form in JSON: " + err.Error(), Permanent: true}
	}
	return data, nil
}
