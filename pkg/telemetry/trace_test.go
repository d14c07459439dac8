package telemetry_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// clearOTel makes the environment one that says nothing of traces, but for what is given.
func clearOTel(t *testing.T, set map[string]string) {
	t.Helper()
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_SAMPLER", "OTEL_RESOURCE_ATTRIBUTES",
	} {
		t.Setenv(name, set[name])
	}
}

func TestTracingIsAskedForByTheStandardVariables(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for name, tc := range map[string]struct {
		env  map[string]string
		on   bool
		want string
	}{
		"nothing":            {},
		"an endpoint":        {env: map[string]string{endpoint: "http://127.0.0.1:1"}, on: true},
		"one for traces":     {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/x"}, on: true},
		"the exporter alone": {env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, on: true},
		"grpc":               {env: map[string]string{endpoint: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, on: true},
		"no exporter":        {env: map[string]string{endpoint: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}},
		"disabled":           {env: map[string]string{endpoint: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "TRUE"}},
		"another exporter": {
			env:  map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"},
			want: "OTEL_TRACES_EXPORTER: there is no exporter zipkin here",
		},
		"another protocol": {
			env:  map[string]string{endpoint: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
			want: "OTEL_EXPORTER_OTLP_PROTOCOL: http/json is not spoken here",
		},
	} {
		t.Run(name, func(t *testing.T) {
			clearOTel(t, tc.env)
			tracing, err := telemetry.StartTracing(t.Context(), "x", slog.New(slog.DiscardHandler), nil)
			if tc.want != "" {
				if err == nil || err.Error() != tc.want || fault.CodeOf(err) != fault.Usage || fault.HintOf(err) == "" {
					t.Fatalf("error %v, want %s and a hint", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if on := tracing.Tracer("x") != nil; on != tc.on {
				t.Errorf("tracing is on: %v, want %v", on, tc.on)
			}
			if err := tracing.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A collector that refuses is told of once, not for each batch, and does not make stopping fail.
func TestWhatCannotBeExportedIsTold(t *testing.T) {
	var asked atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer collector.Close()
	clearOTel(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL})
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	var out bytes.Buffer
	registry := prometheus.NewRegistry()
	tracing, err := telemetry.StartTracing(t.Context(), "x", telemetry.NewLogger(&out, slog.LevelInfo, telemetry.Text), registry)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, span := tracing.Tracer("x").Start(t.Context(), "y")
		span.End()
	}
	if err := tracing.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the collector was asked %d times, want 3", n)
	}
	if log := out.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "traces could not be exported") {
		t.Errorf("log:\n%s\nwant one line", log)
	}
	want := "# HELP switchback_trace_spans_total Spans by what became of their export: exported or failed.\n" +
		"# TYPE switchback_trace_spans_total counter\nswitchback_trace_spans_total{result=\"failed\"} 3\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "switchback_trace_spans_total"); err != nil {
		t.Error(err)
	}
}

func TestTraceparentsGoThroughAContext(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := telemetry.Continue(t.Context(), parent)
	if got := telemetry.Traceparent(ctx); got != parent {
		t.Errorf("Traceparent = %q, want %q", got, parent)
	}
	if link, ok := telemetry.LinkTo(parent); !ok || link.SpanContext.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("LinkTo = %v, %v", link, ok)
	}
	for _, none := range []string{"", "x", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", parent[:54], "ff" + parent[2:]} {
		if got := telemetry.Traceparent(telemetry.Continue(t.Context(), none)); got != "" {
			t.Errorf("%q is continued as %q", none, got)
		}
		if _, ok := telemetry.LinkTo(none); ok {
			t.Errorf("%q is linked to", none)
		}
	}
}

func TestTraceIDInTheLog(t *testing.T) {
	for parent, want := range map[string]string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": "level=INFO msg=x trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
		"":                                 "level=INFO msg=x",
		"00-4bf92f3577b34da6a3ce929d0e0e4": "level=INFO msg=x",
		"00-4bf92f3577b34da6a3ce\n29d0e0e4736-00f067aa0ba902b7-01": "level=INFO msg=x",
		"0004bf92f3577b34da6a3ce929d0e0e4736000f067aa0ba902b7001":  "level=INFO msg=x",
	} {
		var out bytes.Buffer
		telemetry.NewLogger(&out, slog.LevelInfo, telemetry.Text).Info("x", telemetry.TraceID(parent))
		_, got, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", parent, d)
		}
	}
	if n := testing.AllocsPerRun(100, func() { telemetry.TraceID("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") }); n != 0 {
		t.Errorf("TraceID allocates %v times", n)
	}
}
