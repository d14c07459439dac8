package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/switchbackhq/switchback/test/system"
)

// chapter runs an example of model-compose's chapter on system integration as it stands, but for addresses: the outside service is
// ours, and so is the port that callbacks come to.
type chapter struct {
	*system.Client
	t      *testing.T
	port   int
	runner *system.Process

	mu   sync.Mutex
	sent map[string][]map[string]any // to the outside service, by path
}

// replies are the outside service's answers by path: a status, and a body.
type replies map[string]func(body map[string]any, n int) (int, string)

func runChapter(t *testing.T, name, more string, r replies) *chapter {
	t.Helper()
	c := &chapter{t: t, port: system.FreePort(t), sent: map[string][]map[string]any{}}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		data, _ := io.ReadAll(q.Body)
		var body map[string]any
		_ = json.Unmarshal(data, &body)
		if body != nil {
			body["authorization"] = q.Header.Get("Authorization")
		}
		c.mu.Lock()
		c.sent[q.URL.Path] = append(c.sent[q.URL.Path], body)
		n := len(c.sent[q.URL.Path])
		c.mu.Unlock()
		status, text := http.StatusNotFound, "{}"
		if reply := r[q.URL.Path]; reply != nil {
			status, text = reply(body, n)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(outside.Close)
	source, err := os.ReadFile(filepath.Join("testdata", "chapter", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	conf := system.Write(t, "model-compose.yml", strings.NewReplacer(
		"https://api.external-service.com", outside.URL, "https://slack.com/api", outside.URL, "https://api.image-ai.com/v1", outside.URL,
		"https://api.imageoptim.com", outside.URL, "8090", strconv.Itoa(c.port), "0.0.0.0", "127.0.0.1", "OUTSIDE", outside.URL,
	).Replace(string(source)+more))
	nats := system.StartNATS(t)
	keys := []string{redelivery, "IMAGE_AI_KEY=image-key-1", "IMAGEOPTIM_KEY=optim-key-1", "SLACK_BOT_TOKEN=xoxb-slack-1"}
	if strings.Contains(string(source)+more, "listener:") {
		nats.Service("listener", conf, keys...).Ready()
	}
	c.runner = nats.Service("runner", conf, keys...).Ready()
	c.Client = system.Connect(t, nats.URL())
	kv, err := c.JS.KeyValue(t.Context(), "gateways")
	if err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf(`{"port":%d,"driver":"ngrok","public_url":"https://abc123.ngrok.io","status":"up"}`, c.port)
	if _, err := kv.Put(t.Context(), strconv.Itoa(c.port), []byte(status)); err != nil {
		t.Fatal(err)
	}
	return c
}

// got is what the outside service was sent last at a path.
func (c *chapter) got(path string) map[string]any {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.sent[path]
	if len(all) == 0 {
		c.t.Fatalf("nothing was sent to %s", path)
	}
	return all[len(all)-1]
}

func (c *chapter) callback(path, body string) {
	c.t.Helper()
	status, text, err := system.Post(c.t.Context(), fmt.Sprintf("http://127.0.0.1:%d%s", c.port, path), body)
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("callback: %d %s %v", status, text, err)
	}
}

func (c *chapter) output(run, want string) {
	c.t.Helper()
	if got := c.Await(run, "completed"); string(got.Output) != want {
		c.t.Errorf("output %s, want %s", got.Output, want)
	}
}

func answers(status int, body string) func(map[string]any, int) (int, string) {
	return func(map[string]any, int) (int, string) { return status, body }
}

// unnamed is the only workflow of a file that gives it no id.
const unnamed = "__workflow__"

func TestChapterExternalServiceWithGateway(t *testing.T) {
	c := runChapter(t, "ngrok", "", replies{"/process": answers(202, `{"task_id":"task-123","status":"queued"}`)})
	c.Ask(unnamed, "r", `{"data":[1,2]}`)
	c.Await("r", "waiting")
	body := c.got("/process")
	if body["callback_url"] != "https://abc123.ngrok.io/callback" || body["callback_id"] != "r.process" || fmt.Sprint(body["data"]) != "[1 2]" {
		t.Errorf("sent: %v", body)
	}
	c.callback("/callback", `{"task_id":"r.process","status":"completed","result":{"status":"done","rows":3}}`)
	c.output("r", `{"rows":3,"status":"done","task_id":"task-123"}`)
}

func TestChapterSlackBot(t *testing.T) {
	c := runChapter(t, "slack", "", replies{"/chat.postMessage": answers(200, `{"ok":true,"ts":"1"}`)})
	c.Ask(unnamed, "r", `{"event":{"channel":"C1","text":"안녕"}}`)
	c.output("r", `{"ok":true,"ts":"1"}`)
	if body := c.got("/chat.postMessage"); body["text"] != "처리 완료: 안녕" || body["channel"] != "C1" || body["authorization"] != "Bearer xoxb-slack-1" {
		t.Errorf("sent: %v", body)
	}
}

func TestChapterAsynchronousImages(t *testing.T) {
	c := runChapter(t, "images", "", replies{
		"/generate": answers(202, `{"task_id":"task-123","status":"pending"}`),
		"/optimize": answers(200, `{"url":"https://cdn/small.png","original_size":1000,"compressed_size":400}`),
	})
	c.Ask(unnamed, "r", `{"prompt":"a cat"}`)
	c.Await("r", "waiting")
	body := c.got("/generate")
	if body["size"] != "1024x1024" || body["prompt"] != "a cat" || body["task_id"] != "r.generate" ||
		body["callback_url"] != "https://abc123.ngrok.io/webhooks/image/completed" || body["authorization"] != "Bearer image-key-1" {
		t.Errorf("sent: %v", body)
	}
	c.callback("/webhooks/image/completed", `{"task_id":"r.generate","status":"completed","output":{"url":"https://ai/1.png","width":512,"height":256}}`)
	c.output("r", `{"compressed_size":400,"final_url":"https://cdn/small.png","original_size":1000,"savings":600}`)
	if body := c.got("/optimize"); body["url"] != "https://ai/1.png" || body["quality"] != float64(85) {
		t.Errorf("sent: %v", body)
	}
	run := c.Await("r", "completed")
	if got := string(run.Jobs["generate"].Output); got != `{"height":256,"image_url":"https://ai/1.png","task_id":"task-123","width":512}` {
		t.Errorf("the first job's output: %s", got)
	}

	c.Ask(unnamed, "bad", `{"prompt":"a dog"}`)
	c.Await("bad", "waiting")
	c.callback("/webhooks/image/completed", `{"task_id":"bad.generate","status":"error"}`)
	if run := c.Await("bad", "failed"); run.Error == nil || run.Error.Job != "generate" || run.Error.Code != "callback_failed" {
		t.Errorf("a failed callback: %+v", run.Error)
	}
}

func TestChapterTracing(t *testing.T) {
	c := runChapter(t, "tracing", "components: {external-api: {endpoint: OUTSIDE/work, body: {n: \"${input.n}\"}}}\n",
		replies{"/work": answers(200, `{"task_id":"task-9"}`)})
	c.Ask(unnamed, "r", `{"n":1}`)
	run := c.Await("r", "completed")
	var out struct {
		Time string `json:"request_time"`
		Task string `json:"task_id"`
	}
	if err := json.Unmarshal(run.Jobs["request"].Output, &out); err != nil || out.Task != "task-9" || !strings.Contains(out.Time, "T") {
		t.Errorf("the request's output: %s, %v", run.Jobs["request"].Output, err)
	}
	for _, want := range []string{"작업 요청: task_id=task-9", "작업 완료: task_id=task-9"} {
		if !strings.Contains(c.runner.Stderr(), want) {
			t.Errorf("the log does not say %q:\n%s", want, c.runner.Stderr())
		}
	}
}

func TestChapterErrors(t *testing.T) {
	c := runChapter(t, "on-error", "components: {async-service: {endpoint: OUTSIDE/work, body: {n: \"${input.n}\"}}}\n", replies{
		"/work": func(_ map[string]any, n int) (int, string) {
			if n < 3 {
				return 503, `{"busy":true}`
			}
			return 200, `{"ok":true}`
		},
	})
	c.Ask(unnamed, "r", `{"n":1}`)
	c.output("r", `{"ok":true}`)
	run := c.Await("r", "completed")
	if len(run.Jobs["async-task"].Attempts) != 1 || len(run.Jobs["retry"].Attempts) != 2 {
		t.Errorf("attempts: %+v", run.Jobs)
	}
}
