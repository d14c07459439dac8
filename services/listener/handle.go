package listener

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/listener/handshake"
	"github.com/switchbackhq/switchback/services/listener/ingress"
	"github.com/switchbackhq/switchback/services/listener/verify"
)

// job is the work on one request. It is reused.
type job struct {
	ingress.Request
	routes   *routes // as they were when it came
	endpoint *endpoint
	target   string // path and query exactly as received
	proxied  bool   // by a proxy that is trusted
	wire     *verify.Request
	items    []ingress.Item
	fates    []fate
	err      error      // why it was not accepted
	unread   int        // bytes of a body that was too large to be read
	span     trace.Span // nil while tracing is off
	path     string     // of the request before, as a rule this one's as well
}

func (j *job) reset() {
	j.Reset()
	clear(j.items)
	clear(j.fates)
	*j = job{Request: j.Request, items: j.items[:0], fates: j.fates[:0], path: j.path}
	if cap(j.fates) > keepFates {
		j.items, j.fates = nil, nil
	}
}

// keepFates bounds what a reused job holds on to.
const keepFates = 64

// handle answers one request.
func (s *server) handle(ctx *fasthttp.RequestCtx) {
	j := s.jobs.Get().(*job) //nolint:forcetypeassert // made by New
	s.inFlight.Inc()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a request's handling panicked", slog.String("request_id", j.ID), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			ctx.Response.Reset()
			s.finish(ctx, j, writeProblem(ctx, j.ID, fault.New(fault.Internal, "the request could not be handled", ""), nil))
		}
		s.inFlight.Dec()
		j.reset()
		s.jobs.Put(j)
	}()
	j.routes, j.endpoint = s.routes.Load(), s.elsewhere
	s.describe(ctx, j)
	if s.tracer != nil {
		s.beginSpan(j)
	}
	s.finish(ctx, j, s.answer(ctx, j))
}

// describe notes what came in.
func (s *server) describe(ctx *fasthttp.RequestCtx, j *job) {
	r := &j.Request
	h := &ctx.Request.Header
	r.ReceivedAt = time.Now()
	if id := h.Peek("X-Request-Id"); goodRequestID(id) {
		r.ID = string(id)
	} else {
		r.ID = newID(r.ReceivedAt)
	}
	r.Method = string(h.Method())
	if path := ctx.URI().PathOriginal(); string(path) != j.path {
		j.path = string(path)
	}
	r.Path = j.path
	r.Query = string(ctx.URI().QueryString())
	r.Header, r.Body, r.MaxBody, r.Env = h, ctx.Request.Body(), s.maxBody, s.getenv
	r.Remote, j.proxied = s.remote(ctx)
	if trace := h.Peek("Traceparent"); goodTrace(trace) {
		r.Trace = string(trace)
	}
	s.bytes.Add(float64(len(r.Body)))
}

// finish counts and logs, and ends the connection while stopping.
func (s *server) finish(ctx *fasthttp.RequestCtx, j *job, v verdict) {
	ctx.Response.Header.Set("X-Request-Id", j.ID)
	if s.conns.stopping.Load() {
		ctx.SetConnectionClose()
	}
	if c := j.endpoint.requests[v]; c != nil {
		c.Inc()
	}
	if s.records != nil && j.endpoint != s.elsewhere {
		s.records.add(s, j, v, ctx.Response.StatusCode())
	}
	s.tell(ctx, j, v)
	if j.span != nil {
		endSpan(ctx, j, v)
	}
}

// tell logs a request: loudly when we could not do what was asked, though not for each of a storm of them. Requests that no
// endpoint takes leave no record, so that one now and then is told here: it may be a provider with a wrong address.
func (s *server) tell(ctx *fasthttp.RequestCtx, j *job, v verdict) {
	status := ctx.Response.StatusCode()
	level := slog.LevelDebug
	switch {
	case status >= 500:
		s.storm.Do(func() { level = slog.LevelWarn })
	case status >= 400 && j.endpoint == s.elsewhere:
		s.strays.Do(func() { level = slog.LevelInfo }) // not for every scanner that tries paths
	case status >= 400:
		level = slog.LevelInfo
	}
	if !s.log.Enabled(s.working, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", j.ID), slog.String("method", j.Method), slog.String("path", j.Path),
		slog.Int("status", status), slog.String("verdict", string(v)), slog.Int("items", len(j.fates)), slog.Int("body_bytes", len(j.Body)),
		slog.String("remote", j.Remote.String()), slog.Duration("took", time.Since(j.ReceivedAt)),
	}
	attrs = append(attrs, telemetry.TraceID(j.Trace))
	switch {
	case j.err == nil:
	case status >= 500, status == fasthttp.StatusUnauthorized:
		attrs = append(attrs, slog.Any("error", j.err))
	default:
		attrs = append(attrs, slog.String("error", detail(j.err))) // of the sender's own making: not what was parsed
	}
	s.log.LogAttrs(s.working, level, "request", attrs...)
}

// answer leads a request through route, gate, guard, mapping and publishing.
func (s *server) answer(ctx *fasthttp.RequestCtx, j *job) verdict {
	if len(ctx.RequestURI()) > s.config.MaxURLLength {
		return writeStatus(ctx, j.ID, fasthttp.StatusRequestURITooLong, fault.New(fault.TooLarge, "the URL is too long", "the setting listener.max_url_length raises the limit"))
	}
	m := j.routes.router.Match(j.Method, j.Path, j.Params)
	var shakers []*ingress.Endpoint
	if j.routes.shakes && m.Found {
		shakers = j.routes.router.At(j.Path)
	}
	switch {
	case len(m.Endpoints) > 0:
		j.Params, j.endpoint = m.Params, j.routes.endpoints[m.Endpoints[0]]
	case len(shakers) == 0:
		return s.elsewhereAnswer(ctx, j, m.Found)
	}
	if err := s.gate.enter(s.working); err != nil {
		return s.unavailable(ctx, j, busy, fault.Wrap(err, fault.Unavailable, "the listener is busy", "send it again later"))
	}
	defer s.gate.leave()
	if j.routes.verifies || j.routes.shakes {
		j.target = target(ctx)
	}
	if v, handled := s.shake(ctx, j, shakers); handled {
		return v
	}
	if len(m.Endpoints) == 0 {
		return s.elsewhereAnswer(ctx, j, m.Found)
	}
	e, err := s.choose(j, m.Endpoints)
	if err == nil {
		j.endpoint = e
		err = s.take(j)
	}
	if err != nil {
		if fault.CodeOf(err) == fault.Unauthorized {
			j.routes.challenge(ctx, m.Endpoints)
		}
		return s.problem(ctx, j, err)
	}
	return s.settle(ctx, j)
}

// target gives path and query as they stand in the request line, which may hold a whole URL.
func target(ctx *fasthttp.RequestCtx) string {
	if uri := ctx.RequestURI(); len(uri) > 0 && uri[0] == '/' {
		return string(uri)
	}
	u := ctx.URI()
	if q := u.QueryString(); len(q) > 0 {
		return string(u.PathOriginal()) + "?" + string(q)
	}
	return string(u.PathOriginal())
}

// shake answers a handshake of any endpoint at the path, whatever method that endpoint takes.
func (s *server) shake(ctx *fasthttp.RequestCtx, j *job, at []*ingress.Endpoint) (v verdict, handled bool) {
	var refused error
	for _, in := range at {
		e := j.routes.endpoints[in]
		if !e.allows(j.Remote) {
			continue
		}
		r, ours, err := e.shake(s.working, j, s.bases)
		if !ours {
			continue
		}
		j.endpoint = e
		if err == nil {
			return writeHandshake(ctx, r), true
		}
		refused = err
	}
	if refused != nil {
		return s.problem(ctx, j, refused), true
	}
	return "", false
}

// elsewhereAnswer answers what no endpoint takes.
func (s *server) elsewhereAnswer(ctx *fasthttp.RequestCtx, j *job, found bool) verdict {
	if !found {
		return s.problem(ctx, j, fault.New(fault.NotFound, "no endpoint is at this path", ""))
	}
	methods := j.routes.router.Allow(j.Path)
	ctx.Response.Header.Set("Allow", strings.Join(methods, ", "))
	switch {
	case j.Method == fasthttp.MethodOptions:
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return asked
	case j.Method == fasthttp.MethodHead && slices.Contains(methods, fasthttp.MethodGet):
		return asked // a HEAD must not do what the GET does
	default:
		return s.problem(ctx, j, fault.New(fault.Method, "this path does not take "+j.Method, "it takes "+strings.Join(methods, ", ")))
	}
}

// choose gives the first endpoint that admits the request and whose when holds. Nothing is decoded for an endpoint that
// does not admit it.
func (s *server) choose(j *job, candidates []*ingress.Endpoint) (*endpoint, error) {
	var refused error
	admitted := false
	for _, c := range candidates {
		e := j.routes.endpoints[c]
		if err := e.admit(s.working, j, s.bases); err != nil {
			refused = err
			continue
		}
		admitted = true
		ok, err := c.Takes(&j.Request)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if e.limit != nil && !e.limit.AllowN(j.ReceivedAt, 1) {
			return nil, errTooMany
		}
		return e, nil
	}
	if !admitted {
		return nil, refused
	}
	return nil, fault.New(fault.Unusable, "no endpoint at this path takes this request", "none of their conditions (when) holds for it")
}

// take maps the request and stores what it gives. The error is the whole request's.
func (s *server) take(j *job) error {
	e := j.endpoint
	if e.Trigger != nil {
		runs, err := e.Runs(&j.Request)
		if err != nil {
			return err
		}
		j.fates = untried(len(runs))
		if s.tracer != nil {
			defer s.sendRuns(j, runs)()
		}
		s.publishAll(len(runs), func(int) string { return "" }, func(i int) bool { return s.publishRun(&runs[i], &j.fates[i], j.ReceivedAt, e.Trigger.DedupeFor) })
		return nil
	}
	var err error
	if j.items, err = e.Callbacks(&j.Request, j.items); err != nil {
		return err
	}
	if s.tracer != nil {
		defer s.sendCallbacks(j)()
	}
	if len(j.items) == 1 {
		j.fates = append(j.fates[:0], fate{})
		s.publishCallback(&j.items[0], &j.fates[0], e.Callback.DedupeFor)
		return nil
	}
	j.fates = untried(len(j.items))
	s.publishAll(len(j.items), func(i int) string { return j.items[i].Callback.ID }, func(i int) bool {
		return s.publishCallback(&j.items[i], &j.fates[i], e.Callback.DedupeFor)
	})
	return nil
}

// settle answers a request whose items have met their fates.
func (s *server) settle(ctx *fasthttp.RequestCtx, j *job) verdict {
	e := j.endpoint
	taken, going := 0, 0
	var refused, away error
	for i := range j.fates {
		switch f := &j.fates[i]; {
		case f.err == nil:
			taken++
			if f.outcome == event.Progress {
				going++
			}
			e.items[f.outcome].Inc()
		case refusable(f.err):
			refused = f.err
		default:
			away = f.err
		}
	}
	bulk := e.bulk()
	switch {
	case away != nil:
		// Whatever was stored comes again with the rest, and counts once: the sender must not think that all is well.
		return s.unavailable(ctx, j, verdict(fault.Unavailable), notStored(away))
	case refused == nil:
		s.writeAccepted(ctx, j)
		switch {
		case len(j.fates) == 0 && e.Ignores():
			return ignored
		case going > 0 && going == taken:
			return progress
		default:
			return accepted
		}
	case !bulk:
		return s.problem(ctx, j, refused)
	case taken > 0:
		writeItems(ctx, fasthttp.StatusMultiStatus, j.fates)
		return partial
	default:
		return writeProblem(ctx, j.ID, fault.New(fault.Unusable, "none of the items could be taken", "each item says why"), j.fates)
	}
}

// bulk tells whether a request brings a list of items.
func (e *endpoint) bulk() bool {
	if e.Trigger != nil {
		return e.Trigger.Bulk
	}
	return e.Callback.Bulk
}

// refusable tells an error of the item from one of ours: the same item again would be refused again.
func refusable(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unusable, fault.TooLarge, fault.Invalid:
		return true
	default:
		return false
	}
}

// notStored is what the sender is told when JetStream has not acknowledged; the cause is for the log.
func notStored(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, "the request could not be stored now", "send it again")
}

// problem answers an error of the request.
func (s *server) problem(ctx *fasthttp.RequestCtx, j *job, err error) verdict {
	j.err = err
	switch code := fault.CodeOf(err); code {
	case fault.Unusable, fault.Method:
		if hint := s.resembling(ctx, j); hint != "" {
			err = fault.New(code, err.Error(), hint)
			j.err = err
		}
	case fault.Unavailable, fault.Timeout, fault.TooMany:
		ctx.Response.Header.Set("Retry-After", retryAfter(s.config.RetryAfter))
	default:
	}
	return writeProblem(ctx, j.ID, err, nil)
}

// resembling helps whoever registers an endpoint with a provider whose handshake it was not told to answer.
func (s *server) resembling(ctx *fasthttp.RequestCtx, j *job) string {
	if j.target == "" {
		j.target = target(ctx)
	}
	kind := handshake.Resembles(j.sent(s.bases))
	switch {
	case kind == "":
		return ""
	case handshake.For(kind) == "":
		return "this looks like the handshake of " + kind + ": the endpoint answers it with handshake: " + kind
	default:
		return "this looks like the handshake of " + kind + ": the endpoint answers it with verify: {type: " + kind + ", …}"
	}
}

// unavailable asks the sender to come again.
func (s *server) unavailable(ctx *fasthttp.RequestCtx, j *job, v verdict, err error) verdict {
	j.err = err
	ctx.Response.Header.Set("Retry-After", retryAfter(s.config.RetryAfter))
	fates := j.fates
	if !j.endpoint.bulk() {
		fates = nil
	}
	writeProblem(ctx, j.ID, err, fates)
	return v
}

// refuse answers what could not be read as a request.
func (s *server) refuse(ctx *fasthttp.RequestCtx, err error) {
	if c := unwrap(ctx.Conn()); c != nil {
		c.linger.Store(true)
	}
	if errors.Is(err, fasthttp.ErrBodyTooLarge) {
		s.oversize(ctx)
		return
	}
	id := newID(time.Now())
	ctx.Response.Header.Set("X-Request-Id", id)
	v := writeUnreadable(ctx, id, err)
	s.elsewhere.requests[v].Inc()
	// The error itself quotes the header, secrets and all.
	s.log.Debug("request could not be read", slog.String("request_id", id), slog.String("verdict", string(v)))
}

// oversize answers a request whose body is too large to be read. Its header has been: its endpoint counts and records it.
func (s *server) oversize(ctx *fasthttp.RequestCtx) {
	j := s.jobs.Get().(*job) //nolint:forcetypeassert // made by New
	defer func() {
		j.reset()
		s.jobs.Put(j)
	}()
	j.routes, j.endpoint = s.routes.Load(), s.elsewhere
	s.describe(ctx, j)
	j.Body, j.unread = nil, max(ctx.Request.Header.ContentLength(), int(s.maxBody)+1) // of a chunked body nobody knows
	if m := j.routes.router.Match(j.Method, j.Path, j.Params); len(m.Endpoints) > 0 {
		j.Params, j.endpoint = m.Params, j.routes.endpoints[m.Endpoints[0]]
	}
	j.err = tooLarge(s.maxBody)
	s.finish(ctx, j, writeProblem(ctx, j.ID, j.err, nil))
}
