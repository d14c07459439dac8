package telemetry

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceparent is the name of the header in W3C Trace Context. In NATS, names are case-sensitive: it is written so.
const traceparent = "traceparent"

// Traceparent gives the W3C traceparent of the span in ctx; "" where there is none.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// Continue gives a context whose next span is a child of what a traceparent names; ctx itself where it names nothing.
func Continue(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: parent})
}

// LinkTo gives a link to what a traceparent names; false where it names nothing.
func LinkTo(parent string) (trace.Link, bool) {
	fields := strings.Split(parent, "-")
	if len(fields) < 4 || len(fields[0]) != 2 || fields[0] == "ff" || len(fields[3]) != 2 {
		return trace.Link{}, false
	}
	traceID, err := trace.TraceIDFromHex(fields[1])
	if err != nil {
		return trace.Link{}, false
	}
	spanID, err := trace.SpanIDFromHex(fields[2])
	if err != nil {
		return trace.Link{}, false
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, Remote: true})
	return trace.Link{SpanContext: sc}, sc.IsValid()
}

// TraceID gives the attribute trace_id of a log record, from a traceparent; one that is not written where there is none.
func TraceID(parent string) slog.Attr {
	const first, end = 3, 35 // in 00-<32 hex digits>-<16 hex digits>-<2 hex digits>
	if len(parent) <= end || parent[first-1] != '-' || parent[end] != '-' {
		return slog.Attr{}
	}
	for _, c := range []byte(parent[first:end]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return slog.Attr{}
		}
	}
	return slog.String("trace_id", parent[first:end])
}
