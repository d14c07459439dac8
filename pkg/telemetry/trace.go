package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Tracing makes spans and exports them over OTLP. A nil Tracing is off: it makes none and costs nothing.
type Tracing struct{ provider *sdktrace.TracerProvider }

// StartTracing starts what the standard variables of OpenTelemetry ask for; nothing (nil) where they name no endpoint and no
// exporter. Where spans go, what is sampled and how much is held back until then is all said by them: OTEL_EXPORTER_OTLP_*,
// OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES. The collector need not be there.
func StartTracing(ctx context.Context, service string, log *slog.Logger, registry prometheus.Registerer) (*Tracing, error) {
	if on, err := tracingAsked(); err != nil || !on {
		return nil, err
	}
	client, err := otlpClient()
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "traces cannot be exported as OTEL_EXPORTER_OTLP_* say", "check these variables")
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(service), semconv.ServiceVersion(cmp.Or(Built().Version, "unknown"))),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, fault.Wrap(err, fault.Usage, "OTEL_RESOURCE_ATTRIBUTES cannot be read", "write key=value,key=value")
	}
	told := &toldExporter{SpanExporter: exporter, log: log, spans: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchback_trace_spans_total", Help: "Spans by what became of their export: exported or failed.",
	}, []string{"result"})}
	if registry != nil {
		if err := registry.Register(told.spans); err != nil {
			return nil, fmt.Errorf("register the metrics of traces: %w", err)
		}
	}
	return &Tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(told), sdktrace.WithResource(described))}, nil
}

// Tracer gives the tracer of a part of the program, named by its import path; nil when tracing is off.
func (t *Tracing) Tracer(name string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(name, trace.WithSchemaURL(semconv.SchemaURL))
}

// Stop exports what is left.
func (t *Tracing) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("export the last traces: %w", err)
	}
	return nil
}

// tracingAsked tells whether the variables ask for traces.
func tracingAsked() (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "":
		return firstEnv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "", nil
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fault.New(fault.Usage, "OTEL_TRACES_EXPORTER: there is no exporter "+exporter+" here", "write otlp or none")
	}
}

// otlpClient speaks the protocol that the variables name.
func otlpClient() (otlptrace.Client, error) {
	switch protocol := firstEnv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "", "http/protobuf":
		return otlptracehttp.NewClient(), nil
	case "grpc":
		return otlptracegrpc.NewClient(), nil
	default:
		return nil, fault.New(fault.Usage, "OTEL_EXPORTER_OTLP_PROTOCOL: "+protocol+" is not spoken here", "write http/protobuf or grpc")
	}
}

func firstEnv(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

// toldExporter logs what could not be exported, and keeps it from OpenTelemetry's global error handler.
type toldExporter struct {
	sdktrace.SpanExporter

	log   *slog.Logger
	spans *prometheus.CounterVec
	told  atomic.Int64 // when it was last logged
}

// tellEvery keeps a collector that is away from filling the log.
const tellEvery = time.Minute

func (e *toldExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, clean(spans))
	if err == nil {
		e.spans.WithLabelValues("exported").Add(float64(len(spans)))
		return nil
	}
	e.spans.WithLabelValues("failed").Add(float64(len(spans)))
	now, last := time.Now().UnixNano(), e.told.Load()
	if now-last >= int64(tellEvery) && e.told.CompareAndSwap(last, now) {
		e.log.Warn("traces could not be exported", slog.Int("spans", len(spans)), slog.Any("error", err))
	}
	return nil // it has been told
}
