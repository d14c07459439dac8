package trace

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector takes what is exported over OTLP/HTTP, and keeps it.
type Collector struct {
	*httptest.Server

	mu    sync.Mutex
	spans []Span
}

// Span is what a collector was told of one.
type Span struct {
	Service, Scope, Name    string
	Kind                    tracepb.Span_SpanKind
	Trace, ID, Parent       string   // in hex
	Links                   []string // <trace>-<span>
	Attributes              map[string]string
	Failed                  bool
	Began, Ended            uint64
	ResourceHasVersion, SDK bool
}

// StartCollector runs a collector until the test ends.
func StartCollector(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			t.Errorf("what was exported to %s is not OTLP: %v", r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *Collector) take(r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request coltrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &request); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		about := pairs(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{
					Service: about["service.name"], Scope: scope.GetScope().GetName(), Name: s.GetName(), Kind: s.GetKind(),
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Attributes: pairs(s.GetAttributes()), Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
					Began: s.GetStartTimeUnixNano(), Ended: s.GetEndTimeUnixNano(),
					ResourceHasVersion: about["service.version"] != "", SDK: about["telemetry.sdk.language"] == "go",
				}
				for _, l := range s.GetLinks() {
					span.Links = append(span.Links, hex.EncodeToString(l.GetTraceId())+"-"+hex.EncodeToString(l.GetSpanId()))
				}
				c.spans = append(c.spans, span)
			}
		}
	}
	return nil
}

// Of gives the spans of a trace.
func (c *Collector) Of(trace string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var of []Span
	for _, s := range c.spans {
		if s.Trace == trace {
			of = append(of, s)
		}
	}
	return of
}

func pairs(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		v := kv.GetValue()
		if s, ok := v.GetValue().(*common.AnyValue_StringValue); ok {
			m[kv.GetKey()] = s.StringValue
		} else {
			m[kv.GetKey()] = strings.TrimSpace(v.String())
		}
	}
	return m
}
