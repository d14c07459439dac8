package action_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/action"
	"github.com/switchbackhq/switchback/services/runner/engine"
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

// What a job gets is kept without its secrets, and is used with them: by its request, and by the polls that follow.
func TestSecretsAreMaskedInWhatIsKept(t *testing.T) {
	s := serve(t, http.StatusOK, "application/json", `{"state":"busy","pin":12345678}`)
	vars := env{"KEY": "hunter22", "PIN": "12345678"}
	do := func(a *compose.Action, change func(*engine.Act)) engine.Acted {
		t.Helper()
		one := act(a, `{}`)
		one.Job.Input = template(t, map[string]any{
			"key": "${env.KEY}", "said": "Bearer ${env.KEY}", "pin": "${env.PIN as integer}", "n": int64(3), "l": []any{"x hunter22"},
		})
		change(&one)
		acted, err := performer(t, action.Options{}).Perform(t.Context(), one, vars)
		if err != nil {
			t.Fatal(err)
		}
		return acted
	}
	polling := &compose.Polling{URL: template(t, s.URL+"/?key=${input.key}"), Status: template(t, "${result.state}"), SuccessWhen: []string{"busy"}}
	a := &compose.Action{
		URL: template(t, s.URL), Body: template(t, "${input.said}"), Completion: compose.Completion{Kind: compose.CompletePolling, Polling: polling},
	}
	acted := do(a, func(*engine.Act) {})
	const kept = `{"key":"***","l":["x ***"],"n":3,"pin":"***","said":"Bearer ***"}`
	if string(acted.Input) != kept || s.body != "Bearer hunter22" {
		t.Errorf("it was kept as %s, and %q was sent", acted.Input, s.body)
	}
	acted = do(a, func(one *engine.Act) {
		one.Poll = 1
		one.Scope.Run.Jobs = map[string]*event.Job{"paint": {Input: acted.Input, Attempts: []*event.Attempt{{Number: 1}, {Number: 2}}}}
	})
	if acted.Err != nil || s.request.URL.Query().Get("key") != "hunter22" {
		t.Errorf("polled with %s: %+v", s.request.URL, acted.Err)
	}
	var log bytes.Buffer
	one := act(&compose.Action{Type: compose.Logger}, `{}`)
	one.Job.Input = template(t, map[string]any{"message": "the key is ${env.KEY}", "data": map[string]any{"key": "${env.KEY}"}})
	acted, err := performer(t, action.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))}).Perform(t.Context(), one, vars)
	if err != nil || strings.Contains(log.String()+string(acted.Output)+string(acted.Input), "hunter22") || !strings.Contains(log.String(), "the key is ***") {
		t.Errorf("log %s, output %s, input %s, %v", &log, acted.Output, acted.Input, err)
	}
}
