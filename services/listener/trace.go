package listener

import (
	"strings"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

// Scope names the listener's tracer.
const Scope = "github.com/switchbackhq/switchback/services/listener"

// Two spans a request, as OpenTelemetry's conventions for HTTP and messaging have them: the request's own, a child of the
// sender's where its traceparent names one, and that of what it publishes, whose traceparent every message carries.

// beginSpan starts a request's span. Its name follows when the endpoint is known.
func (s *server) beginSpan(j *job) {
	method := semconv.HTTPRequestMethodKey.String(j.Method)
	if !knownMethod(j.Method) {
		method = semconv.HTTPRequestMethodOther
	}
	ctx, span := s.tracer.Start(telemetry.Continue(s.working, j.Trace), spanMethod(j.Method), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(j.ReceivedAt), trace.WithAttributes(
			method, semconv.URLPath(j.Path), semconv.ClientAddress(j.Remote.String()), semconv.HTTPRequestBodySize(len(j.Body)),
			attribute.String("switchback.listener", s.conf.ID), attribute.String("switchback.request_id", j.ID),
		))
	j.span, j.Trace = span, telemetry.Traceparent(ctx)
}

// endSpan ends it.
func endSpan(ctx *fasthttp.RequestCtx, j *job, v verdict) {
	status := ctx.Response.StatusCode()
	if e := j.endpoint.Endpoint; e != nil {
		j.span.SetName(spanMethod(j.Method) + " " + e.Path)
		j.span.SetAttributes(semconv.HTTPRoute(e.Path))
	}
	j.span.SetAttributes(semconv.HTTPResponseStatusCode(status), attribute.String("switchback.verdict", string(v)))
	if status >= fasthttp.StatusInternalServerError {
		j.span.SetAttributes(semconv.ErrorTypeKey.String(string(v)))
		j.span.SetStatus(codes.Error, "")
	}
	j.span.End()
}

// sendCallbacks starts the span of storing a request's callbacks, and gives them its context.
func (s *server) sendCallbacks(j *job) (end func()) {
	destination := "callback.{id}"
	name := ""
	if len(j.items) == 1 {
		name = strings.Clone(j.items[0].Callback.ID) // it may lie in the body, which is reused before the span is exported
	}
	traceparent, end := s.send(j, destination, len(j.items), attribute.String("switchback.callback.id", name))
	for i := range j.items {
		j.items[i].Callback.Trace = traceparent
	}
	return end
}

// sendRuns is sendCallbacks for a trigger's run requests.
func (s *server) sendRuns(j *job, runs []ingress.RunItem) (end func()) {
	name := ""
	if len(runs) == 1 {
		name = strings.Clone(runs[0].Request.Workflow)
	}
	traceparent, end := s.send(j, "run.request.{workflow}", len(runs), attribute.String("switchback.workflow", name))
	for i := range runs {
		runs[i].Request.Trace = traceparent
	}
	return end
}

func (s *server) send(j *job, destination string, n int, about attribute.KeyValue) (traceparent string, end func()) {
	if n == 0 {
		return "", func() {}
	}
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("publish"),
		semconv.MessagingDestinationTemplate(destination),
	}
	if n == 1 {
		attributes = append(attributes, about)
	} else {
		attributes = append(attributes, semconv.MessagingBatchMessageCount(n))
	}
	ctx, span := s.tracer.Start(trace.ContextWithSpan(s.working, j.span), "publish "+destination,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attributes...))
	return telemetry.Traceparent(ctx), func() {
		for i := range j.fates {
			if err := j.fates[i].err; err != nil && !refusable(err) {
				span.SetAttributes(semconv.ErrorTypeKey.String(string(fault.CodeOf(err))))
				span.SetStatus(codes.Error, err.Error())
				break
			}
		}
		span.End()
	}
}

// spanMethod is what a span's name says of the method: anybody can send any word.
func spanMethod(method string) string {
	if knownMethod(method) {
		return method
	}
	return "HTTP"
}

func knownMethod(method string) bool {
	switch method {
	case "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE":
		return true
	default:
		return false
	}
}
