package compose

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/value"
)

// actionShape are the fields of an action of a component of a type.
func actionShape(componentType string) shape[Action] {
	sc := newScopes()
	tmpl := func(name, doc string, p func(*Action) **expr.Template, kinds ...kind) field[Action] {
		if len(kinds) > 0 {
			return templateOf(name, doc, sc.request, p, kinds...)
		}
		return template(name, doc, sc.request, p)
	}
	s := shape[Action]{name: "action", doc: "One thing that a component does."}
	switch componentType {
	case Logger:
		s.fields = []field[Action]{
			tmpl("level", "debug, info, warn or error.", func(a *Action) **expr.Template { return &a.Level }, scalar),
			tmpl("message", "The line to log; ${input.message} where it is not given.", func(a *Action) **expr.Template { return &a.Message }),
			tmpl("data", "What is logged with it; ${input.data} where it is not given.", func(a *Action) **expr.Template { return &a.Data }),
		}
	case NATS:
		s.fields = []field[Action]{
			tmpl("subject", "The subject to publish to.", func(a *Action) **expr.Template { return &a.Subject }, scalar).must(),
			choice("mode", "publish, or request and wait for the answer.", func(a *Action) *string { return &a.Mode }, "publish", "request").or("publish"),
			tmpl("headers", "Headers of the message.", func(a *Action) **expr.Template { return &a.Headers }, mapping),
			tmpl("body", "The payload: text as it is, all else as JSON.", func(a *Action) **expr.Template { return &a.Body }),
			span("request_timeout", "request: how long the answer may take.", func(a *Action) *time.Duration { return &a.RequestTimeout }).or("30s"),
		}
	case Shell:
		s.fields = []field[Action]{
			tmpl("command", "The program and its arguments, or a line for sh.", func(a *Action) **expr.Template { return &a.Command }, list, scalar).must(),
			tmpl("env", "Variables of the command.", func(a *Action) **expr.Template { return &a.Env }, mapping),
			tmpl("stdin", "What the command reads.", func(a *Action) **expr.Template { return &a.Stdin }),
			tmpl("working_dir", "The folder to run in.", func(a *Action) **expr.Template { return &a.WorkingDir }, scalar),
		}
	default:
		s.fields = []field[Action]{
			special("path", "What is joined to base_url.", schema{"type": "string"},
				skip[Action]),
			special("endpoint", "The whole URL, in the place of base_url and path.", urlSchema(),
				skip[Action]),
			tmpl("method", "The HTTP method; POST where there is a body, else GET.", func(a *Action) **expr.Template { return &a.Method }, scalar).like(methodSchema()),
			tmpl("headers", "Headers of the request.", func(a *Action) **expr.Template { return &a.Headers }, mapping),
			tmpl("params", "Query parameters; those that are null are left out.", func(a *Action) **expr.Template { return &a.Params }, mapping),
			tmpl("body", "The body of the request.", func(a *Action) **expr.Template { return &a.Body }),
			choice("body_type", "How the body is written; as the header Content-Type says, else as JSON.", func(a *Action) *string { return &a.BodyType },
				"json", "form", "multipart", "raw"),
			choice("response_type", "How the response is read; as its Content-Type says.", func(a *Action) *string { return &a.ResponseType },
				"json", "text", "binary"),
			texts("retry_on", "Statuses after which the request is sent again: 429, 5xx.", func(a *Action) *[]string { return &a.RetryOn }),
			span("request_timeout", "One HTTP request.", func(a *Action) *time.Duration { return &a.RequestTimeout }).or("30s"),
		}
	}
	s.fields = append(s.fields,
		span("timeout", "The whole invocation, the wait included; 24 h with a wait, else 5 min.", func(a *Action) *time.Duration { return &a.Timeout }),
		template("output", "What the job gets as ${output}; the response where it is not given.", sc.result,
			func(a *Action) **expr.Template { return &a.Output }),
		special("completion", "When the invocation is done.", ref(completionShape),
			readCompletion),
	)
	return s
}

// action reads one action; n holds its own fields and those that it has from its component.
func (d *decoder) action(c *Component, kind, id string, n, own *node) *Action {
	a := &Action{Pos: n.place(), ID: id, Component: c.ID, Type: kind}
	scopeUses := d.uses
	d.uses = nil
	defer func() { d.uses = scopeUses }()
	if !actionShape(kind).read(d, n, a) {
		return nil
	}
	switch kind {
	case HTTPClient, HTTPServer:
		a.URL = d.address(kind, n, own, d.scopes.request)
		if a.Method == nil && !n.get("method").given() {
			a.Method = expr.Literal("GET")
			if n.get("body").given() {
				a.Method = expr.Literal("POST")
			}
		}
		d.method(a, n)
		for i, s := range a.RetryOn {
			if !statusPattern(s) {
				d.judgef(n.get("retry_on").entry(i), "write 429, 503 or 5xx", "%q is not an HTTP status", s)
			}
		}
		if p := a.Completion.Polling; p != nil {
			p.URL = d.address(kind, n.get("completion"), own, d.scopes.response)
			d.pollHeaders(p, n)
		}
	case NATS:
		if v, ok := literal(a.Subject); ok && !subject.Valid(value.Text(v)) {
			d.judgef(n.get("subject"), "", "%q cannot be published to: a subject is made of words with dots between them, without *, > or blanks", value.Text(v))
		}
	case Logger:
		d.level(a, n)
		a.loggerDefaults(d)
	}
	a.OutputNeedsResult = a.Output != nil && mentions(a.Output, "result")
	d.placed[a] = n
	return a
}

func (a *Action) loggerDefaults(d *decoder) {
	if a.Level == nil {
		a.Level = d.quiet("${input.level | info}", d.scopes.request)
	}
	if a.Message == nil {
		a.Message = d.quiet("${input.message}", d.scopes.request)
	}
	if a.Data == nil {
		a.Data = d.quiet("${input.data}", d.scopes.request)
	}
}

// pollHeaders lays a polling's own headers over those of its action, which signs in to the service with them. An endpoint of its own
// may be another host, and gets none.
func (d *decoder) pollHeaders(p *Polling, n *node) {
	own, of := n.get("completion").get("headers"), n.get("headers")
	if !n.get("completion").get("path").given() || of == nil || of.kind != mapping || own.given() && own.kind != mapping {
		return
	}
	all := &node{kind: mapping, pos: of.pos, key: of.key, path: of.path}
	for _, name := range of.names {
		if !strings.EqualFold(name, "Content-Type") && !strings.EqualFold(name, "Idempotency-Key") { // the request's alone
			all.put(name, of.fields[name])
		}
	}
	if own.given() {
		all = mergeKeys(all, own, true)
	}
	p.Headers = d.quiet(all.any(), d.scopes.response) // each is checked at its place
}

// levels are those of a log, and what others call them.
func levels() []string {
	return []string{"debug", "info", "warn", "error", "warning", "critical", "fatal"}
}

func (d *decoder) level(a *Action, n *node) {
	if a.Level == nil {
		return
	}
	if v, ok := a.Level.Literal(); ok && v != nil && !slices.Contains(levels(), strings.ToLower(value.Text(v))) {
		d.judgef(n.get("level"), suggest(value.Text(v), levels()[:4]), "level %q is not known", value.Text(v))
	}
}

func (d *decoder) method(a *Action, n *node) {
	if a.Method == nil {
		return
	}
	if v, ok := a.Method.Literal(); ok {
		s := strings.ToUpper(value.Text(v))
		if !slices.Contains(methods(), s) {
			d.judgef(n.get("method"), suggest(s, methods()), "the method %q is not known", s)
			return
		}
		a.Method = expr.Literal(s)
	}
}

// mentions tells whether a template reads a source.
func mentions(t *expr.Template, source string) bool {
	return t != nil && slices.ContainsFunc(t.References(), func(r expr.Reference) bool { return r.Source == source })
}

// statusPattern tells whether a text is an HTTP status, or several: 404, 5xx, 20x.
func statusPattern(s string) bool {
	if len(s) != 3 {
		return false
	}
	digits := strings.TrimRight(strings.ToLower(s), "x")
	_, err := strconv.Atoi(digits)
	return err == nil && digits[0] >= '1' && digits[0] <= '5'
}

func completionShape() shape[Completion] {
	sc := newScopes()
	polling := func(c *Completion) *Polling {
		if c.Polling == nil {
			c.Polling = &Polling{}
		}
		return c.Polling
	}
	kindOf := special("type", "callback: a callback with an id ends it. polling: it is asked for until it has ended. none: the response ends it.",
		schema{"enum": []CompletionKind{CompleteCallback, CompletePolling, CompleteNow}},
		func(d *decoder, n *node, c *Completion) {
			if s, ok := d.words(n); ok && d.oneOf(n, "completion", s, []string{"callback", "polling", "none"}) {
				c.Kind = CompletionKind(s)
			}
		}).must()
	s := shape[Completion]{
		name: "completion", doc: "When an invocation is done.",
		fields: []field[Completion]{
			kindOf,
			template("wait_for", "callback: the id, or several, to wait for.", sc.response, func(c *Completion) **expr.Template { return &c.WaitFor }),
			span("timeout", "How long to wait.", func(c *Completion) *time.Duration { return &c.Timeout }),
			text("accept_early", "callback: which callbacks count that came before the wait: of this run, any, or of the last so long.",
				func(c *Completion) *string { return &c.AcceptEarly }).or("run").like(earlySchema()),
			special("quorum", "callback: how many of several callbacks end it: any, all or a number.", quorumSchema(),
				readQuorum),
			span("heartbeat", "callback: how long a progress callback puts the end off.", func(c *Completion) *time.Duration { return &c.Heartbeat }),
			special("path", "polling: what is joined to base_url.", schema{"type": "string"},
				skip[Completion]),
			special("endpoint", "polling: the whole URL.", urlSchema(),
				skip[Completion]),
			templateOf("method", "polling: the HTTP method.", sc.response, func(c *Completion) **expr.Template { return &polling(c).Method }, scalar),
			templateOf("headers", "polling: headers of the request.", sc.response,
				func(c *Completion) **expr.Template { return &polling(c).Headers }, mapping),
			templateOf("params", "polling: query parameters.", sc.response, func(c *Completion) **expr.Template { return &polling(c).Params }, mapping),
			template("body", "polling: the body of the request.", sc.response, func(c *Completion) **expr.Template { return &polling(c).Body }),
			template("status", "polling: the status in the polled response, ${result}.", sc.result,
				func(c *Completion) **expr.Template { return &polling(c).Status }),
			texts("success_when", "polling: statuses that mean success; HTTP codes such as 2xx without status.",
				func(c *Completion) *[]string { return &polling(c).SuccessWhen }),
			texts("fail_when", "polling: statuses that mean failure.", func(c *Completion) *[]string { return &polling(c).FailWhen }),
			span("interval", "polling: the pause between requests; 5 s.", func(c *Completion) *time.Duration { return &polling(c).Interval }),
		},
		short: &shorthand[Completion]{kinds: []kind{scalar}, schema: kindOf.schema, read: kindOf.read},
	}
	s.rules = func() []schema { return completionRules(waitingFields(), s.names()) }
	return s
}

// waitingFields are the fields of a completion of type callback.
func waitingFields() []string { return []string{"wait_for", "accept_early", "quorum", "heartbeat"} }

// readCompletion reads how an invocation ends, and checks that its fields go with its kind.
func readCompletion(d *decoder, n *node, a *Action) {
	c := &a.Completion
	if !n.given() || !completionShape().read(d, n, c) {
		return
	}
	waiting := waitingFields()
	for _, name := range n.names {
		isWaiting := slices.Contains(waiting, name)
		if name == "type" || name == "timeout" || c.Kind == "" ||
			c.Kind == CompleteCallback && isWaiting || c.Kind == CompletePolling && !isWaiting || !completionShape().has(name) {
			continue
		}
		d.wrongKeyf(n.fields[name], "", "completion of type %s has no %s", c.Kind, name)
	}
	d.completion(c, n, a)
}

func (d *decoder) completion(c *Completion, n *node, a *Action) {
	switch c.Kind {
	case CompleteCallback:
		c.Polling = nil
		if early := n.get("accept_early"); early.given() && c.AcceptEarly != "run" && c.AcceptEarly != "any" {
			if _, err := parseDuration(c.AcceptEarly); err != nil {
				d.wrongf(early, "", "accept_early must be run, any or a duration, and is %s", early.word())
			}
		}
		d.reachable(c, n)
	case CompletePolling:
		c.AcceptEarly = ""
		if a.Type != HTTPClient && a.Type != HTTPServer {
			d.wrongf(n, "", "a component of type %s cannot be polled", a.Type)
			return
		}
		if !n.get("path").given() && !n.get("endpoint").given() {
			d.wrongf(n, "", "completion of type polling needs path or endpoint")
		}
		if c.Polling == nil {
			c.Polling = &Polling{}
		}
		p := c.Polling
		if p.Method == nil {
			p.Method = expr.Literal("GET")
		}
		if p.Interval == 0 {
			p.Interval = 5 * time.Second
		}
		if c.Timeout == 0 {
			c.Timeout = 5 * time.Minute
		}
		if n.get("status").given() && len(p.SuccessWhen) == 0 {
			d.judgef(n.get("status"), "write success_when: [done]", "it is not said which status means success")
		}
		if p.Status == nil {
			for _, s := range slices.Concat(p.SuccessWhen, p.FailWhen) {
				if !statusPattern(s) {
					d.judgef(n, "add status: ${result.…} to judge the response's content", "%q is not an HTTP status", s)
				}
			}
		}
	default:
		c.Polling, c.AcceptEarly = nil, ""
	}
}

// reachable checks that as many callbacks can come as the quorum asks for: of several ids each counts once. Ids that are not written
// out one by one are counted when the run is there.
func (d *decoder) reachable(c *Completion, n *node) {
	ids := n.get("wait_for")
	if !ids.given() || ids.kind != list || len(ids.items) < 2 || c.Quorum <= len(ids.items) {
		return
	}
	for _, id := range ids.items {
		if s, _ := id.text(); strings.HasPrefix(s, "...") {
			return
		}
	}
	d.judgef(n.get("quorum"), "", "%d ids cannot bring %d callbacks: of several ids each counts once", len(ids.items), c.Quorum)
}

func readQuorum(d *decoder, n *node, c *Completion) {
	s, ok := d.words(n)
	if !ok {
		return
	}
	switch i, err := strconv.Atoi(s); {
	case s == "any":
		c.Quorum = 1
	case s == "all":
		c.Quorum = QuorumAll
	case err == nil && i > 0:
		c.Quorum = i
	default:
		d.wrongf(n, "", "quorum must be any, all or a number, and is %s", n.word())
	}
}
