package runner_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		serve()
	}
	goleak.VerifyTestMain(m)
}

const patience = 2 * time.Minute // it ends only a test that has failed

// bench is a runner on an embedded server, and an outside service.
type bench struct {
	t   *testing.T
	bus *bus.Bus
	url string // of the outside service

	config   runner.Config
	getenv   func(string) (string, bool) // of the runners; nil: no variable is set
	registry *prometheus.Registry        // of the runner that was started last
	runner   *runner.Runner              // the one that was started last
	stop     func()                      // stops the first runner

	mu    sync.Mutex
	calls []call
	// answer gives an outside service's status and body; nil: 202 and the key as task.
	answer func(call) (int, string)
}

type call struct {
	path, key, auth, body string
}

// begin starts a runner for a compose file, in which OUTSIDE stands for the outside service's address.
func begin(t *testing.T, file string) *bench {
	t.Helper()
	return beginOn(t, connect(t, bustest.Start(t)), file, runner.Config{})
}

// beginOn is begin for a NATS that is there already.
func beginOn(t *testing.T, on *bus.Bus, file string, config runner.Config) *bench {
	t.Helper()
	b := &bench{t: t, bus: on, config: config}
	outside := httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(outside.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	b.url = outside.URL
	b.stop = b.start(file)
	return b
}

// provisioned is how the streams are laid out: what a killed runner held comes again soon.
var provisioned = bus.Layout{AckWait: 2 * time.Second}

func connect(t *testing.T, server *bustest.Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	if err := b.Provision(t.Context(), provisioned); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) document(file string) *compose.Document {
	b.t.Helper()
	doc, err := compose.Parse([]byte(strings.ReplaceAll(file, "OUTSIDE", b.url)), func(string) (string, bool) { return "", false })
	if err != nil {
		b.t.Fatal(err)
	}
	return doc
}

// start runs another runner until the test ends, or until stop is called.
func (b *bench) start(file string) (stop func()) {
	b.t.Helper()
	doc := b.document(file)
	b.config.ShutdownGrace = cmp.Or(b.config.ShutdownGrace, 2*time.Second)
	b.config.OrphanGrace = cmp.Or(b.config.OrphanGrace, time.Nanosecond)
	b.registry = prometheus.NewRegistry()
	getenv := b.getenv
	if getenv == nil {
		getenv = func(string) (string, bool) { return "", false }
	}
	r := runner.New(b.config, runner.Deps{Bus: b.bus, Document: doc, Registry: b.registry, Getenv: getenv})
	b.runner = r
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the runner: %v", err)
		}
	})
	b.t.Cleanup(stop)
	select {
	case <-r.Ready():
	case err := <-done:
		b.t.Fatalf("the runner: %v", err)
	}
	return stop
}

func (b *bench) serve(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	c := call{path: r.URL.Path, key: r.Header.Get("Idempotency-Key"), auth: r.Header.Get("Authorization"), body: string(data)}
	b.mu.Lock()
	b.calls = append(b.calls, c)
	answer := b.answer
	b.mu.Unlock()
	status, body := http.StatusAccepted, fmt.Sprintf(`{"task":%q}`, c.key)
	if answer != nil {
		status, body = answer(c)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (b *bench) called() []call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]call(nil), b.calls...)
}

func (b *bench) ask(workflow, id, input string) {
	b.t.Helper()
	_, err := b.bus.PublishRunRequest(b.t.Context(), &event.RunRequest{RunID: id, MsgID: id, Workflow: workflow, Input: json.RawMessage(input)})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) callback(id string, outcome event.Outcome, result string) {
	b.t.Helper()
	if _, err := b.bus.PublishCallback(b.t.Context(), &event.Callback{ID: id, Outcome: outcome, Result: json.RawMessage(result)}); err != nil {
		b.t.Fatal(err)
	}
}

// await waits until a run's document satisfies f.
func (b *bench) await(id, what string, f func(*event.Run) bool) *event.Run {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var last, found *event.Run
	err := b.bus.Bucket(subject.BucketRuns).Watch(ctx, subject.Key(id), func(e *bus.Entry) {
		if e == nil || e.Deleted || found != nil {
			return
		}
		run := new(event.Run)
		if err := json.Unmarshal(e.Value, run); err != nil {
			b.t.Errorf("run %s: %v", id, err)
		}
		if last = run; f(run) {
			found = run
			cancel()
		}
	})
	if found == nil {
		data, _ := json.Marshal(last)
		b.t.Fatalf("run %s is not %s: %v: %s", id, what, errors.Join(err, ctx.Err()), data)
	}
	return found
}

// dead waits until a message has been given up, and gives what is kept of it.
func (b *bench) dead(kind, id string) (dead event.Dead) {
	b.t.Helper()
	bustest.Eventually(b.t, kind+" "+id+" is among the dead", func() bool {
		m, err := b.bus.Last(b.t.Context(), subject.StreamDead, subject.Dead(kind, id))
		if err != nil {
			return false
		}
		if err := json.Unmarshal(m.Data, &dead); err != nil {
			b.t.Fatal(err)
		}
		return true
	})
	return dead
}

func (b *bench) status(id string, s event.Status) *event.Run {
	b.t.Helper()
	return b.await(id, string(s), func(r *event.Run) bool { return r.Status == s })
}

const asynchronous = `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
components:
  outside:
    type: http-client
    base_url: OUTSIDE
    path: /work
    body: {callback: "${listener.url}", ref: "${context.run_id}", n: "${input.n}"}
workflow:
  id: work
  jobs:
    - {id: ask, component: outside}
`

func TestARunSleepsUntilItsCallback(t *testing.T) {
	b := begin(t, asynchronous)
	b.ask("work", "r1", `{"n":12345678901234567890}`)
	run := b.status("r1", event.StatusWaiting)
	calls := b.called()
	if len(calls) != 1 || calls[0].key != "r1.ask" || calls[0].body != `{"callback":"http://callbacks.example/done","n":12345678901234567890,"ref":"r1.ask"}` {
		t.Errorf("the outside service was sent %+v", calls)
	}
	if w := run.Jobs["ask"].Attempts[0].Wait; w == nil || w.ID != "r1.ask" || w.Deadline.Sub(w.Since) < 23*time.Hour {
		t.Errorf("wait: %+v", w)
	}
	b.callback("r1.ask", event.Progress, `{"percent":50}`)
	run = b.await("r1", "progressing", func(r *event.Run) bool { return r.Jobs["ask"].Progress != nil })
	if string(run.Jobs["ask"].Progress) != `{"percent":50}` || run.Status != event.StatusWaiting {
		t.Errorf("progress: %s, %s", run.Jobs["ask"].Progress, run.Status)
	}
	b.callback("r1.ask", event.Succeeded, `{"url":"u"}`)
	run = b.status("r1", event.StatusCompleted)
	if string(run.Output) != `{"task":"r1.ask","url":"u"}` {
		t.Errorf("output: %s", run.Output)
	}
	b.callback("r1.ask", event.Failed, ``)
	b.ask("work", "r2", `{}`)
	b.status("r2", event.StatusWaiting)
	if run := b.status("r1", event.StatusCompleted); run.Error != nil {
		t.Errorf("a late callback changed the run: %+v", run)
	}
}

func TestAskingTwiceStartsOneRun(t *testing.T) {
	b := begin(t, asynchronous)
	for range 3 {
		b.ask("work", "message", `{}`) // one message id
		if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "named", Workflow: "work"}); err != nil {
			t.Fatal(err) // one run id, and no message id
		}
	}
	b.ask("work", "other", `{}`)
	for _, id := range []string{"message", "named", "other"} {
		b.status(id, event.StatusWaiting)
	}
	keys := map[string]int{}
	for _, c := range b.called() {
		keys[c.key]++
	}
	if len(keys) != 3 || keys["message.ask"] != 1 || keys["named.ask"] != 1 {
		t.Errorf("the outside service was asked: %v", keys)
	}
}

// TestOneRunOfRequestsAtTheSameMoment: they name one run, and are different messages to the stream, as they come from
// askers that know nothing of each other.
func TestOneRunOfRequestsAtTheSameMoment(t *testing.T) {
	b := begin(t, asynchronous)
	b.stop()
	const runs = 20
	for i := range runs {
		id := fmt.Sprint("r", i)
		for _, message := range []string{id, id + "-2", ""} {
			req := event.RunRequest{RunID: id, Workflow: "work", MsgID: message}
			if _, err := b.bus.PublishRunRequest(t.Context(), &req); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.start(asynchronous)
	keys := map[string]int{}
	for i := range runs {
		b.status(fmt.Sprint("r", i), event.StatusWaiting)
	}
	for _, c := range b.called() {
		if keys[c.key]++; keys[c.key] > 1 {
			t.Errorf("the outside service was asked %d times for %s", keys[c.key], c.key)
		}
	}
}

func TestTheFinalDocumentIsSentToTheAsker(t *testing.T) {
	b := begin(t, asynchronous)
	got := make(chan *bus.Note, 4)
	stop, err := b.bus.Subscribe(t.Context(), "answers.here", "", func(_ context.Context, n *bus.Note) { got <- n })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "asked", Workflow: "work", ReplyTo: "answers.here"}); err != nil {
		t.Fatal(err)
	}
	b.status("asked", event.StatusWaiting)
	b.callback("asked.ask", event.Failed, `{"why":"no paint"}`)
	select {
	case n := <-got:
		var run event.Run
		if err := json.Unmarshal(n.Data, &run); err != nil || run.ID != "asked" || run.Status != event.StatusFailed {
			t.Errorf("answer: %s, %v", n.Data, err)
		}
		if run.Error == nil || string(run.Error.Data) != `{"why":"no paint"}` {
			t.Errorf("error: %+v", run.Error)
		}
	case <-time.After(patience):
		t.Fatal("no answer")
	}
}

func TestBadRequestsAreRejectedWithTheirReason(t *testing.T) {
	b := begin(t, asynchronous)
	for id, tc := range map[string]struct{ workflow, input, reason string }{
		"x1": {"nowhere", `{}`, `there is no workflow "nowhere": there are work`},
		"x0": {"works", `{}`, `there is no workflow "works": did you mean work?`},
		"x2": {"work", `[1]`, "the input is not a JSON object"},
		"x3": {"work", `{`, "the input is not JSON"},
	} {
		b.ask(tc.workflow, id, tc.input)
		run := b.status(id, event.StatusRejected)
		if run.Error == nil || !strings.Contains(run.Error.Message, tc.reason) {
			t.Errorf("%s: %+v", id, run.Error)
		}
		if dead := b.dead("request", tc.workflow); dead.Reason == "" {
			t.Errorf("%s: %+v", id, dead)
		}
	}
}

func TestDeadlines(t *testing.T) {
	b := begin(t, strings.Replace(asynchronous, "path: /work", "path: /work\n    timeout: 300", 1))
	b.ask("work", "late", `{}`)
	run := b.status("late", event.StatusFailed)
	if run.Error == nil || run.Error.Code != "timeout" || run.Error.Job != "ask" {
		t.Errorf("error: %+v", run.Error)
	}
	if at := run.Jobs["ask"].Attempts[0]; at.Wait == nil || at.Wait.ResumedBy == nil || !at.Wait.ResumedBy.Timeout || run.EndedAt.Before(at.Wait.Deadline) {
		t.Errorf("attempt: %+v", at)
	}
}

func TestRetries(t *testing.T) {
	b := begin(t, strings.Replace(asynchronous, "component: outside", "component: outside, retry: {max_attempts: 3, delay: 100}", 1))
	b.mu.Lock()
	b.answer = func(c call) (int, string) {
		if c.key == "again.ask.3" {
			return http.StatusAccepted, `{}`
		}
		return http.StatusServiceUnavailable, `{"busy":true}`
	}
	b.mu.Unlock()
	b.ask("work", "again", `{}`)
	b.status("again", event.StatusWaiting)
	b.await("again", "at its third attempt", func(r *event.Run) bool {
		at := r.Jobs["ask"].Attempts
		return len(at) == 3 && at[2].Wait != nil
	})
	b.callback("again.ask.3", event.Succeeded, `{"ok":true}`)
	run := b.status("again", event.StatusCompleted)
	if at := run.Jobs["ask"].Attempts; at[0].Error == nil || at[0].Error.Code != "http_503" || at[1].Requests[0].Status != 503 {
		t.Errorf("attempts: %+v %+v", at[0].Error, at[1].Requests)
	}
}

func TestCancel(t *testing.T) {
	b := begin(t, asynchronous)
	cancel := func(id string) string {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		data, err := b.bus.Request(ctx, subject.RunCancel(id), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	t.Run("while it waits", func(t *testing.T) {
		b.ask("work", "c1", `{}`)
		b.status("c1", event.StatusWaiting)
		if got := cancel("c1"); !strings.Contains(got, `"status":"cancelled"`) {
			t.Errorf("answer: %s", got)
		}
		b.status("c1", event.StatusCancelled)
		b.callback("c1.ask", event.Succeeded, `1`)
	})
	t.Run("while it asks", func(*testing.T) {
		asked, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		b.mu.Lock()
		b.answer = func(call) (int, string) {
			close(asked)
			<-release
			return http.StatusAccepted, `{}`
		}
		b.mu.Unlock()
		b.ask("work", "c2", `{}`)
		<-asked
		b.status("c2", event.StatusRunning)
		cancel("c2")
		b.status("c2", event.StatusCancelled)
	})
	t.Run("what is not there", func(t *testing.T) {
		if got := cancel("nobody"); !strings.Contains(got, `"code":"not_found"`) {
			t.Errorf("answer: %s", got)
		}
	})
	if run := b.status("c1", event.StatusCancelled); run.Output != nil {
		t.Errorf("a callback after the cancel changed the run: %s", run.Output)
	}
}

func TestAStopHandsTheWorkToAnother(t *testing.T) {
	b := begin(t, asynchronous)
	release := make(chan struct{})
	var once sync.Once
	asked := make(chan struct{})
	b.mu.Lock()
	b.answer = func(c call) (int, string) {
		first := false
		once.Do(func() { first = true })
		if first {
			close(asked)
			<-release
		}
		return http.StatusAccepted, fmt.Sprintf(`{"task":%q}`, c.key)
	}
	b.mu.Unlock()
	defer close(release)
	second := b.start(asynchronous)
	b.ask("work", "moved", `{}`)
	<-asked
	// One of the two has it: both are stopped in turn, and a third is there.
	b.start(asynchronous)
	second()
	_ = second
	run := b.await("moved", "begun", func(r *event.Run) bool { return len(r.Jobs) > 0 })
	if run.Jobs["ask"].Attempts[0].Number != 1 {
		t.Errorf("attempts: %+v", run.Jobs["ask"].Attempts)
	}
}

func TestJobsInOrder(t *testing.T) {
	b := begin(t, `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
components:
  slow: {type: http-client, base_url: OUTSIDE, path: /slow, body: {ref: "${listener.id}", callback: "${listener.url}", what: "${input.what}"}}
  quick: {type: http-client, base_url: OUTSIDE, path: /quick, body: {url: "${input.url}"}, output: {size: "${response.size}"}}
workflow:
  id: chain
  jobs:
    - {id: make, component: slow, input: {what: "${input.what | picture}"}, output: {url: "${output.url}"}}
    - {id: shrink, component: quick, input: {url: "${jobs.make.output.url}"}, output: {saved: "${output.size - 10}", url: "${jobs.make.output.url}"}}
    - {id: note, component: logger, input: {message: "saved ${output.saved}"}}
  output: {result: "${jobs.shrink.output}"}
`)
	b.mu.Lock()
	b.answer = func(c call) (int, string) {
		if c.path == "/quick" {
			return http.StatusOK, `{"size":100}`
		}
		return http.StatusAccepted, `{}`
	}
	b.mu.Unlock()
	b.ask("chain", "r1", `{}`)
	b.status("r1", event.StatusWaiting)
	b.callback("r1.make", event.Succeeded, `{"url":"http://x/1"}`)
	run := b.status("r1", event.StatusCompleted)
	if string(run.Output) != `{"result":{"saved":90,"url":"http://x/1"}}` {
		t.Errorf("output: %s", run.Output)
	}
	if got := string(run.Jobs["note"].Input); got != `{"message":"saved 90"}` {
		t.Errorf("note: %s", got)
	}
	calls := b.called()
	if len(calls) != 2 || calls[0].body != `{"callback":"http://callbacks.example/done","ref":"r1.make","what":"picture"}` || calls[1].body != `{"url":"http://x/1"}` {
		t.Errorf("the outside service was sent %+v", calls)
	}
}
