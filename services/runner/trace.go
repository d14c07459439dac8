package runner

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// Scope names the runner's tracer.
const Scope = "github.com/switchbackhq/switchback/services/runner"

// A run sleeps for minutes or days, so it is not one trace. What a message sets off is part of that message's trace: of the
// HTTP request whose callback it is, of the span that set the timer. The run's document keeps the traceparent of its
// first span, and every later one has a link to it.

// beginSpan starts the span of a message's processing, a child of what its traceparent names; nil while tracing is off.
func (r *Runner) beginSpan(ctx context.Context, d *bus.Delivery) (context.Context, trace.Span) {
	if r.tracer == nil {
		return ctx, nil
	}
	destination := template(d.Subject)
	return r.tracer.Start(telemetry.Continue(ctx, d.Header[subject.HeaderTrace]), "process "+destination,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
			semconv.MessagingDestinationName(d.Subject), semconv.MessagingDestinationTemplate(destination),
			semconv.MessagingConsumerGroupName(subject.ConsumerRunner), semconv.MessagingMessageBodySize(len(d.Data)),
			attribute.Int("switchback.delivery", d.Deliveries),
		))
}

// endSpan ends it.
func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetStatus(codes.Error, firstLine(err))
	}
	span.End()
}

// Subjects without what differs from message to message, as spans are called by.
const (
	anyRequest  = "run.request.{workflow}"
	anyCallback = "callback.{id}"
	anyTimeout  = "timeout.{id}"
)

func template(subj string) string {
	switch kind, _ := subject.Kind(subj); kind {
	case subject.KindCallback:
		return anyCallback
	case subject.KindTimeout:
		return anyTimeout
	default:
		return anyRequest
	}
}

// traceRun says on the span which run it carries on, and links it to the run's first span.
func (a *activation) traceRun(run *event.Run) {
	if a.r.tracer == nil || a.traced {
		return
	}
	a.traced = true // once: a conflict loads the run again
	span := trace.SpanFromContext(a.ctx)
	span.SetAttributes(attribute.String("switchback.run.id", run.ID), attribute.String("switchback.workflow", run.Workflow))
	a.linkTo(run.Trace)
}

// linkTo links the span to what else has led here: the run's first span, a callback that was there before its wait.
func (a *activation) linkTo(traceparent string) {
	if a.r.tracer == nil {
		return
	}
	span := trace.SpanFromContext(a.ctx)
	if link, ok := telemetry.LinkTo(traceparent); ok && link.SpanContext.SpanID() != span.SpanContext().SpanID() {
		span.AddLink(link)
	}
}

// traceparent is that of the span in ctx; "" while tracing is off.
func (r *Runner) traceparent(ctx context.Context) string {
	if r.tracer == nil {
		return ""
	}
	return telemetry.Traceparent(ctx)
}

// publishing starts the span of a message that the runner publishes, and gives the traceparent that it is to carry: while tracing is
// off, what the run was asked for with.
func (r *Runner) publishing(ctx context.Context, destination, off string) (traceparent string, end func(error)) {
	if r.tracer == nil {
		return off, func(error) {}
	}
	ctx, span := r.tracer.Start(ctx, "publish "+destination, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("publish"),
		semconv.MessagingDestinationTemplate(destination),
	))
	return telemetry.Traceparent(ctx), func(err error) { endSpan(span, err) }
}
