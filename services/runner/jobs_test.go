package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
)

const listenerAndService = `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
components:
  slow: {type: http-client, base_url: OUTSIDE, path: /slow, body: {ref: "${listener.id}", callback: "${listener.url}", what: "${input}"}}
  quick: {type: http-client, base_url: OUTSIDE, path: /quick, body: "${input}"}
`

// say sets what the outside service answers.
func (b *bench) say(f func(call) (int, string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

func echo(c call) (int, string) { return http.StatusOK, c.body }

func TestJobsThatDecide(t *testing.T) {
	b := begin(t, listenerAndService+`
workflow:
  id: decide
  jobs:
    - {id: size, type: if, input: "${input.n}", operator: gt, value: 10, if_true: big, if_false: kind}
    - {id: big, component: quick, input: {got: big}}
    - {id: kind, type: switch, input: "${input.kind}", cases: [{value: a, then: isa}, {value: 2, then: istwo}], otherwise: neither}
    - {id: isa, component: quick, input: {got: a}}
    - {id: istwo, component: quick, input: {got: two}}
    - {id: neither, type: random-router, routings: [{to: left, weight: 1}, {to: right, weight: 1}]}
    - {id: left, component: quick, input: {got: left}}
    - {id: right, component: quick, input: {got: right}}
`)
	b.say(echo)
	for input, want := range map[string]string{
		`{"n":11}`: `{"got":"big"}`, `{"n":10,"kind":"a"}`: `{"got":"a"}`, `{"n":1,"kind":"2"}`: `{"got":"two"}`, `{}`: "",
	} {
		id := fmt.Sprintf("d%d", len(input))
		b.ask("decide", id, input)
		run := b.status(id, event.StatusCompleted)
		if got := string(run.Output); got != want && (want != "" || got != `{"got":"left"}` && got != `{"got":"right"}`) {
			t.Errorf("%s gives %s, want %s", input, got, want)
		}
	}
}

func TestForEachItemWaits(t *testing.T) {
	b := begin(t, listenerAndService+`
workflow:
  id: fan
  jobs:
    - {id: keep, type: filter, input: "${input.list}", where: "${item.n > 1}"}
    - id: each
      type: for-each
      input: ${jobs.keep.output}
      batch_size: 2
      do: {component: slow, input: {n: "${item.n}", at: "${index}"}, output: {n: "${item.n}", url: "${output.url}"}}
    - {id: sum, component: quick, input: {all: "${jobs.each.output}"}}
`)
	b.say(func(c call) (int, string) {
		if c.path == "/quick" {
			return http.StatusOK, c.body
		}
		return http.StatusAccepted, `{}`
	})
	b.ask("fan", "f", `{"list":[{"n":1},{"n":2},{"n":3},{"n":4}]}`)
	b.await("f", "waiting for two items", func(r *event.Run) bool {
		return r.Jobs["each.i0"] != nil && r.Jobs["each.i0"].Status == event.StatusWaiting && r.Jobs["each.i1"] != nil && r.Jobs["each.i1"].Status == event.StatusWaiting
	})
	if n := len(b.called()); n != 2 {
		t.Errorf("%d items are under way, batch_size is 2", n)
	}
	b.callback("f.each.i1", event.Succeeded, `{"url":"u3"}`)
	b.await("f", "waiting for the third", func(r *event.Run) bool {
		return r.Jobs["each.i2"] != nil && r.Jobs["each.i2"].Status == event.StatusWaiting
	})
	b.callback("f.each.i2", event.Succeeded, `{"url":"u4"}`)
	b.callback("f.each.i0", event.Succeeded, `{"url":"u2"}`)
	run := b.status("f", event.StatusCompleted)
	if want := `{"all":[{"n":2,"url":"u2"},{"n":3,"url":"u3"},{"n":4,"url":"u4"}]}`; string(run.Output) != want {
		t.Errorf("output: %s, want %s", run.Output, want)
	}
	if got := b.called()[1].body; !strings.Contains(got, `"what":{"at":1,"n":3}`) && !strings.Contains(b.called()[0].body, `"what":{"at":1,"n":3}`) {
		t.Errorf("an item was sent %s", got)
	}
	t.Run("one that fails fails them all", func(t *testing.T) {
		b.ask("fan", "g", `{"list":[{"n":2},{"n":3}]}`)
		b.await("g", "waiting", func(r *event.Run) bool {
			return r.Jobs["each.i1"] != nil && r.Jobs["each.i1"].Status == event.StatusWaiting
		})
		b.callback("g.each.i1", event.Failed, `{"why":"x"}`)
		run := b.status("g", event.StatusFailed)
		if run.Error == nil || run.Error.Job != "each" || !strings.Contains(run.Error.Message, "item 1") || string(run.Error.Data) != `{"why":"x"}` {
			t.Errorf("error: %+v", run.Error)
		}
		if run.Jobs["each.i0"].Status != event.StatusCancelled {
			t.Errorf("the other item is %s", run.Jobs["each.i0"].Status)
		}
	})
}

func TestAWaitWithoutARequest(t *testing.T) {
	b := begin(t, `
workflow:
  id: approval
  jobs:
    - {id: approve, type: wait, timeout: 1h}
    - {id: several, type: wait, wait_for: ["${input.a}", "${input.b}", "${input.c}"], quorum: 2, depends_on: [approve]}
    - {id: nap, type: delay, duration: 300ms, depends_on: [several]}
  output: {approved: "${jobs.approve.output.by}", two: "${jobs.several.output}"}
`)
	b.ask("approval", "w", `{"a":"A","b":"B","c":"C"}`)
	b.status("w", event.StatusWaiting)
	b.callback("w.approve", event.Succeeded, `{"by":"kim"}`)
	b.await("w", "waiting for several", func(r *event.Run) bool {
		return r.Jobs["several"] != nil && r.Jobs["several"].Status == event.StatusWaiting
	})
	b.callback("C", event.Succeeded, `"c"`)
	b.callback("C", event.Succeeded, `"again"`)
	b.callback("A", event.Succeeded, `"a"`)
	run := b.status("w", event.StatusCompleted)
	if want := `{"approved":"kim","two":["a","c"]}`; string(run.Output) != want {
		t.Errorf("output: %s, want %s", run.Output, want)
	}
	nap := run.Jobs["nap"].Attempts[0]
	if nap.EndedAt.Sub(nap.StartedAt) < 300_000_000 {
		t.Errorf("the delay took %s", nap.EndedAt.Sub(nap.StartedAt))
	}
}

func TestHeartbeats(t *testing.T) {
	b := begin(t, `
workflow:
  id: alive
  jobs:
    - {id: hear, type: wait, heartbeat: 1h, timeout: 400ms}
`)
	b.ask("alive", "h", `{}`)
	run := b.status("h", event.StatusWaiting)
	first := run.Jobs["hear"].Attempts[0].Wait.Deadline
	b.callback("h.hear", event.Progress, `1`)
	b.await("h", "waiting longer", func(r *event.Run) bool { return r.Jobs["hear"].Attempts[0].Wait.Deadline.After(first) })
	b.callback("h.hear", event.Succeeded, `2`)
	if run := b.status("h", event.StatusCompleted); string(run.Output) != "2" {
		t.Errorf("output: %s", run.Output)
	}
}

func TestSubRuns(t *testing.T) {
	b := begin(t, listenerAndService+`
workflows:
  - id: parent
    jobs:
      - {id: call, type: workflow, workflow: child, input: {n: "${input.n}"}}
      - {id: after, component: quick, input: {child: "${jobs.call.output}"}}
    on_success: {workflow: note, input: {from: "${context.run_id}", output: "${output}"}}
  - id: child
    input: {n: {type: integer, required: true}}
    jobs:
      - {id: work, component: slow}
  - id: note
    jobs:
      - {id: tell, component: quick}
`)
	b.say(func(c call) (int, string) {
		if c.path == "/quick" {
			return http.StatusOK, c.body
		}
		return http.StatusAccepted, `{}`
	})
	b.ask("parent", "p", `{"n":7}`)
	b.status("p.call.run", event.StatusWaiting)
	b.callback("p.call.run.work", event.Succeeded, `{"done":true}`)
	run := b.status("p", event.StatusCompleted)
	if want := `{"child":{"done":true}}`; string(run.Output) != want {
		t.Errorf("output: %s, want %s", run.Output, want)
	}
	note := b.status("p.on-success", event.StatusCompleted)
	if want := `{"from":"p","output":{"child":{"done":true}}}`; string(note.Output) != want {
		t.Errorf("the hook's output: %s, want %s", note.Output, want)
	}
	t.Run("a child that is refused fails its parent", func(t *testing.T) {
		b.ask("parent", "q", `{"n":"seven"}`)
		run := b.status("q", event.StatusFailed)
		if run.Error == nil || !strings.Contains(run.Error.Message, "input n must be of type integer, and is ") {
			t.Errorf("error: %+v", run.Error)
		}
	})
	t.Run("a cancel reaches the child", func(t *testing.T) {
		b.ask("parent", "r", `{"n":8}`)
		b.status("r.call.run", event.StatusWaiting)
		if _, err := b.bus.Request(t.Context(), "run.command.r.cancel", nil, nil); err != nil {
			t.Fatal(err)
		}
		b.status("r", event.StatusCancelled)
		b.status("r.call.run", event.StatusCancelled)
	})
}

func TestPolling(t *testing.T) {
	b := begin(t, `
components:
  slow:
    type: http-client
    base_url: OUTSIDE
    path: /start
    headers: {Authorization: Bearer abc, Content-Type: text/xml}
    completion:
      type: polling
      path: /task/${response.id}
      status: ${result.state}
      success_when: [done]
      fail_when: [broken]
      interval: 100ms
      timeout: 20s
    output: {id: "${response.id}", url: "${result.url}"}
workflow:
  id: poll
  jobs: [{id: ask, component: slow}]
`)
	var polls atomic.Int32
	b.say(func(c call) (int, string) {
		if c.path == "/start" {
			return http.StatusAccepted, `{"id":"t1"}`
		}
		switch polls.Add(1) {
		case 1:
			return http.StatusOK, `{"state":"working"}`
		case 2:
			return http.StatusBadGateway, `no`
		default:
			return http.StatusOK, `{"state":"done","url":"u"}`
		}
	})
	b.ask("poll", "p", `{}`)
	run := b.status("p", event.StatusCompleted)
	if string(run.Output) != `{"id":"t1","url":"u"}` || polls.Load() != 3 {
		t.Errorf("output: %s after %d polls", run.Output, polls.Load())
	}
	for i, c := range b.called() { // a service that honours keys would give each poll the first one's answer
		if key := map[bool]string{true: "p.ask"}[i == 0]; c.key != key || c.auth != "Bearer abc" {
			t.Errorf("%s has the key %q and signs in by %q", c.path, c.key, c.auth)
		}
	}
	b.say(func(c call) (int, string) {
		if c.path == "/start" {
			return http.StatusAccepted, `{"id":"t2"}`
		}
		return http.StatusOK, `{"state":"broken","why":"x"}`
	})
	b.ask("poll", "q", `{}`)
	if run := b.status("q", event.StatusFailed); run.Error.Code != "polling_failed" || !strings.Contains(string(run.Error.Data), `"why":"x"`) {
		t.Errorf("error: %+v", run.Error)
	}
}

func TestALoopIsBounded(t *testing.T) {
	b := begin(t, listenerAndService+`
workflow:
  id: loop
  jobs:
    - {id: enter, type: if, condition: "${true}", if_true: try}
    - {id: try, component: quick, max_run_count: 3}
    - {id: check, type: if, depends_on: [try], condition: "${jobs.try.output.ok}", if_false: try}
`)
	var tries atomic.Int32
	b.say(func(call) (int, string) {
		return http.StatusOK, fmt.Sprintf(`{"ok":%v}`, tries.Add(1) == 2)
	})
	b.ask("loop", "l1", `{}`)
	run := b.status("l1", event.StatusCompleted)
	if n := len(run.Jobs["try"].Attempts); n != 2 || run.Jobs["check"].Round != 2 {
		t.Errorf("try ran %d times, check in round %d", n, run.Jobs["check"].Round)
	}
	tries.Store(10)
	b.ask("loop", "l2", `{}`)
	if run := b.status("l2", event.StatusFailed); run.Error.Code != "max_run_count" || len(run.Jobs["try"].Attempts) != 3 {
		t.Errorf("error: %+v after %d rounds", run.Error, len(run.Jobs["try"].Attempts))
	}
}

func TestComponentsOfNATS(t *testing.T) {
	b := begin(t, `
components:
  ask: {type: nats, subject: "ask.${input.who}", body: {n: "${input.n}"}, mode: request, timeout: 10s}
workflow:
  id: messages
  jobs: [{id: one, component: ask}]
`)
	stop, err := b.bus.Subscribe(t.Context(), "ask.*", "", func(_ context.Context, n *bus.Note) {
		_ = n.Respond(fmt.Appendf(nil, `{"subject":%q,"got":%s}`, n.Subject, n.Data))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	b.ask("messages", "m", `{"who":"kim","n":1}`)
	run := b.status("m", event.StatusCompleted)
	var got map[string]any
	if err := json.Unmarshal(run.Output, &got); err != nil || got["subject"] != "ask.kim" {
		t.Errorf("output: %s, %v", run.Output, err)
	}
}

func TestMessagesThatGoNowhere(t *testing.T) {
	b := begin(t, `
components:
  ask: {type: nats, subject: "${input.to}", mode: request, request_timeout: 50ms}
  wait: {type: nats, subject: "${input.to}", mode: request, timeout: 50ms}
  tell: {type: nats, subject: "${input.to}"}
workflows:
  wait: {job: {component: wait}}
  ask: {job: {component: ask}}
  tell: {job: {component: tell}}
`)
	stop, err := b.bus.Subscribe(t.Context(), "silent", "", func(context.Context, *bus.Note) {})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for id, tc := range map[string]struct{ workflow, to, code, want string }{
		"a": {"ask", "silent", "timeout", "nobody answered on silent within 50ms"},
		"d": {"wait", "silent", "timeout", ": nobody answered on silent"},
		"b": {"ask", "deserted", "request", "nobody answers on deserted"},
		"c": {"tell", "orders.>", "expression", `"orders.>" cannot be published to`},
	} {
		b.ask(tc.workflow, id, `{"to":"`+tc.to+`"}`)
		if run := b.status(id, event.StatusFailed); run.Error.Code != tc.code || !strings.Contains(run.Error.Message, tc.want) || id == "d" && strings.Contains(run.Error.Message, "within") {
			t.Errorf("%s: %+v", id, run.Error)
		}
	}
}

func TestOnErrorRunsOtherJobs(t *testing.T) {
	b := begin(t, listenerAndService+`
workflow:
  id: rescue
  jobs:
    - id: first
      component: quick
      input: {}
      on_error:
        - {id: second, component: quick, input: {again: true}, retry: {max_attempts: 3, delay: 50}}
    - {id: after, component: quick, depends_on: [first], input: {from: "${jobs.first.output}"}}
`)
	var calls atomic.Int32
	b.say(func(c call) (int, string) {
		if calls.Add(1) < 3 {
			return http.StatusInternalServerError, `{}`
		}
		return http.StatusOK, c.body
	})
	b.ask("rescue", "r", `{}`)
	run := b.status("r", event.StatusCompleted)
	if want := `{"from":{"again":true}}`; string(run.Output) != want {
		t.Errorf("output: %s, want %s", run.Output, want)
	}
}

func TestAFailedRunIsTriedAgain(t *testing.T) {
	b := begin(t, listenerAndService+`
workflow:
  id: again
  jobs:
    - {id: one, component: quick, input: {n: 1}}
    - {id: all, type: for-each, input: [1, 2, 3], do: {component: quick, input: {item: "${item}", one: "${jobs.one.output.n}"}}}
    - {id: last, component: slow, input: {all: "${jobs.all.output}"}}
`)
	var broken atomic.Bool
	broken.Store(true)
	recorded := make(chan struct{}) // the other items: what they were told is kept
	b.say(func(c call) (int, string) {
		if broken.Load() && strings.Contains(c.body, `"item":2`) {
			<-recorded
			return http.StatusInternalServerError, `{}`
		}
		return echo(c)
	})
	again := func() {
		t.Helper()
		if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "r", Workflow: "again", Retry: true}); err != nil {
			t.Fatal(err)
		}
	}
	b.ask("again", "r", `{}`)
	b.await("r", "two items done", func(r *event.Run) bool {
		first, third := r.Jobs["all.i0"], r.Jobs["all.i2"]
		return first != nil && third != nil && first.Status == event.StatusCompleted && third.Status == event.StatusCompleted
	})
	close(recorded)
	b.status("r", event.StatusFailed)
	again()
	b.await("r", "failed once more", func(r *event.Run) bool { return r.Status == event.StatusFailed && len(r.Jobs["all"].Attempts) == 2 })
	broken.Store(false)
	again()
	b.status("r", event.StatusWaiting)
	b.callback("r.last", event.Succeeded, `{"done":true}`)
	run := b.status("r", event.StatusCompleted)
	keys := map[string]int{}
	for _, c := range b.called() {
		keys[c.key]++
	}
	asked := map[string]int{"r.one": 1, "r.all.i0": 1, "r.all.i1": 1, "r.all.i1.2": 1, "r.all.i1.3": 1, "r.all.i2": 1, "r.last": 1}
	if !maps.Equal(keys, asked) {
		t.Errorf("the outside service was asked: %v, want %v", keys, asked)
	}
	if want := `[{"item":1,"one":1},{"item":2,"one":1},{"item":3,"one":1}]`; string(run.Jobs["all"].Output) != want {
		t.Errorf("the items' outputs: %s", run.Jobs["all"].Output)
	}
	again() // a run that has completed stays as it is
	b.ask("again", "s", `{}`)
	b.status("s", event.StatusWaiting)
	if run := b.status("r", event.StatusCompleted); run.RetriedBy == "" {
		t.Errorf("run: %+v", run)
	}
}

func TestNoWaitIsLeftOfASecondAttempt(t *testing.T) {
	b := begin(t, `
workflow:
  id: twice
  jobs: [{id: w, type: wait, wait_for: "c-${input.k}", timeout: 300ms, retry: {max_attempts: 2}}]
`)
	b.ask("twice", "r", `{"k":1}`)
	b.status("r", event.StatusFailed)
	// The message that ended the run ends its wait before it is acknowledged: then the id is free for another.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, err := b.bus.Bucket("waits").Get(ctx, "c-1")
		if errors.Is(err, bus.ErrNotFound) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			t.Fatalf("the wait still stands: %v", err)
		}
	}
	b.ask("twice", "s", `{"k":1}`)
	b.status("s", event.StatusWaiting)
	b.callback("c-1", event.Succeeded, `"now"`)
	if run := b.status("s", event.StatusCompleted); string(run.Output) != `"now"` {
		t.Errorf("output: %s", run.Output)
	}
}
