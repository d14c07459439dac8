package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// A job that another goes on to waits for what it needs, as long as that may still be done.
func TestWhatIsGoneOnToWaitsForWhatItNeeds(t *testing.T) {
	second := time.Second
	with := func(j *compose.Job, f func(*compose.Job)) *compose.Job { f(j); return j }
	routed := func(id string, needs ...string) *compose.Job {
		return with(job(id, needs...), func(j *compose.Job) { j.RoutedOnly = true })
	}
	to := func(id, target string, needs ...string) *compose.Job {
		return with(job(id, needs...), func(j *compose.Job) {
			j.Type, j.Routings = compose.JobRouter, []compose.Routing{{To: target, Weight: 1}}
		})
	}
	request := requested(t0)
	done := func(id string, seconds int) []engine.Event {
		answer := responded(id, 1, after(time.Duration(seconds)*second))
		answer.Wait = nil
		return []engine.Event{answer}
	}
	boom := engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Err: &engine.Error{Code: "http_500", Message: "no"}}

	type moment struct {
		events   []engine.Event
		states   string
		commands []string
	}
	for _, tc := range []struct {
		name    string
		jobs    []*compose.Job
		moments []moment
	}{
		{"what is under way", []*compose.Job{to("x", "c"), job("a"), routed("c", "a")}, []moment{
			{[]engine.Event{request}, "running a=running c=pending x=completed", []string{"act r.a until 24h0m0s"}},
			{done("a", 1), "running a=completed c=running x=completed", []string{"act r.c until 24h0m1s"}},
			{done("c", 2), "completed a=completed c=completed x=completed", []string{"finish"}},
		}},
		{"what has not begun yet", []*compose.Job{to("x", "c"), routed("c", "b"), job("a"), job("b", "a")}, []moment{
			{[]engine.Event{request}, "running a=running c=pending x=completed", []string{"act r.a until 24h0m0s"}},
			{done("a", 1), "running a=completed b=running c=pending x=completed", []string{"act r.b until 24h0m1s"}},
			{done("b", 2), "running a=completed b=completed c=running x=completed", []string{"act r.c until 24h0m2s"}},
		}},
		{"what a decision that is to come may lead to", []*compose.Job{to("x", "c"), job("a"), to("b", "y", "a"), routed("y"), routed("c", "y")}, []moment{
			{[]engine.Event{request}, "running a=running c=pending x=completed", []string{"act r.a until 24h0m0s"}},
			{done("a", 1), "running a=completed b=completed c=pending x=completed y=running", []string{"act r.y until 24h0m1s"}},
			{done("y", 2), "running a=completed b=completed c=running x=completed y=completed", []string{"act r.c until 24h0m2s"}},
		}},
		{"not what nothing leads to", []*compose.Job{to("x", "c"), to("a", "b"), routed("b"), routed("c", "y"), routed("y")}, []moment{
			{[]engine.Event{request}, "running a=completed b=running c=running x=completed", []string{"act r.c until 24h0m0s", "act r.b until 24h0m0s"}},
		}},
		{"not what has failed and leads to it", []*compose.Job{with(job("a"), func(j *compose.Job) { j.OnError.To = "c" }), routed("c", "a")}, []moment{
			{[]engine.Event{request, boom}, "running a=failed c=running", []string{"act r.c until 24h0m1s"}},
		}},
		{"what stands in for what has failed", []*compose.Job{
			to("x", "c"), with(job("a"), func(j *compose.Job) { j.OnError.Jobs = []string{"y"} }), routed("y"), routed("c", "a"),
		}, []moment{
			{[]engine.Event{request, boom}, "running a=failed c=pending x=completed y=running", []string{"act r.y until 24h0m1s"}},
			{done("y", 2), "running a=completed c=running x=completed y=completed", []string{"act r.c until 24h0m2s"}},
		}},
		{"and once more when the run is tried again", []*compose.Job{to("x", "c"), job("a"), routed("c", "a")}, []moment{
			{[]engine.Event{request, boom}, "failed a=failed c=skipped x=completed", []string{"finish"}},
			{[]engine.Event{engine.Retried{Trigger: "retry:1", At: after(second)}}, "running a=running c=pending x=completed", []string{"act r.a.2 until 24h0m1s"}},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := world(component(0), tc.jobs...)
			var all []engine.Event
			for _, m := range tc.moments {
				all = append(all, m.events...)
				run, commands := play(t, w, all...)
				if got := states(run); got != m.states {
					t.Errorf("states: %s, want %s", got, m.states)
				}
				if diff := cmp.Diff(m.commands, brief(commands)); diff != "" {
					t.Errorf("commands (-want +got):\n%s", diff)
				}
				if job := run.Jobs["c"]; job != nil && job.Called != (job.Status == event.StatusPending) {
					t.Errorf("called: %v, and it is %s", job.Called, job.Status)
				}
			}
		})
	}
}
