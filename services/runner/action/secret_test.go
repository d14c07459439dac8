package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/runner/action"
)

func TestSecretsAreMasked(t *testing.T) {
	s := serve(t, http.StatusForbidden, "text/plain", "the key hunter22 is wrong")
	a := compose.Action{URL: template(t, s.URL+"/?key=${env.KEY}")}
	acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&a, `{}`), env{"KEY": "hunter22"})
	if err != nil || acted.Err == nil {
		t.Fatalf("perform: %v", err)
	}
	all, err := json.Marshal(acted)
	if err != nil || strings.Contains(string(all), "hunter22") || !strings.Contains(string(all), "key=***") {
		t.Errorf("what is recorded: %s, %v", all, err)
	}
	if s.request.URL.Query().Get("key") != "hunter22" {
		t.Errorf("the service was sent %s", s.request.URL)
	}
}

// TestSecretsAreMaskedAsTheyAreWritten: an odd one stands otherwise in a URL, and in JSON.
func TestSecretsAreMaskedAsTheyAreWritten(t *testing.T) {
	const secret = `hun/ter "22"`
	s := serve(t, http.StatusForbidden, "application/json", `{"wrong":"hun/ter \"22\""}`)
	a := compose.Action{
		URL:    template(t, s.URL+"/${env.KEY}"),
		Params: template(t, map[string]any{"key": "${env.KEY}"}),
	}
	acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&a, `{}`), env{"KEY": secret})
	if err != nil || acted.Err == nil {
		t.Fatalf("perform: %v", err)
	}
	if got := strings.TrimPrefix(acted.Requests[0].URL, s.URL); got != "/***?key=***" {
		t.Errorf("the URL is recorded as %s", got)
	}
	if got := string(acted.Err.Data); got != `{"wrong":"***"}` {
		t.Errorf("the answer is recorded as %s", got)
	}
	if s.request.URL.Path != "/"+secret || s.request.URL.Query().Get("key") != secret {
		t.Errorf("the service was sent %s", s.request.URL)
	}
}

// subjects is a NATS that refuses everything, and says what.
type subjects struct{ got []string }

func (s *subjects) Notify(subject string, _ map[string]string, _ []byte) error {
	s.got = append(s.got, subject)
	return errors.New("no permission for " + subject)
}

func (s *subjects) Request(_ context.Context, subject string, header map[string]string, data []byte) ([]byte, error) {
	return nil, s.Notify(subject, header, data)
}

// accepting is one that takes everything.
type accepting struct{ subjects }

func (*accepting) Notify(string, map[string]string, []byte) error { return nil }

// TestSecretsAreMaskedInSpans of messages on NATS, and of requests.
func TestSecretsAreMaskedInSpans(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	tracer := provider.Tracer("test")
	refusing := &subjects{}
	for _, mode := range []string{"", "request"} {
		a := compose.Action{Type: compose.NATS, Subject: template(t, "tenant.${env.KEY}.orders"), Mode: mode}
		acted, err := performer(t, action.Options{NATS: refusing, Tracer: tracer}).Perform(t.Context(), act(&a, `{}`), env{"KEY": "hunter22"})
		if err != nil || acted.Err == nil || strings.Contains(acted.Err.Message, "hunter22") {
			t.Fatalf("perform: %v, %+v", err, acted.Err)
		}
	}
	a := compose.Action{Type: compose.NATS, Subject: template(t, "tenant.${env.KEY}.orders")}
	acted, err := performer(t, action.Options{NATS: &accepting{}, Tracer: tracer}).Perform(t.Context(), act(&a, `{}`), env{"KEY": "hunter22"})
	if err != nil || string(acted.Output) != `{"subject":"tenant.***.orders"}` {
		t.Errorf("output %s, %v", acted.Output, err)
	}
	ask := compose.Action{URL: template(t, "http://hunter22.invalid/?key=${env.KEY}")}
	if _, err := performer(t, action.Options{Tracer: tracer}).Perform(t.Context(), act(&ask, `{}`), env{"KEY": "hunter22"}); err != nil {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if len(got) != 4 {
		t.Fatalf("%d spans", len(got))
	}
	for _, span := range got {
		all, err := json.Marshal(span)
		if err != nil || strings.Contains(string(all), "hunter22") || !strings.Contains(string(all), "***") {
			t.Errorf("the span %s tells: %s, %v", span.Name, all, err)
		}
	}
	for _, subject := range refusing.got {
		if subject != "tenant.hunter22.orders" {
			t.Errorf("it was sent to %s", subject)
		}
	}
}
