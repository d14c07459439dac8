package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestJobsThatWaitForOneID, one after another or at once: such as __callback__, which is what a callback without an identifier is for.
func TestJobsThatWaitForOneID(t *testing.T) {
	second := time.Second
	waits := func(id string, needs ...string) *compose.Job {
		j := job(id, needs...)
		j.Type, j.Component, j.Action, j.Timeout = compose.JobWait, "", "", time.Minute
		j.Wait = &compose.Completion{WaitFor: template(t, "task")}
		return j
	}
	ignored := func(j *compose.Job) *compose.Job { j.OnError.Ignore = true; return j }
	expired := func(seq uint64, at time.Duration) engine.Event {
		return engine.Expired{ID: "task", Seq: seq, Trigger: "timeout", At: after(at)}
	}
	came := func(seq uint64) engine.Event {
		return callback("task", seq, event.Succeeded, `{}`, after(time.Duration(seq)*second))
	}
	refused := func(job string) engine.Event {
		return engine.Refused{ID: "task", Job: job, Trigger: "request:7", At: after(second), Err: engine.Error{Code: "wait_conflict", Message: "taken"}}
	}
	line := world(component(0), waits("a"), waits("b", "a"), waits("c", "b"))
	for _, tc := range []struct {
		name     string
		world    engine.World
		events   []engine.Event
		states   string
		commands string
	}{
		{"the next one begins to wait", line, []engine.Event{requested(t0), came(9)}, "waiting a=completed b=waiting", "end task used 9, park task until 1m9s used 9"},
		{"a callback is its", line, []engine.Event{requested(t0), came(9), came(10)}, "waiting a=completed b=completed c=waiting", "end task used 10, park task until 1m10s used 10"},
		{"the first one's again is not", line, []engine.Event{requested(t0), came(9), came(9)}, "waiting a=completed b=waiting", "end task used 9, park task until 1m9s used 9"},
		{"nor when another has come since", line, []engine.Event{requested(t0), came(9), came(10), came(9)}, "waiting a=completed b=completed c=waiting", "end task used 9"},
		{"what a callback has set off is done again", line, []engine.Event{requested(t0), came(9), came(10), came(11), came(11)}, "completed a=completed b=completed c=completed", "end task used 11, finish"},
		{"its time passes", line, []engine.Event{requested(t0), came(9), expired(20, 70*second)}, "failed a=completed b=failed", "end task used 9, finish"},
		{"the first one's time does not end it", line, []engine.Event{requested(t0), came(9), expired(20, 60*second)}, "waiting a=completed b=waiting", "park task until 1m9s used 9"},
		{
			"what a timeout has set off is done again", world(component(0), ignored(waits("a")), waits("b", "a"), job("c", "a")),
			[]engine.Event{requested(t0), expired(20, time.Minute), expired(20, time.Minute)},
			"running a=completed b=waiting c=running", "park task until 2m0s used 0, end task used 0, park task until 2m0s used 0, act r.c until 24h1m0s",
		},
		{
			"of two at once the refused one fails, which is ignored here",
			world(component(0), waits("a"), ignored(waits("b"))),
			[]engine.Event{requested(t0), refused("b")},
			"waiting a=waiting b=completed", "",
		},
		{
			"and the other has the callback",
			world(component(0), waits("a"), ignored(waits("b"))),
			[]engine.Event{requested(t0), refused("b"), came(9)},
			"completed a=completed b=completed", "end task used 9, finish",
		},
		{
			"a refused one ends the other with the run",
			world(component(0), waits("a"), waits("b")),
			[]engine.Event{requested(t0), refused("b")},
			"failed a=cancelled b=failed", "end task used 0, finish",
		},
		{
			"refused to an attempt before, the next one waits on", line,
			[]engine.Event{
				requested(t0),
				engine.Cancelled{At: after(second)},
				engine.Retried{Request: 8, Trigger: "request:8", At: after(2 * second)},
				engine.Refused{ID: "task", Job: "a", Attempt: 1, Trigger: "request:7", At: after(3 * second), Err: engine.Error{Code: "wait_conflict", Message: "taken"}},
			},
			"waiting a=waiting", "",
		},
		{
			"who waits longer has the callback",
			world(component(0), waits("b", "x"), waits("a"), job("x")),
			[]engine.Event{
				requested(t0),
				engine.Acted{Job: "x", Attempt: 1, Trigger: "request:7", At: after(second)},
				came(9),
			},
			"waiting a=completed b=waiting x=completed", "end task used 9",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run, commands := play(t, tc.world, tc.events...)
			if got := states(run); got != tc.states {
				t.Errorf("states: %s, want %s", got, tc.states)
			}
			if diff := cmp.Diff(tc.commands, strings.Join(brief(commands), ", ")); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}
