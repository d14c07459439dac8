package action_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/action"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func template(t *testing.T, v any) *expr.Template {
	t.Helper()
	rules := expr.Rules{Sources: map[string]expr.Arg{}}
	for _, s := range []string{"input", "output", "jobs", "context", "response", "result", "env", "body", "query", "listener"} {
		rules.Sources[s] = expr.NoArg
	}
	tpl, problems := expr.Compile(v, rules)
	if len(problems) > 0 {
		t.Fatalf("compile %v: %v", v, problems)
	}
	return tpl
}

// env resolves variables.
type env map[string]string

func (e env) Resolve(_ context.Context, ref *expr.Reference) (any, error) {
	if ref.Source != "env" {
		return nil, fmt.Errorf("%s is not known here", ref.Source)
	}
	return e[ref.Path[0].Name], nil
}

func act(a *compose.Action, input string) engine.Act {
	if a.Type == "" {
		a.Type = compose.HTTPClient
	}
	return engine.Act{
		Job: &compose.Job{ID: "paint", Component: "api"}, Action: a, Attempt: 2, ID: "r1.paint.2",
		Deadline: time.Now().Add(time.Minute),
		Scope:    engine.Scope{Run: &event.Run{ID: "r1", Workflow: "w", Input: json.RawMessage(input)}},
	}
}

// service answers one request and keeps it.
type service struct {
	*httptest.Server
	request *http.Request
	body    string
}

func serve(t *testing.T, status int, contentType, body string) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		s.request, s.body = r.Clone(context.Background()), string(data)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func performer(t *testing.T, o action.Options) *action.Performer {
	t.Helper()
	transport := action.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	o.Transport = transport
	return action.New(o)
}

func TestRequest(t *testing.T) {
	for _, tc := range []struct {
		name        string
		action      compose.Action
		input       string
		url         string
		body        string
		contentType string
		header      map[string]string
	}{
		{
			name:   "a map goes as JSON, digit for digit",
			action: compose.Action{Body: template(t, map[string]any{"id": "${input.id}", "key": "${context.run_id}"})},
			input:  `{"id":9007199254740993}`, body: `{"id":9007199254740993,"key":"r1.paint.2"}`, contentType: "application/json",
			header: map[string]string{"Idempotency-Key": "r1.paint.2"},
		},
		{
			name:   "text goes as it is",
			action: compose.Action{Body: template(t, "say ${input.word}")}, input: `{"word":"hi"}`,
			body: "say hi", contentType: "text/plain; charset=utf-8",
		},
		{
			name:   "JSON written by hand goes as it is",
			action: compose.Action{Body: template(t, `{ "a": 1 }`), Headers: template(t, map[string]any{"Content-Type": "application/json"})},
			body:   `{ "a": 1 }`, contentType: "application/json",
		},
		{
			name: "a form",
			action: compose.Action{
				Body:    template(t, map[string]any{"a": "x y", "b": []any{int64(1), int64(2)}, "c": nil}),
				Headers: template(t, map[string]any{"content-type": "application/x-www-form-urlencoded"}),
			},
			body: "a=x+y&b=1&b=2", contentType: "application/x-www-form-urlencoded",
		},
		{
			name:   "bytes",
			action: compose.Action{BodyType: "raw", Body: template(t, map[string]any{"content": "${input.scan}", "encoding": "base64", "content_type": "image/png"})},
			input:  `{"scan":"AP8="}`, body: "\x00\xff", contentType: "image/png",
		},
		{
			name: "a raw body that is a map of another kind", action: compose.Action{BodyType: "raw", Body: template(t, map[string]any{"content": "x"})},
			body: `{"content":"x"}`, contentType: "text/plain; charset=utf-8",
		},
		{
			name:   "no body, parameters added to the address",
			action: compose.Action{Method: template(t, "get"), Params: template(t, map[string]any{"q": "a&b", "n": int64(2), "none": nil})},
			url:    "/?n=2&q=a%26b",
		},
		{
			name:   "the user's own key and headers",
			action: compose.Action{Headers: template(t, map[string]any{"Idempotency-Key": "mine", "X-A": []any{"1", "2"}, "X-None": nil})},
			header: map[string]string{"Idempotency-Key": "mine", "X-A": "1", "X-None": ""},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, http.StatusOK, "application/json", `{"big":12345678901234567890}`)
			tc.action.URL = template(t, s.URL)
			acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&tc.action, tc.input), env{})
			if err != nil || acted.Err != nil {
				t.Fatalf("perform: %v, %+v", err, acted.Err)
			}
			if string(acted.Output) != `{"big":12345678901234567890}` {
				t.Errorf("output: %s", acted.Output)
			}
			if s.body != tc.body || s.request.Header.Get("Content-Type") != tc.contentType {
				t.Errorf("body %q as %q, want %q as %q", s.body, s.request.Header.Get("Content-Type"), tc.body, tc.contentType)
			}
			if tc.url != "" && s.request.URL.String() != tc.url {
				t.Errorf("url %s, want %s", s.request.URL, tc.url)
			}
			for name, want := range tc.header {
				if got := s.request.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if len(acted.Requests) != 1 || acted.Requests[0].Status != http.StatusOK {
				t.Errorf("requests: %+v", acted.Requests)
			}
		})
	}
}

func TestMultipart(t *testing.T) {
	s := serve(t, http.StatusOK, "", "")
	a := compose.Action{
		URL: template(t, s.URL), Body: template(t, map[string]any{
			"name": "x", "n": int64(3), "none": nil, "tags": []any{"a", "b"}, "meta": map[string]any{"filename": "no file"},
			"doc":    map[string]any{"filename": "a b.txt", "content": "hello", "content_type": "text/plain"},
			"images": []any{map[string]any{"filename": "1.png", "content": "AP8=", "encoding": "base64"}, map[string]any{"filename": "2.png", "content": ""}},
		}),
		Headers: template(t, map[string]any{"Content-Type": "multipart/form-data"}),
	}
	if acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&a, `{}`), env{}); err != nil || acted.Err != nil {
		t.Fatalf("perform: %v, %+v", err, acted.Err)
	}
	s.request.Body = io.NopCloser(strings.NewReader(s.body))
	if err := s.request.ParseMultipartForm(1 << 20); err != nil {
		t.Fatal(err)
	}
	form := s.request.MultipartForm
	want := map[string][]string{"name": {"x"}, "n": {"3"}, "tags": {"a", "b"}, "meta": {`{"filename":"no file"}`}}
	if diff := cmp.Diff(want, form.Value); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	files := map[string]string{}
	for name, list := range form.File {
		for i, f := range list {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[fmt.Sprintf("%s %d %s %s", name, i, f.Filename, f.Header.Get("Content-Type"))] = string(data)
		}
	}
	content := map[string]string{
		"doc 0 a b.txt text/plain": "hello", "images 0 1.png application/octet-stream": "\x00\xff", "images 1 2.png application/octet-stream": "",
	}
	if diff := cmp.Diff(content, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		kind   string
		body   string
		action compose.Action
		code   string
		text   string
		data   string
	}{
		{name: "a refusal keeps its body", status: 422, kind: "application/json", body: `{"why":"too blue"}`, code: "http_422", text: "422 Unprocessable", data: `{"why":"too blue"}`},
		{name: "also when it is no JSON", status: 502, kind: "text/html", body: `<h1>no`, code: "http_502", text: "502", data: `"<h1>no"`},
		{name: "a response that is not what it says", status: 200, kind: "application/json", body: `{`, code: "response", text: "cannot be read"},
		{name: "a response that is too large", status: 200, kind: "text/plain", body: strings.Repeat("x", 2000), code: "too_large", text: "1000 bytes"},
		{name: "an address that is none", status: 200, action: compose.Action{URL: template(t, "ftp://x")}, code: "expression", text: "ftp://x"},
		{name: "nobody there", status: 200, action: compose.Action{URL: template(t, "http://127.0.0.1:1/")}, code: "request", text: "refused"},
		{name: "a wait without an id", status: 200, kind: "application/json", body: `{}`, action: compose.Action{
			Completion: compose.Completion{Kind: compose.CompleteCallback, WaitFor: template(t, "${response.task}")},
		}, code: "response", text: "empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, tc.status, tc.kind, tc.body)
			if tc.action.URL == nil {
				tc.action.URL = template(t, s.URL)
			}
			acted, err := performer(t, action.Options{MaxResponse: 1000}).Perform(t.Context(), act(&tc.action, `{}`), env{})
			if err != nil || acted.Err == nil {
				t.Fatalf("perform: %v, %+v", err, acted)
			}
			if acted.Err.Code != tc.code || !strings.Contains(acted.Err.Message, tc.text) || string(acted.Err.Data) != tc.data {
				t.Errorf("error: %s: %s %s", acted.Err.Code, acted.Err.Message, acted.Err.Data)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	said := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", said)
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	p := performer(t, action.Options{})
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, tc := range []struct {
		says        string
		least, most time.Duration
	}{
		{"7", 7 * time.Second, 7 * time.Second},
		{in(time.Hour), 58 * time.Minute, time.Hour},
		{in(-time.Hour), 0, 0},
		{"0", 0, 0},
		{"-5", 0, 0},
		{"soon", 0, 0},
		{"100000", 24 * time.Hour, 24 * time.Hour}, // nothing waits without end
		{"18446744073709551615", 24 * time.Hour, 24 * time.Hour},
		{in(1000 * time.Hour), 24 * time.Hour, 24 * time.Hour},
	} {
		said = tc.says
		acted, err := p.Perform(t.Context(), act(&compose.Action{URL: template(t, s.URL)}, `{}`), env{})
		if err != nil || acted.Err == nil || acted.Err.After < tc.least || acted.Err.After > tc.most {
			t.Errorf("Retry-After: %s: %v, %+v", tc.says, err, acted.Err)
		}
	}
}

// TestWhenToAskAgain: a service that is polled says so as well, of whatever status.
func TestWhenToAskAgain(t *testing.T) {
	status := http.StatusAccepted
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/task" && r.Header.Get(action.IdempotencyKey) != "" {
			t.Error("a poll has an idempotency key: each would get the first one's answer")
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
	}))
	defer s.Close()
	a := act(&compose.Action{URL: template(t, s.URL), Completion: compose.Completion{
		Kind: compose.CompletePolling, Polling: &compose.Polling{URL: template(t, s.URL+"/task"), SuccessWhen: []string{"200"}},
	}}, `{}`)
	a.Scope.Run.Jobs = map[string]*event.Job{"paint": {Attempts: []*event.Attempt{{}}}}
	p := performer(t, action.Options{})
	for _, status = range []int{http.StatusAccepted, http.StatusAccepted, http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		acted, err := p.Perform(t.Context(), a, env{})
		if err != nil || acted.Err != nil || acted.After != 7*time.Second || acted.Pending != (a.Poll > 0) {
			t.Errorf("poll %d, %d: %v, %+v", a.Poll, status, err, acted)
		}
		a.Poll++
	}
}

// hang is a service that does not answer until the test ends.
func hang(t *testing.T) string {
	t.Helper()
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(done) })
	return s.URL
}

func TestTimeouts(t *testing.T) {
	url := template(t, hang(t))
	t.Run("of the request", func(t *testing.T) {
		acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&compose.Action{URL: url, RequestTimeout: 20 * time.Millisecond}, `{}`), env{})
		if err != nil || acted.Err == nil || acted.Err.Code != "timeout" || !strings.Contains(acted.Err.Message, "20ms") {
			t.Errorf("perform: %v, %+v", err, acted.Err)
		}
	})
	t.Run("of the invocation", func(t *testing.T) {
		a := act(&compose.Action{URL: url}, `{}`)
		a.Deadline = time.Now().Add(20 * time.Millisecond)
		acted, err := performer(t, action.Options{}).Perform(t.Context(), a, env{})
		if err != nil || acted.Err == nil || acted.Err.Code != "timeout" || !strings.Contains(acted.Err.Message, "paint") {
			t.Errorf("perform: %v, %+v", err, acted.Err)
		}
		if len(acted.Requests) == 1 && strings.Contains(acted.Requests[0].Error, "30s") { // which it did not have
			t.Errorf("its request: %s", acted.Requests[0].Error)
		}
	})
	t.Run("a stop is no failure of the run", func(t *testing.T) {
		stopping := errors.New("stopping")
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { stop(stopping) })
		acted, err := performer(t, action.Options{}).Perform(ctx, act(&compose.Action{URL: url}, `{}`), env{})
		if !errors.Is(err, stopping) || acted.Err != nil {
			t.Errorf("perform: %v, %+v", err, acted.Err)
		}
	})
}

func TestRedirectsKeepSecretsAtHome(t *testing.T) {
	var got http.Header
	foreign := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer foreign.Close()
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL, http.StatusTemporaryRedirect)
	}))
	defer home.Close()
	a := compose.Action{URL: template(t, home.URL), Params: template(t, map[string]any{"key": "secret"}), Headers: template(t, map[string]any{"X-Api-Key": "secret", "Authorization": "Bearer secret"})}
	if acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&a, `{}`), env{}); err != nil || acted.Err != nil {
		t.Fatalf("perform: %v, %+v", err, acted.Err)
	}
	if got == nil || got.Get("X-Api-Key") != "" || got.Get("Authorization") != "" || got.Get(action.IdempotencyKey) != "" || got.Get("Referer") != "" {
		t.Errorf("another host was sent %v", got)
	}
}

func TestWaits(t *testing.T) {
	s := serve(t, http.StatusAccepted, "application/json", `{"task":123,"eta":5}`)
	callback := func(c compose.Completion) compose.Action {
		c.Kind = compose.CompleteCallback
		return compose.Action{URL: template(t, s.URL), Completion: c}
	}
	output := callback(compose.Completion{OwnID: true})
	output.Output = template(t, map[string]any{"task": "${response.task}"})
	later := callback(compose.Completion{OwnID: true})
	later.Output, later.OutputNeedsResult = template(t, "${result.url}"), true
	for _, tc := range []struct {
		name     string
		action   compose.Action
		wait     engine.Wait
		output   string
		response string
	}{
		{"its own id", callback(compose.Completion{OwnID: true, Timeout: time.Minute}), engine.Wait{ID: "r1.paint.2", Timeout: time.Minute}, `{"eta":5,"task":123}`, ""},
		{"an id from the response, as text", callback(compose.Completion{WaitFor: template(t, "${response.task}")}), engine.Wait{ID: "123"}, `{"eta":5,"task":123}`, ""},
		{"where the endpoint finds it", callback(compose.Completion{IdentifyBy: template(t, "task-${body.task}")}), engine.Wait{ID: "task-123"}, `{"eta":5,"task":123}`, ""},
		{"where the endpoint finds it in the query", callback(compose.Completion{IdentifyBy: template(t, "${query.task}")}), engine.Wait{ID: "123"}, `{"eta":5,"task":123}`, ""},
		{"the endpoint's only id", callback(compose.Completion{}), engine.Wait{ID: "__callback__"}, `{"eta":5,"task":123}`, ""},
		{"with an output", output, engine.Wait{ID: "r1.paint.2"}, `{"task":123}`, ""},
		{"with an output that needs the result", later, engine.Wait{ID: "r1.paint.2"}, "", `{"eta":5,"task":123}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			acted, err := performer(t, action.Options{}).Perform(t.Context(), act(&tc.action, `{}`), env{})
			if err != nil || acted.Err != nil || acted.Wait == nil {
				t.Fatalf("perform: %v, %+v", err, acted)
			}
			if diff := cmp.Diff(tc.wait, *acted.Wait); diff != "" {
				t.Errorf("wait (-want +got):\n%s", diff)
			}
			if string(acted.Output) != tc.output || string(acted.Response) != tc.response {
				t.Errorf("output %s, response %s", acted.Output, acted.Response)
			}
		})
	}
}

func TestLogger(t *testing.T) {
	var buf bytes.Buffer
	p := performer(t, action.Options{Logger: slog.New(slog.NewJSONHandler(&buf, nil))})
	a := compose.Action{Type: compose.Logger}
	acted, err := p.Perform(t.Context(), act(&a, `{"level":"warn","message":"done","data":{"n":1}}`), env{})
	if err != nil || acted.Err != nil {
		t.Fatalf("perform: %v, %+v", err, acted.Err)
	}
	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
		t.Fatalf("log %q: %v", buf.String(), err)
	}
	if line["level"] != "WARN" || line["message"] != "done" || line["data"] != `{"n":1}` || line["job"] != "paint" {
		t.Errorf("log: %v", line)
	}
}
