package engine_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// What a person reads of a failed run says which of the file's times was over, and what was there in the place of what.
func TestWhatAFailureSays(t *testing.T) {
	with := func(f func(*compose.Job)) *compose.Job { j := job("a"); f(j); return j }
	delay := func(timeout time.Duration) *compose.Job {
		return with(func(j *compose.Job) {
			j.Type, j.Delay, j.Timeout = compose.JobDelay, &compose.Delay{Duration: template(t, "10s")}, timeout
		})
	}
	over := engine.Expired{ID: "r.a.delay", Trigger: "timer:1", At: after(2 * time.Second)}
	for _, tc := range []struct {
		name   string
		job    *compose.Job
		run    time.Duration
		events []engine.Event
		want   string
	}{
		{"the run's time", delay(0), 2 * time.Second, []engine.Event{over}, "the run's timeout of 2s was over before the job was done"},
		{"the job's time", delay(2 * time.Second), time.Minute, []engine.Event{over}, "the job's timeout of 2s was over before the job was done"},
		{"no duration", with(func(j *compose.Job) {
			j.Type, j.Delay = compose.JobDelay, &compose.Delay{Duration: template(t, "soon")}
		}), 0, nil, `the duration is "soon", and not milliseconds or an amount with a unit, such as 30s or 2h`},
		{"no moment", with(func(j *compose.Job) {
			j.Type, j.Delay = compose.JobDelay, &compose.Delay{Time: template(t, "whenever")}
		}), 0, nil, `the time is "whenever", and not a moment such as 2030-01-31T08:00:00Z, 2030-01-31 08:00 or 08:00`},
		{"a number for a list", with(func(j *compose.Job) {
			j.Type, j.ForEach, j.Input = compose.JobForEach, &compose.ForEach{}, template(t, int64(3))
		}), 0, nil, "the input of a for-each is a list, and this is a number"},
		{"a quorum that cannot be reached", with(func(j *compose.Job) {
			j.Type, j.Wait = compose.JobWait, &compose.Completion{Kind: compose.CompleteCallback, WaitFor: template(t, []any{"x", "y", "x"}), Quorum: 3}
		}), 0, nil, "quorum: there are 2 ids to wait for, which cannot bring 3 callbacks"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := world(component(0), tc.job)
			w.Document.Workflows[0].Timeout = tc.run
			run, _ := play(t, w, append([]engine.Event{requested(t0)}, tc.events...)...)
			if run.Error == nil || run.Error.Message != tc.want {
				t.Errorf("error %+v, want %q", run.Error, tc.want)
			}
		})
	}
}

func TestWhatCountsAsFalse(t *testing.T) {
	for _, tc := range []struct {
		when   any
		status string
	}{
		{false, "skipped"},
		{nil, "skipped"},
		{"", "skipped"},
		{"false", "skipped"},
		{int64(0), "skipped"},
		{0.0, "skipped"},
		{json.Number("0.00"), "skipped"},
		{"0", "running"},
		{"no", "running"},
		{[]any{}, "running"},
		{map[string]any{}, "running"},
		{-1.5, "running"},
	} {
		j := job("a")
		j.When = expr.Literal(tc.when)
		run, _ := play(t, world(component(0), j), requested(t0))
		if got := string(run.Jobs["a"].Status); got != tc.status {
			t.Errorf("when %#v: %s, want %s", tc.when, got, tc.status)
		}
	}
}

func TestAJobKnowsTheIDOfItsInvocation(t *testing.T) {
	j := job("a")
	j.Type, j.Wait = compose.JobWait, &compose.Completion{Kind: compose.CompleteCallback, WaitFor: template(t, "${listener.id}")}
	j.Retry = compose.Retry{MaxAttempts: 2, Backoff: "fixed"}
	_, commands := play(t, world(component(0), j), requested(t0))
	if diff := cmp.Diff([]string{"park r.a until 24h0m0s used 0"}, brief(commands)); diff != "" {
		t.Errorf("the first attempt (-want +got):\n%s", diff)
	}
	_, commands = play(t, world(component(0), j), requested(t0), callback("r.a", 9, event.Failed, ``, after(time.Second)))
	if got := strings.Join(brief(commands), "; "); !strings.Contains(got, "park r.a.2 until") {
		t.Errorf("the second attempt: %s", got)
	}
	j.Retry.MaxAttempts, j.OnError.Output = 1, template(t, "${listener.id}")
	run, _ := play(t, world(component(0), j), requested(t0), callback("r.a", 9, event.Failed, ``, after(time.Second)))
	if got := string(run.Jobs["a"].Output); got != `"r.a"` {
		t.Errorf("the output of on_error: %s", got)
	}
}

func TestIDsAreBounded(t *testing.T) {
	w := job("a")
	w.Type, w.Wait = compose.JobWait, &compose.Completion{Kind: compose.CompleteCallback, WaitFor: template(t, strings.Repeat("x", 1025))}
	run, _ := play(t, world(component(0), w), requested(t0))
	if run.Error == nil || !strings.HasPrefix(run.Error.Message, "wait_for: an id to wait for has 1024 bytes at most, and this one is longer: xxxx") {
		t.Errorf("a wait: %+v", run.Error)
	}

	of := job("a")
	of.Type, of.Workflow = compose.JobWorkflow, "w"
	deep := requested(t0)
	deep.Request.RunID = strings.Repeat("r", 507)
	run, commands := play(t, world(component(0), of), deep)
	if run.Error == nil || !strings.Contains(run.Error.Message, "do workflows run each other without end?") || slices.ContainsFunc(commands, isStart) {
		t.Errorf("a run in a run: %+v, %v", run.Error, commands)
	}
	deep.Request.RunID = deep.Request.RunID[1:]
	if run, commands = play(t, world(component(0), of), deep); run.Error != nil || !slices.ContainsFunc(commands, isStart) {
		t.Errorf("one less: %+v, %v", run.Error, commands)
	}

	skipped := job("a")
	skipped.When = expr.Literal(false)
	hooked := world(component(0), skipped)
	hooked.Document.Workflows[0].OnSuccess = &compose.Hook{Workflow: "w"}
	run, commands = play(t, hooked, deep)
	if run.Error == nil || !strings.HasPrefix(run.Error.Message, "on-success: ") || slices.ContainsFunc(commands, isStart) {
		t.Errorf("a hook: %+v, %v", run.Error, commands)
	}
}

func isStart(c engine.Command) bool { _, ok := c.(engine.StartRun); return ok }
