package engine_test

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestWhatCannotBeRead of a stored definition fails the job that comes to it, and nothing before.
func TestWhatCannotBeRead(t *testing.T) {
	asleep := []engine.Event{requested(t0), responded("a", 1, t0)}
	w := world(component(0), job("a"), job("b", "a"))
	w.Document.Workflows[0].Jobs[1].Broken = "jobs[1].colour: a job has no field"
	w.Document.Workflows[0].Jobs[1].Retry.MaxAttempts = 3
	run, _ := play(t, w, append(asleep, callback("r.a", 9, event.Succeeded, `{}`, t0))...)
	if run.Status != event.StatusFailed || run.Jobs["a"].Status != event.StatusCompleted || len(run.Jobs["b"].Attempts) != 1 ||
		run.Error.Code != engine.CodeDefinition || run.Error.Job != "b" || !strings.Contains(run.Error.Message, "a job has no field") {
		t.Errorf("%+v, %+v", run, run.Error)
	}

	// The job that sleeps is not begun again, but when it is to be tried once more.
	w = world(component(0), job("a"))
	w.Document.Workflows[0].Jobs[0].Retry.MaxAttempts = 2
	run, _ = play(t, w, asleep...)
	w.Document.Components["api"].Actions["run"].Broken = "cache: not known"
	for outcome, want := range map[event.Outcome]event.Status{event.Succeeded: event.StatusCompleted, event.Failed: event.StatusFailed} {
		ended, _, err := engine.Advance(w, run, callback("r.a", 9, outcome, `{}`, t0))
		if err != nil || ended.Status != want {
			t.Errorf("%s: %+v, %v", outcome, ended, err)
		}
		if outcome == event.Failed && (ended.Error.Code != engine.CodeDefinition || !strings.HasSuffix(ended.Error.Message, "cache: not known")) {
			t.Errorf("%+v", ended.Error)
		}
	}

	w.Document.Workflows[0].Broken = "concurrency: not known"
	if _, _, err := engine.Advance(w, run, callback("r.a", 9, event.Succeeded, `{}`, t0)); err == nil || !strings.Contains(err.Error(), "concurrency: not known") {
		t.Errorf("a workflow that cannot be read goes on: %v", err)
	}
	if _, _, err := engine.Advance(w, nil, requested(t0)); err == nil {
		t.Error("a workflow that cannot be read begins")
	}
	if ended, _, err := engine.Advance(w, run, engine.Cancelled{At: t0}); err != nil || ended.Status != event.StatusCancelled {
		t.Errorf("it cannot be cancelled: %v", err)
	}
}
