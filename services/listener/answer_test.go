package listener_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener"
)

const hooks = `
listener:
  host: 127.0.0.1
  port: 0
  base_path: /hooks
  max_body_size: 1KiB
  callbacks:
    - path: /done
      identify_by: ${body.task_id}
      status: ${body.status}
      success_when: [completed]
      fail_when: [failed]
      result: ${body.result}
      error: ${body.message}
    - path: /many
      bulk: true
      item: ${body.results}
      identify_by: ${item.id}
      status: ${item.status}
      success_when: [completed]
    - path: /events
      identify_by: ${body.id}
      ignore: ${!(body.type startsWith "job.")}
      dedupe_by: ${body.event}
    - path: /mixed
      bulk: true
      item: ${body.events}
      identify_by: ${item.id}
      ignore: ${item.type == "ping"}
    - path: /tasks/{id}
      method: PUT
      identify_by: ${path.id}
    - path: /ping
      method: GET
      identify_by: ${query.id}
    - path: /adyen
      identify_by: ${body.id}
      respond: {status: 201, headers: {X-Id: "id ${body.id}"}, body: "[accepted]"}
`

func TestAnswers(t *testing.T) {
	f := &fake{publish: func(_ context.Context, cb *event.Callback) (bus.Ack, error) {
		return bus.Ack{Duplicate: cb.ID == "again"}, nil
	}}
	s := start(t, hooks, f, listener.Config{})
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string // the body, or the code of the problem
	}{
		{"succeeded", "POST", "/done", `{"task_id":"a","status":"completed"}`, 200, `{"items":[{"id":"a","outcome":"succeeded","duplicate":false}]}`},
		{"failed", "POST", "/done", `{"task_id":7,"status":"failed"}`, 200, `{"items":[{"id":"7","outcome":"failed","duplicate":false}]}`},
		{"progress", "POST", "/done", `{"task_id":"a\"b"}`, 200, `{"items":[{"id":"a\"b","outcome":"progress","duplicate":false}]}`},
		{"duplicate", "POST", "/done", `{"task_id":"again","status":"completed"}`, 200, `{"items":[{"id":"again","outcome":"succeeded","duplicate":true}]}`},
		{"path", "PUT", "/tasks/x%2Fy", ``, 200, `{"items":[{"id":"x/y","outcome":"succeeded","duplicate":false}]}`},
		{"query", "GET", "/ping?id=1&id=2", ``, 200, `{"items":[{"id":"2","outcome":"succeeded","duplicate":false}]}`},
		{"respond", "POST", "/adyen", `{"id":3}`, 201, `[accepted]`},
		{"not ignored", "POST", "/events", `{"id":1,"event":"e1","type":"job.done"}`, 200, `{"items":[{"id":"1","outcome":"succeeded","duplicate":false}]}`},
		{"ignored", "POST", "/events", `{"event":"e2","type":"ping"}`, 200, `{"items":[]}`},
		{"ignore cannot be told", "POST", "/events", `{"id":1,"type":5}`, 422, "unprocessable"},
		{
			"bulk ignored in part", "POST", "/mixed", `{"events":[{"type":"ping"},{"id":1},{"type":"ping"}]}`, 200,
			`{"items":[{"id":"1","outcome":"succeeded","duplicate":false}]}`,
		},
		{"bulk ignored", "POST", "/mixed", `{"events":[{"type":"ping"}]}`, 200, `{"items":[]}`},
		{"bulk ignored, the rest refused", "POST", "/mixed", `{"events":[{"type":"ping"},{}]}`, 422, "unprocessable"},
		{"malformed", "POST", "/done", `{"task_id":`, 400, "invalid"},
		{"no id", "POST", "/done", `{}`, 422, "unprocessable"},
		{"empty id", "POST", "/done", `{"task_id":""}`, 422, "unprocessable"},
		{"unknown path", "POST", "/nowhere", `{}`, 404, "not_found"},
		{"without base path", "POST", "/../done", `{}`, 404, "not_found"},
		{"wrong method", "GET", "/done", ``, 405, "method"},
		{"odd method", "BREW", "/done", ``, 405, "method"},
		{"head", "HEAD", "/done", ``, 405, ""},
		{"head of get", "HEAD", "/ping?id=5", ``, 200, ""},
		{"options", "OPTIONS", "/done", ``, 204, ""},
		{"too large", "POST", "/done", `{"task_id":"` + strings.Repeat("x", 1100) + `"}`, 413, "too_large"},
		{
			"bulk", "POST", "/many", `{"results":[{"id":1,"status":"completed"},{"id":2}]}`, 200,
			`{"items":[{"id":"1","outcome":"succeeded","duplicate":false},{"id":"2","outcome":"progress","duplicate":false}]}`,
		},
		{"bulk of none", "POST", "/many", `{"results":[]}`, 200, `{"items":[]}`},
		{
			"bulk in part", "POST", "/many", `{"results":[{"id":1,"status":"completed"},{}]}`, 207,
			`{"items":[{"id":"1","outcome":"succeeded","duplicate":false},{"error":"no identifier: ${item.id} is not in this request"}]}`,
		},
		{"bulk none taken", "POST", "/many", `{"results":[{},{}]}`, 422, "unprocessable"},
		{"bulk without a list", "POST", "/many", `{"results":{}}`, 422, "unprocessable"},
		{"long url", "POST", "/done?" + strings.Repeat("x", 9000), `{}`, 414, "too_large"},
		{"long header", "POST", "/done?" + strings.Repeat("x", 20000), `{}`, 431, "too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(f.stored())
			r := do(t, client(t), newRequest(t, tt.method, s.url(tt.path), tt.body))
			if r.status != tt.status {
				t.Errorf("status %d, want %d: %s", r.status, tt.status, r.body)
			}
			if !regexp.MustCompile(`^[0-9a-z]{26}$`).MatchString(r.header.Get("X-Request-Id")) {
				t.Errorf("X-Request-Id %q", r.header.Get("X-Request-Id"))
			}
			switch {
			case tt.want == "":
				if r.body != "" {
					t.Errorf("body %s", r.body)
				}
			case r.status >= 300:
				if p := r.problem(t); p["code"] != tt.want || p["request_id"] != r.header.Get("X-Request-Id") {
					t.Errorf("problem %s, want code %q", r.body, tt.want)
				}
			case r.body != tt.want:
				t.Errorf("body %s\nwant %s", r.body, tt.want)
			}
			if (r.status >= 400 || tt.want == `{"items":[]}`) && len(f.stored()) != before {
				t.Error("what was refused or ignored was published")
			}
			if r.status == 405 && r.header.Get("Allow") != "POST" {
				t.Errorf("Allow: %q", r.header.Get("Allow"))
			}
		})
	}
}

func TestWhatIsPublished(t *testing.T) {
	f := &fake{}
	s := start(t, hooks, f, listener.Config{})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s.post("/done", `{"task_id":"a","status":"failed","message":"no\nspace","result":{"n":12345678901234567890}}`, "Traceparent", trace)
	s.post("/done", `{"task_id":"b"}`, "Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")
	got := f.stored()
	for i := range got {
		if got[i].ReceivedAt.IsZero() {
			t.Error("no time of receipt")
		}
		got[i].ReceivedAt = got[0].ReceivedAt
	}
	want := []event.Callback{
		{ID: "a", Outcome: event.Failed, Result: json.RawMessage(`{"n":12345678901234567890}`), Error: "no space", Endpoint: "/hooks/done", Trace: trace, ReceivedAt: got[0].ReceivedAt},
		{ID: "b", Outcome: event.Progress, Result: json.RawMessage(`null`), Endpoint: "/hooks/done", ReceivedAt: got[0].ReceivedAt},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRespondHeaders(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	r := s.post("/adyen", `{"id":"x\r\nSet-Cookie: a=b"}`)
	if r.header.Get("Set-Cookie") != "" || r.header.Get("X-Id") == "" || r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("header %v", r.header)
	}
}

func TestRequestID(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	for id, kept := range map[string]bool{
		"abc-123": true, "trace:1/2@x": true, "": false, "a b": false, "a\tb": false, strings.Repeat("x", 129): false, `"}`: false,
	} {
		r := s.post("/nowhere", `{}`, "X-Request-Id", id)
		if got := r.header.Get("X-Request-Id"); (got == id) != kept || got == "" {
			t.Errorf("%q gives %q", id, got)
		}
	}
}

// TestTooLarge sends more than is taken in every way; the client must see the answer although it is still sending.
func TestTooLarge(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	big := strings.Repeat("x", 8<<20)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, `"`+big+`"`)
	_ = z.Close()
	for name, r := range map[string]*http.Request{
		"length":  newRequest(t, "POST", s.url("/done"), big),
		"packed":  newRequest(t, "POST", s.url("/adyen"), packed.String()[:1], "Content-Encoding", "gzip"),
		"chunked": newRequest(t, "POST", s.url("/done"), ""),
		"expect":  newRequest(t, "POST", s.url("/done"), big, "Expect", "100-continue"),
	} {
		want := 413
		switch name {
		case "chunked":
			r.ContentLength, r.Body = -1, io.NopCloser(io.LimitReader(endless{}, 8<<20))
		case "packed":
			want = 400
		}
		if res := do(t, client(t), r); res.status != want {
			t.Errorf("%s: %d %s", name, res.status, res.body)
		} else {
			res.problem(t)
		}
	}
	small := start(t, strings.Replace(hooks, "1KiB", "100KiB", 1), &fake{}, listener.Config{})
	if r := small.post("/done", packed.String(), "Content-Encoding", "gzip"); r.status != 413 {
		t.Errorf("expanded: %d %s", r.status, r.body)
	}
}

// TestTooLargeIsHeardByWhoeverSendsFirst: a client that does not read before all is written gets its answer as well.
func TestTooLargeIsHeardByWhoeverSendsFirst(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	const size = 8 << 20
	c := s.raw()
	defer c.Close()
	text := fmt.Sprintf("POST /hooks/done HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size) + strings.Repeat("x", size)
	if r := s.exchange(c, text); r.status != 413 {
		t.Errorf("%+v", r)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestNotHTTP(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	for _, text := range []string{"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "POST\r\n\r\n", "GET /hooks/done HTTP/1.1\r\nContent-Length: x\r\n\r\n"} {
		c := s.raw()
		if r := s.exchange(c, text); r.status != 400 {
			t.Errorf("%q: %d %s", text, r.status, r.body)
		} else {
			r.problem(t)
		}
		_ = c.Close()
	}
}

func TestNotStored(t *testing.T) {
	var answer error
	f := &fake{publish: func(context.Context, *event.Callback) (bus.Ack, error) { return bus.Ack{}, answer }}
	s := start(t, hooks, f, listener.Config{})
	for _, tt := range []struct {
		err    error
		status int
	}{
		{fault.New(fault.Unavailable, "not connected to NATS at secret.example", ""), 503},
		{fault.New(fault.Forbidden, "NATS forbids callback.a", ""), 503},
		{bus.ErrConflict, 503},
		{context.DeadlineExceeded, 503},
		{errors.New("something else"), 503},
		{fault.New(fault.TooLarge, "larger than NATS takes", ""), 413},
		{nil, 200},
	} {
		answer = tt.err
		r := s.post("/done", `{"task_id":"a"}`)
		if r.status != tt.status {
			t.Errorf("%v: status %d, want %d", tt.err, r.status, tt.status)
		}
		if r.status == 503 && (r.header.Get("Retry-After") != "2" || strings.Contains(r.body, "secret")) {
			t.Errorf("%v: Retry-After %q, %s", tt.err, r.header.Get("Retry-After"), r.body)
		}
		if r.status != 200 {
			r.problem(t)
		}
	}
}

// TestBulkNotStored: one item that JetStream did not acknowledge makes the whole request come again.
func TestBulkNotStored(t *testing.T) {
	f := &fake{publish: func(_ context.Context, cb *event.Callback) (bus.Ack, error) {
		if cb.ID == "2" {
			return bus.Ack{}, fault.New(fault.Unavailable, "no answer", "")
		}
		return bus.Ack{}, nil
	}}
	s := start(t, hooks, f, listener.Config{})
	r := s.post("/many", `{"results":[{"id":1},{"id":2},{"id":3},{}]}`)
	if r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if items, ok := r.problem(t)["items"].([]any); !ok || len(items) != 4 {
		t.Errorf("items %s", r.body)
	}
}

// TestBulkKeepsOrder: callbacks for one id are stored in the order of the list, whatever happens at once.
func TestBulkKeepsOrder(t *testing.T) {
	f := &fake{}
	s := start(t, strings.Replace(hooks, "1KiB", "1MiB", 1), f, listener.Config{})
	var list []string
	for i := range 400 {
		list = append(list, fmt.Sprintf(`{"id":"run-%d","status":%d}`, i%7, i))
	}
	if r := s.post("/many", `{"results":[`+strings.Join(list, ",")+`]}`); r.status != 200 {
		t.Fatal(r.status, r.body)
	}
	last := map[string]int{}
	for _, cb := range f.stored() {
		var item struct{ Status int }
		if err := json.Unmarshal(cb.Result, &item); err != nil {
			t.Fatal(err)
		}
		if item.Status < last[cb.ID] {
			t.Fatalf("%s: %d after %d", cb.ID, item.Status, last[cb.ID])
		}
		last[cb.ID] = item.Status
	}
	if n := len(f.stored()); n != 400 {
		t.Errorf("%d stored", n)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	f := &fake{publish: func(_ context.Context, cb *event.Callback) (bus.Ack, error) {
		if cb.ID == "boom" {
			panic("boom")
		}
		return bus.Ack{}, nil
	}}
	s := start(t, hooks, f, listener.Config{})
	if r := s.post("/done", `{"task_id":"boom"}`); r.status != 500 || strings.Contains(r.body, "boom") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := s.post("/done", `{"task_id":"a"}`); r.status != 200 {
		t.Errorf("afterwards: %d %s", r.status, r.body)
	}
}

func TestTriggers(t *testing.T) {
	f := &fake{}
	s := start(t, `
listener:
  type: http-trigger
  host: 127.0.0.1
  port: 0
  triggers:
    - {path: /start, workflow: w, input: {n: "${body.n}"}}
    - {path: /many, workflow: w, bulk: true, item: "${body.l}"}
workflow: {id: w, jobs: [{id: a, component: c}]}
component: {id: c, type: logger, message: hi}
`, f, listener.Config{})
	r := s.post("/start", `{"n":1.10}`)
	id := regexp.MustCompile(`^{"items":\[{"run_id":"([0-9a-z]{26})"}\]}$`).FindStringSubmatch(r.body)
	if r.status != 202 || id == nil {
		t.Fatalf("%d %s", r.status, r.body)
	}
	want := event.RunRequest{RunID: id[1], MsgID: id[1], Workflow: "w", Input: json.RawMessage(`{"n":1.10}`)}
	if d := cmp.Diff([]event.RunRequest{want}, f.runs); d != "" {
		t.Error(d)
	}
	r = s.post("/many", `{"l":[{"n":1},2,{"n":3}]}`)
	if r.status != 207 || strings.Count(r.body, "run_id") != 2 || strings.Count(r.body, "error") != 1 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := s.post("/start", `[`); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	s.post("/done?token=hunter1", `{"task_id":"a","password":"hunter2"}`, "Authorization", "Bearer hunter3")
	s.post("/done", `{"password":"hunter2"`)
	c := s.raw()
	s.exchange(c, "POST /hooks/done HTTP/1.1\r\nAuthorization hunter4\r\n\r\n")
	_ = c.Close()
	s.stop()
	if logs := s.logs.String(); strings.Contains(logs, "hunter") || !strings.Contains(logs, "request_id") {
		t.Error(logs)
	}
}
