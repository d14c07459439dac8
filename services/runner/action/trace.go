package action

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// beginSpan starts the span of a request to an outside service, which the request takes along unless the file sets a
// traceparent itself. While tracing is off it does nothing.
func (p *Performer) beginSpan(ctx context.Context, inv *invocation, req *http.Request) (context.Context, func(*event.Request, error)) {
	if p.o.Tracer == nil {
		return ctx, func(*event.Request, error) {}
	}
	attributes := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(req.Method), semconv.URLFull(inv.secrets.Mask(req.URL.Redacted())), semconv.ServerAddress(inv.secrets.Mask(req.URL.Hostname())),
		attribute.String("switchback.run.id", inv.act.Scope.Run.ID), attribute.String("switchback.job", inv.act.Job.ID),
		attribute.String("switchback.component", inv.act.Job.Component), attribute.Int("switchback.attempt", inv.act.Attempt),
	}
	if port, err := strconv.Atoi(req.URL.Port()); err == nil {
		attributes = append(attributes, semconv.ServerPort(port))
	}
	ctx, span := p.o.Tracer.Start(ctx, req.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	setDefault(req.Header, "Traceparent", telemetry.Traceparent(ctx))
	return ctx, func(record *event.Request, err error) {
		switch {
		case err != nil:
			span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
			span.SetStatus(codes.Error, record.Error)
		case record.Status >= http.StatusBadRequest:
			span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(record.Status)))
			span.SetStatus(codes.Error, "")
		}
		if record.Status != 0 {
			span.SetAttributes(semconv.HTTPResponseStatusCode(record.Status))
		}
		span.End()
	}
}

func errorType(err error) string {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e.Code
	}
	return CodeRequest
}

// beginMessage is beginSpan for a message on NATS: operation is publish or request.
func (p *Performer) beginMessage(ctx context.Context, inv *invocation, operation, to string, header map[string]string) (context.Context, func(error)) {
	if p.o.Tracer == nil {
		return ctx, func(error) {}
	}
	kind := trace.SpanKindProducer
	if operation == modeRequest {
		kind = trace.SpanKindClient
	}
	ctx, span := p.o.Tracer.Start(ctx, operation, trace.WithSpanKind(kind), trace.WithAttributes(
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationTypeSend, semconv.MessagingOperationName(operation),
		semconv.MessagingDestinationName(inv.secrets.Mask(to)),
	))
	if header[subject.HeaderTrace] == "" {
		header[subject.HeaderTrace] = telemetry.Traceparent(ctx)
	}
	return ctx, func(err error) {
		if err != nil {
			span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
			span.SetStatus(codes.Error, inv.secrets.Mask(err.Error()))
		}
		span.End()
	}
}
