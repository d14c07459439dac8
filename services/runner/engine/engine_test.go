package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// after is a moment of the test's clock.
func after(d time.Duration) time.Time { return t0.Add(d) }

func template(t testing.TB, v any) *expr.Template {
	t.Helper()
	rules := expr.Rules{Sources: map[string]expr.Arg{}}
	for _, s := range []string{"input", "output", "jobs", "context", "listener", "error", "response", "result"} {
		rules.Sources[s] = expr.NoArg
	}
	tpl, problems := expr.Compile(v, rules)
	if len(problems) > 0 {
		t.Fatalf("compile %v: %v", v, problems)
	}
	return tpl
}

// component is an asynchronous component.
func component(timeout time.Duration) *compose.Component {
	return &compose.Component{ID: "api", Type: compose.HTTPClient, Actions: map[string]*compose.Action{
		"run": {
			ID: "run", Component: "api", Type: compose.HTTPClient, Timeout: timeout,
			Completion: compose.Completion{Kind: compose.CompleteCallback, OwnID: true},
		},
	}}
}

func job(id string, needs ...string) *compose.Job {
	j := &compose.Job{ID: id, Type: compose.JobComponent, Component: "api", Action: "run", Retry: compose.Retry{MaxAttempts: 1}}
	for _, n := range needs {
		j.Needs = append(j.Needs, []string{n})
	}
	return j
}

func world(c *compose.Component, jobs ...*compose.Job) engine.World {
	return engine.World{Document: &compose.Document{
		Components: map[string]*compose.Component{"api": c},
		Workflows:  []*compose.Workflow{{ID: "w", Jobs: jobs}},
	}}
}

func requested(at time.Time) engine.Requested {
	return engine.Requested{
		Request:    event.RunRequest{RunID: "r", Workflow: "w", Input: json.RawMessage(`{"n":1}`), Seq: 7, RequestedAt: at},
		Definition: "d", Trigger: "request:7", At: at,
	}
}

func responded(job string, attempt int, at time.Time) engine.Acted {
	return engine.Acted{
		Job: job, Attempt: attempt, Trigger: "request:7", At: at, Input: json.RawMessage(`{"n":1}`),
		Output: json.RawMessage(`{"task":"x"}`), Wait: &engine.Wait{ID: event.InvocationID("r", job, attempt)},
	}
}

func callback(id string, seq uint64, outcome event.Outcome, result string, at time.Time) engine.CalledBack {
	return engine.CalledBack{
		Callback: event.Callback{ID: id, Seq: seq, Outcome: outcome, Result: json.RawMessage(result)},
		Trigger:  fmt.Sprintf("callback:%d", seq), At: at,
	}
}

// play advances a run by events, and gives it with the last event's commands.
func play(t *testing.T, w engine.World, events ...engine.Event) (*event.Run, []engine.Command) {
	t.Helper()
	var run *event.Run
	var commands []engine.Command
	for i, ev := range events {
		before, _ := json.Marshal(run)
		next, cmds, err := engine.Advance(w, run, ev)
		if err != nil {
			t.Fatalf("event %d, %T: %v", i, ev, err)
		}
		if still, _ := json.Marshal(run); string(still) != string(before) {
			t.Fatalf("event %d, %T changed the run that it was given:\n%s\n%s", i, ev, before, still)
		}
		run, commands = next, cmds
	}
	return run, commands
}

// brief writes commands without the notices.
func brief(commands []engine.Command) []string {
	out := []string{}
	for _, c := range commands {
		switch c := c.(type) {
		case engine.Act:
			out = append(out, fmt.Sprintf("act %s until %s", c.ID, c.Deadline.Sub(t0)))
		case engine.Park:
			out = append(out, fmt.Sprintf("park %s until %s used %d", c.Wait.ID, c.Wait.Deadline.Sub(t0), c.Wait.Used))
		case engine.Sleep:
			out = append(out, fmt.Sprintf("sleep %s until %s", c.Wait.ID, c.Wait.Deadline.Sub(t0)))
		case engine.End:
			out = append(out, fmt.Sprintf("end %s used %d", c.Wait.ID, c.Used))
		case engine.Acquire:
			asks := fmt.Sprintf("acquire %d of %d", c.Turn.Number, c.Limit)
			if c.Rung {
				asks += ", rung for"
			}
			out = append(out, asks)
		case engine.Release:
			out = append(out, fmt.Sprintf("release %d", c.Turn.Number))
		case engine.Finish:
			out = append(out, "finish")
		}
	}
	return out
}

func states(run *event.Run) string {
	out := []string{string(run.Status)}
	for _, id := range []string{"a", "b", "c", "x", "y"} {
		if j := run.Jobs[id]; j != nil {
			out = append(out, id+"="+string(j.Status))
		}
	}
	return strings.Join(out, " ")
}

func TestAdvance(t *testing.T) {
	second := time.Second
	retrying := func(n int, delay time.Duration) *compose.Job {
		j := job("a")
		j.Retry = compose.Retry{MaxAttempts: n, Delay: delay, Backoff: "fixed"}
		return j
	}
	with := func(j *compose.Job, f func(*compose.Job)) *compose.Job { f(j); return j }
	routed := func(id string) *compose.Job { return with(job(id), func(j *compose.Job) { j.RoutedOnly = true }) }
	boom := engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Err: &engine.Error{Code: "http_500", Message: "no"}}

	for _, tc := range []struct {
		name     string
		world    engine.World
		events   []engine.Event
		states   string
		commands []string
		output   string
		err      string
	}{
		{
			name: "a request starts the jobs that need nothing", world: world(component(0), job("a"), job("b"), job("c", "a")),
			events: []engine.Event{requested(t0)}, states: "running a=running b=running",
			commands: []string{"act r.a until 24h0m0s", "act r.b until 24h0m0s"},
		},
		{
			name: "a response that is to be called back waits", world: world(component(0), job("a")),
			events:   []engine.Event{requested(t0), responded("a", 1, after(second))},
			states:   "waiting a=waiting",
			commands: []string{"park r.a until 24h0m0s used 0"},
		},
		{
			name:   "a wait's time where the file gives none may be set",
			world:  func() engine.World { w := world(component(0), job("a")); w.WaitTimeout = time.Hour; return w }(),
			events: []engine.Event{requested(t0), responded("a", 1, after(second))}, states: "waiting a=waiting",
			commands: []string{"park r.a until 1h0m0s used 0"},
		},
		{
			name: "the component's timeout bounds the wait", world: world(component(time.Minute), job("a")),
			events: []engine.Event{requested(t0), responded("a", 1, after(second))}, states: "waiting a=waiting",
			commands: []string{"park r.a until 1m0s used 0"},
		},
		{
			name: "the job's timeout bounds it", world: world(component(time.Minute), with(job("a"), func(j *compose.Job) { j.Timeout = 30 * second })),
			events: []engine.Event{requested(t0), responded("a", 1, after(second))}, states: "waiting a=waiting",
			commands: []string{"park r.a until 30s used 0"},
		},
		{
			name: "the callback completes the run, its result over the output", world: world(component(0), job("a")),
			events:   []engine.Event{requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `{"url":"u"}`, after(2*second))},
			states:   "completed a=completed",
			commands: []string{"end r.a used 9", "finish"}, output: `{"task":"x","url":"u"}`,
		},
		{
			name: "a result that is no object stands alone", world: world(component(0), job("a")),
			events:   []engine.Event{requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `"u"`, after(2*second))},
			states:   "completed a=completed",
			commands: []string{"end r.a used 9", "finish"}, output: `"u"`,
		},
		{
			name: "progress is noted and the wait goes on", world: world(component(0), job("a")),
			events:   []engine.Event{requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Progress, `50`, after(2*second))},
			states:   "waiting a=waiting",
			commands: []string{},
		},
		{
			name: "a second callback changes nothing", world: world(component(0), job("a"), job("b")),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `1`, after(2*second)),
				callback("r.a", 10, event.Failed, `2`, after(2*second)),
			},
			states: "running a=completed b=running", commands: []string{},
		},
		{
			name: "the same callback again repeats what it has set off", world: world(component(0), job("a"), job("b", "a")),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `1`, after(2*second)),
				callback("r.a", 9, event.Succeeded, `1`, after(3*second)),
			},
			states: "running a=completed b=running", commands: []string{"end r.a used 9", "act r.b until 24h0m2s"},
		},
		{
			name: "a request again repeats only what it has set off", world: world(component(0), job("a"), job("b"), job("c", "a")),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `1`, after(2*second)),
				engine.Redelivered{Trigger: "request:7", At: after(3 * second)},
			},
			states: "running a=completed b=running c=running", commands: []string{"act r.b until 24h0m0s"},
		},
		{
			name: "a failure fails the run and ends the others' waits", world: world(component(0), job("a"), job("b")),
			events: []engine.Event{
				requested(t0), responded("b", 1, after(second)), callback("r.a", 8, event.Failed, `1`, after(second)), // not waiting yet
				boom,
			},
			states: "failed a=failed b=cancelled", commands: []string{"end r.b used 0", "finish"}, err: "http_500: no (a)",
		},
		{
			name: "a failed callback keeps its message and its data", world: world(component(0), job("a")),
			events: []engine.Event{requested(t0), responded("a", 1, after(second)), engine.CalledBack{
				Callback: event.Callback{ID: "r.a", Seq: 9, Outcome: event.Failed, Error: "out of paint", Result: json.RawMessage(`{"code":5}`)}, Trigger: "c", At: after(second),
			}},
			states: "failed a=failed", commands: []string{"end r.a used 9", "finish"}, err: `callback_failed: out of paint (a) {"code":5}`,
		},
		{
			name: "the next attempt has its own id", world: world(component(0), retrying(2, 0)),
			events: []engine.Event{requested(t0), boom}, states: "running a=running",
			commands: []string{"act r.a.2 until 24h0m1s"},
		},
		{
			name: "the pause before it is a timer", world: world(component(0), retrying(2, 5*second)),
			events: []engine.Event{requested(t0), boom}, states: "waiting a=waiting",
			commands: []string{"sleep r.a.retry.2 until 6s"},
		},
		{
			name: "the timer begins it", world: world(component(0), retrying(2, 5*second)),
			events: []engine.Event{requested(t0), boom, engine.Expired{ID: "r.a.retry.2", Seq: 3, Trigger: "timeout:3", At: after(6 * second)}},
			states: "running a=running", commands: []string{"act r.a.2 until 24h0m6s"},
		},
		{
			name: "the timer again repeats it", world: world(component(0), retrying(2, 5*second)),
			events: []engine.Event{
				requested(t0), boom,
				engine.Expired{ID: "r.a.retry.2", Seq: 3, Trigger: "timeout:3", At: after(6 * second)},
				engine.Expired{ID: "r.a.retry.2", Seq: 3, Trigger: "timeout:3", At: after(7 * second)},
			},
			states: "running a=running", commands: []string{"act r.a.2 until 24h0m6s"},
		},
		{
			name: "an earlier attempt's wait stands with the last one's", world: world(component(time.Minute), retrying(2, 0)),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)),
				engine.Expired{ID: "r.a", Seq: 3, Trigger: "timeout:3", At: after(time.Minute)},
				responded("a", 2, after(61*second)),
			},
			states: "waiting a=waiting", commands: []string{"park r.a.2 until 2m0s used 0", "park r.a until 2m0s used 0"},
		},
		{
			name: "and its callback counts", world: world(component(time.Minute), retrying(2, 0)),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)),
				engine.Expired{ID: "r.a", Seq: 3, Trigger: "timeout:3", At: after(time.Minute)},
				responded("a", 2, after(61*second)), callback("r.a", 9, event.Succeeded, `"late"`, after(62*second)),
			},
			states: "completed a=completed", commands: []string{"end r.a.2 used 0", "end r.a used 9", "finish"}, output: `"late"`,
		},
		{
			name:  "a callback is used once, also by the next attempt for the same id",
			world: world(component(0), retrying(2, 0)),
			events: []engine.Event{
				requested(t0),
				engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Wait: &engine.Wait{ID: "task"}},
				callback("task", 9, event.Failed, ``, after(second)),
				engine.Acted{Job: "a", Attempt: 2, Trigger: "callback:9", At: after(second), Wait: &engine.Wait{ID: "task"}},
			},
			states: "waiting a=waiting", commands: []string{"park task until 24h0m1s used 9"},
		},
		{
			name: "a deadline fails the job", world: world(component(time.Minute), job("a")),
			events: []engine.Event{requested(t0), responded("a", 1, after(second)), engine.Expired{ID: "r.a", Seq: 3, Trigger: "timeout:3", At: after(time.Hour)}},
			states: "failed a=failed", commands: []string{"end r.a used 0", "finish"}, err: "timeout: no callback for r.a came until 2026-01-02 03:05:05 UTC (a)",
		},
		{
			name: "a deadline names what has not come", world: world(component(time.Minute), job("a")),
			events: []engine.Event{
				requested(t0),
				engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Wait: &engine.Wait{ID: "one", More: []string{"two", "three"}}},
				callback("one", 9, event.Succeeded, `{}`, after(2*second)),
				engine.Expired{ID: "three", Seq: 10, Trigger: "timeout:10", At: after(time.Hour)},
			},
			states: "failed a=failed", commands: []string{"end one used 9", "end two used 0", "end three used 0", "finish"},
			err: "timeout: only 1 of 3 callbacks came until 2026-01-02 03:05:05 UTC, and none for two, three (a)",
		},
		{
			name: "a deadline says how many have come for one id", world: world(component(time.Minute), job("a")),
			events: []engine.Event{
				requested(t0),
				engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Wait: &engine.Wait{ID: "one", Quorum: 2}},
				callback("one", 9, event.Succeeded, `{}`, after(2*second)),
				engine.Expired{ID: "one", Seq: 10, Trigger: "timeout:10", At: after(time.Hour)},
			},
			states: "failed a=failed", commands: []string{"end one used 9", "finish"},
			err: "timeout: only 1 of 2 callbacks for one came until 2026-01-02 03:05:05 UTC (a)",
		},
		{
			name:  "a callback for any of an earlier attempt's ids still counts",
			world: world(component(time.Minute), retrying(2, 0)),
			events: []engine.Event{
				requested(t0),
				engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Wait: &engine.Wait{ID: "one", More: []string{"two"}, Quorum: 1}},
				engine.Expired{ID: "two", Seq: 8, Trigger: "timeout:8", At: after(time.Minute)},
				responded("a", 2, after(61*second)), callback("one", 9, event.Succeeded, `{}`, after(62*second)),
			},
			states: "completed a=completed", commands: []string{"end r.a.2 used 0", "end one used 9", "end two used 0", "finish"}, output: `{}`,
		},
		{
			name: "a timer of an earlier deadline makes the wait again", world: world(component(time.Minute), job("a")),
			events: []engine.Event{requested(t0), responded("a", 1, after(second)), engine.Expired{ID: "r.a", Seq: 3, Trigger: "timeout:3", At: after(30 * second)}},
			states: "waiting a=waiting", commands: []string{"park r.a until 1m0s used 0"},
		},
		{
			name:  "the job's own time leaves none for another attempt",
			world: world(component(0), with(retrying(3, 0), func(j *compose.Job) { j.Timeout = 10 * second })),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), engine.Expired{ID: "r.a", Seq: 3, Trigger: "timeout:3", At: after(10 * second)},
			},
			states: "failed a=failed", commands: []string{"end r.a used 0", "finish"}, err: "timeout: no callback for r.a came until 2026-01-02 03:04:15 UTC: the job's timeout of 10s is over (a)",
		},
		{
			name: "an error says that it was the run's time that is over",
			world: func() engine.World {
				w := world(component(0), job("a"))
				w.Document.Workflows[0].Timeout = 10 * second
				return w
			}(),
			events: []engine.Event{requested(t0), responded("a", 1, after(second)), engine.Expired{ID: "r.a", Seq: 3, Trigger: "timeout:3", At: after(10 * second)}},
			states: "failed a=failed", commands: []string{"end r.a used 0", "finish"},
			err: "timeout: no callback for r.a came until 2026-01-02 03:04:15 UTC: the run's timeout of 10s is over (a)",
		},
		{
			name: "a cancel ends everything", world: world(component(0), job("a"), retrying(2, 5*second), job("c")),
			events:   []engine.Event{requested(t0), responded("c", 1, after(second)), engine.Cancelled{At: after(2 * second), Reason: "enough"}},
			states:   "cancelled a=cancelled c=cancelled",
			commands: []string{"sleep r..left until 5s", "end r.c used 0", "finish"}, err: "cancelled: enough ()",
		},
		{
			name: "a failure ends everything, and once more what others may be making", world: world(component(0), job("a"), job("b"), job("c")),
			events: []engine.Event{
				requested(t0), responded("b", 1, after(second)), responded("c", 1, after(second)),
				callback("r.c", 9, event.Failed, `{}`, after(2*second)),
			},
			states:   "failed a=cancelled b=cancelled c=failed",
			commands: []string{"end r.c used 9", "sleep r..left until 5s", "end r.b used 0", "finish"}, err: "callback_failed: the callback says that it failed (c) {}",
		},
		{
			name: "what has become too large ends, and is told again when its message comes again", world: world(component(0), job("a")),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)),
				engine.Overgrown{Message: "too much", Trigger: "callback:9", At: after(second)},
				engine.Redelivered{Trigger: "callback:9", At: after(2 * second)},
			},
			states: "failed a=cancelled", commands: []string{"end r.a used 0", "finish"}, err: "too_large: too much ()",
		},
		{
			name: "an ignored failure is none", world: world(component(0), with(job("a"), func(j *compose.Job) { j.OnError.Ignore = true }), job("b", "a")),
			events: []engine.Event{requested(t0), boom}, states: "running a=completed b=running", commands: []string{"act r.b until 24h0m1s"},
		},
		{
			name: "on_error gives another output",
			world: world(component(0), with(job("a"), func(j *compose.Job) {
				j.OnError.Output = template(t, map[string]any{"why": "${error.message}", "code": "${error.code}"})
			})),
			events: []engine.Event{requested(t0), boom}, states: "completed a=completed", commands: []string{"finish"}, output: `{"code":"http_500","why":"no"}`,
		},
		{
			name: "on_error gives another output, and goes on elsewhere",
			world: world(component(0), with(job("a"), func(j *compose.Job) {
				j.OnError.Output, j.OnError.To = template(t, "${error.code}"), "x"
			}), with(routed("x"), func(j *compose.Job) { j.Output = template(t, "${jobs.a.output}") })),
			events: []engine.Event{
				requested(t0), boom, responded("x", 1, after(second)), callback("r.x", 9, event.Succeeded, `1`, after(second)),
			},
			states: "completed a=failed x=completed", commands: []string{"end r.x used 9", "finish"}, output: `"http_500"`,
		},
		{
			name: "an output of on_error that cannot be made leads nowhere",
			world: world(component(0), with(job("a"), func(j *compose.Job) {
				j.OnError.Output, j.OnError.To = template(t, "${error.message - 1}"), "x"
			}), routed("x")),
			events: []engine.Event{requested(t0), boom},
			states: "failed a=failed", commands: []string{"finish"}, err: "output_expression: *",
		},
		{
			name:  "on_error runs jobs one after the other",
			world: world(component(0), with(job("a"), func(j *compose.Job) { j.OnError.Jobs = []string{"x", "y"} }), routed("x"), routed("y"), job("b", "a")),
			events: []engine.Event{
				requested(t0), boom, responded("x", 1, after(second)), callback("r.x", 9, event.Succeeded, `1`, after(second)),
			},
			states: "running a=failed x=completed y=running", commands: []string{"end r.x used 9", "act r.y until 24h0m1s"},
		},
		{
			name:  "and the last one's output stands for the failed job's",
			world: world(component(0), with(job("a"), func(j *compose.Job) { j.OnError.Jobs = []string{"x"} }), routed("x")),
			events: []engine.Event{
				requested(t0), boom, responded("x", 1, after(second)), callback("r.x", 9, event.Succeeded, `"saved"`, after(second)),
			},
			states: "completed a=completed x=completed", commands: []string{"end r.x used 9", "finish"}, output: `"saved"`,
		},
		{
			name:  "a job of on_error that fails fails the run",
			world: world(component(0), with(job("a"), func(j *compose.Job) { j.OnError.Jobs = []string{"x"} }), routed("x")),
			events: []engine.Event{
				requested(t0), boom, responded("x", 1, after(second)), callback("r.x", 9, event.Failed, ``, after(second)),
			},
			states: "failed a=failed x=failed", commands: []string{"end r.x used 9", "finish"}, err: "http_500: no (a)",
		},
		{
			name:  "outputs of several terminal jobs are overlaid",
			world: world(component(0), job("a"), job("b")),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), responded("b", 1, after(second)),
				callback("r.b", 9, event.Succeeded, `{"b":1,"v":"b"}`, after(second)), callback("r.a", 10, event.Succeeded, `{"a":1,"v":"a"}`, after(second)),
			},
			states: "completed a=completed b=completed", commands: []string{"end r.a used 10", "finish"}, output: `{"a":1,"b":1,"task":"x","v":"b"}`,
		},
		{
			name:  "or told apart by job when one is no object",
			world: world(component(0), job("a"), job("b")),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), responded("b", 1, after(second)),
				callback("r.b", 9, event.Succeeded, `1`, after(second)), callback("r.a", 10, event.Succeeded, `{}`, after(second)),
			},
			states: "completed a=completed b=completed", commands: []string{"end r.a used 10", "finish"}, output: `{"a":{"task":"x"},"b":1}`,
		},
		{
			name: "a wait that cannot be made fails the job", world: world(component(0), job("a")),
			events: []engine.Event{requested(t0), responded("a", 1, after(second)), engine.Refused{ID: "r.a", Job: "a", Trigger: "request:7", At: after(second), Err: engine.Error{Code: "wait_conflict", Message: "taken"}}},
			states: "failed a=failed", commands: []string{"finish"}, err: "wait_conflict: taken (a)",
		},
		{
			name: "a workflow without jobs completes", world: world(component(0)),
			events: []engine.Event{requested(t0)}, states: "completed", commands: []string{"finish"},
		},
		{
			name: "a job's output is made of its component's",
			world: world(component(0), with(job("a"), func(j *compose.Job) {
				j.Output = template(t, map[string]any{"got": "${output.url}", "n": "${input.n}"})
			})),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `{"url":"u"}`, after(second)),
			},
			states: "completed a=completed", commands: []string{"end r.a used 9", "finish"}, output: `{"got":"u","n":1}`,
		},
		{
			name:  "an output that cannot be made fails the job",
			world: world(component(0), with(job("a"), func(j *compose.Job) { j.Output = template(t, "${output.url - 1}") })),
			events: []engine.Event{
				requested(t0), responded("a", 1, after(second)), callback("r.a", 9, event.Succeeded, `{"url":"u"}`, after(second)),
			},
			states: "failed a=failed", commands: []string{"end r.a used 9", "finish"}, err: "output_expression: *",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run, commands := play(t, tc.world, tc.events...)
			if got := states(run); got != tc.states {
				t.Errorf("states: %s, want %s", got, tc.states)
			}
			if diff := cmp.Diff(tc.commands, brief(commands)); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			if string(run.Output) != tc.output {
				t.Errorf("output: %s, want %s", run.Output, tc.output)
			}
			got := ""
			if e := run.Error; e != nil {
				got = fmt.Sprintf("%s: %s (%s) %s", e.Code, e.Message, e.Job, e.Data)
			}
			want, prefix := strings.CutSuffix(tc.err, "*")
			if got = strings.TrimSpace(got); got != want && (!prefix || !strings.HasPrefix(got, want)) {
				t.Errorf("error: %s, want %s", got, tc.err)
			}
		})
	}
}

func TestAdvanceRefuses(t *testing.T) {
	w := world(component(0), job("a"))
	run, _ := play(t, w, requested(t0))
	for name, try := range map[string]func() error{
		"a second request": func() error { _, _, err := engine.Advance(w, run, requested(t0)); return err },
		"no run":           func() error { _, _, err := engine.Advance(w, nil, engine.Cancelled{}); return err },
		"another workflow": func() error {
			other := *run
			other.Workflow = "gone"
			_, _, err := engine.Advance(w, &other, engine.Expired{})
			return err
		},
	} {
		if try() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// pauses gives those between five attempts of a run's job.
func pauses(t *testing.T, run string, retry compose.Retry) (all []time.Duration) {
	t.Helper()
	j := job("a")
	j.Retry, j.Retry.MaxAttempts = retry, 5
	w := world(component(0), j)
	begin := requested(t0)
	begin.Request.RunID = run
	events := []engine.Event{begin}
	for attempt, at := 1, t0; attempt < 5; attempt++ {
		events = append(events, engine.Acted{Job: "a", Attempt: attempt, Trigger: "t", At: at, Err: &engine.Error{Code: "x"}})
		state, _ := play(t, w, events...)
		due := state.Jobs["a"].RetryAt
		all = append(all, due.Sub(at))
		at = due
		events = append(events, engine.Expired{ID: fmt.Sprintf("%s.a.retry.%d", run, attempt+1), At: at})
	}
	return all
}

func TestPausesGrow(t *testing.T) {
	for name, c := range map[string]struct {
		retry       compose.Retry
		least, most []int // in seconds
	}{
		"fixed": {
			compose.Retry{Delay: time.Second}, []int{1, 1, 1, 1}, []int{1, 1, 1, 1},
		},
		"exponential": {
			compose.Retry{Delay: 4 * time.Second, Backoff: "exponential"}, []int{4, 8, 16, 32}, []int{5, 10, 20, 40},
		},
		"with a longest": {
			compose.Retry{Delay: 4 * time.Second, Backoff: "exponential", MaxDelay: 12 * time.Second}, []int{4, 8, 9, 9}, []int{5, 10, 12, 12},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i, pause := range pauses(t, "r", c.retry) {
				if pause < time.Duration(c.least[i])*time.Second || pause > time.Duration(c.most[i])*time.Second {
					t.Errorf("pause %d is %s", i+1, pause)
				}
			}
		})
	}
}

// TestPausesAreSpread: runs that have failed at one moment are not all tried again at another.
func TestPausesAreSpread(t *testing.T) {
	for name, retry := range map[string]compose.Retry{
		"growing": {Delay: time.Second, Backoff: "exponential"},
		"longest": {Delay: time.Minute, Backoff: "exponential", MaxDelay: time.Second},
	} {
		seen := map[time.Duration]bool{}
		for i := range 20 {
			seen[pauses(t, fmt.Sprintf("r%d", i), retry)[0]] = true
		}
		if len(seen) < 20 {
			t.Errorf("%s: of 20 runs' pauses only %d are different", name, len(seen))
		}
	}
}

// TestAnActSeesTheRunAsItWasThen: its templates are evaluated beside the run, which goes on meanwhile. It sees the run as the
// step leaves it that has commanded it: so it is saved, and so the act is performed again.
func TestAnActSeesTheRunAsItWasThen(t *testing.T) {
	w := world(component(0), job("a"), job("b"))
	run, commands := play(t, w, requested(t0))
	seen := scopes(commands)
	if _, _, err := engine.Advance(w, run, responded("a", 1, after(time.Second))); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if len(seen) != 2 || len(seen[i].Run.Jobs) != 2 || seen[i].Run.Jobs["a"].Status != event.StatusRunning {
			t.Errorf("act %d sees %+v", i, seen)
		}
	}
}

// TestAnActKeepsWhatIsTakenBack: a job that begins anew has no output for a while. An act that was commanded before still has it.
func TestAnActKeepsWhatIsTakenBack(t *testing.T) {
	a, b, c, d := job("a"), job("b", "a"), job("c", "a"), job("d", "b")
	c.OnError = compose.OnError{To: "a"}
	w := world(component(0), a, b, c, d)
	done := func(id string, at time.Duration) engine.Acted {
		return engine.Acted{Job: id, Attempt: 1, At: after(at), Output: json.RawMessage(`{}`)}
	}
	run, _ := play(t, w, requested(t0), done("a", time.Second))
	failed := done("c", 3*time.Second)
	failed.Err = &engine.Error{Code: "x"}
	_, outcomes, err := engine.AdvanceAll(w, run, []engine.Event{done("b", 2*time.Second), failed})
	if err != nil {
		t.Fatal(err)
	}
	before, anew := scopes(outcomes[0].Commands), scopes(outcomes[1].Commands)
	if len(before) != 1 || before[0].Job != "d" || before[0].Run.Jobs["a"].Output == nil {
		t.Errorf("d sees %+v", before)
	}
	if len(anew) != 1 || anew[0].Job != "a" || anew[0].Run.Jobs["a"].Output != nil {
		t.Errorf("a sees %+v", anew)
	}
}

func scopes(commands []engine.Command) (seen []engine.Scope) {
	for _, c := range commands {
		if act, ok := c.(engine.Act); ok {
			seen = append(seen, act.Scope)
		}
	}
	return seen
}
