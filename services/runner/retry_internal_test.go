package runner

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// TestTheEndOfARunIsFinishedBeforeItIsTriedAgain: who has saved that it has failed, or is cancelled, died before anything else was done.
// The message that would bring that to its end finds a run that goes.
func TestTheEndOfARunIsFinishedBeforeItIsTriedAgain(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(`
workflows:
  work:
    on_failure: {workflow: note, input: {why: "${error.message}"}}
    jobs:
      - {id: a, type: wait}
      - {id: b, type: wait, wait_for: "task-${context.run_id}"}
      - {id: sub, type: workflow, workflow: hold}
  hold: {job: {id: hold, type: wait}}
  note: {job: {id: hold, type: wait}}
`), none)
	if err != nil {
		t.Fatal(err)
	}
	client := bustest.Start(t).Provisioned(bus.Layout{})
	r := New(Config{}, Deps{Bus: client, Document: doc, Getenv: none})
	w := engine.World{Document: doc}
	now := time.Now()
	for id, end := range map[string]engine.Event{
		"failed": engine.CalledBack{
			Callback: event.Callback{ID: "failed.a", Seq: 1000, Outcome: event.Failed, Error: "no"}, Trigger: "callback:1000", At: now,
		},
		"cancelled": engine.Cancelled{At: now},
	} {
		ctx := t.Context()
		makes := func(c engine.Command) {
			if p, ok := c.(engine.Park); ok {
				if _, err := r.waits.Park(ctx, p.Wait, wait.Options{NotBefore: now.Add(-time.Minute)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		begin(t, r, w, event.RunRequest{RunID: id, Workflow: "work"}, makes, end)
		begin(t, r, w, event.RunRequest{RunID: id + ".sub.run", Workflow: "hold", Parent: id + ".sub"}, makes)

		retry(t, r, client, id)
		run, err := client.Run(ctx, id)
		if err != nil || run.Run.Status != event.StatusWaiting || len(run.Run.Jobs["a"].Attempts) != 2 {
			t.Errorf("%s: tried again it is %s, %v", id, run.Run.Status, err)
		}
		if sub, err := client.Run(ctx, id+".sub.run"); err != nil || sub.Run.Status != event.StatusCancelled {
			t.Errorf("%s: what it had asked for is %s, %v", id, sub.Run.Status, err)
		}
		for own, stands := range map[string]bool{id + ".a": false, id + ".a.2": true, "task-" + id: true, id + ".sub": false, id + ".sub.2": true} {
			if _, err := client.Bucket(subject.BucketWaits).Get(ctx, own); (err == nil) != stands || err != nil && !errors.Is(err, bus.ErrNotFound) {
				t.Errorf("%s: the wait for %s stands: %v, want %v, %v", id, own, err == nil, stands, err)
			}
		}
	}
	told, err := client.Last(t.Context(), subject.StreamRuns, subject.RunRequest("note"))
	if err != nil {
		t.Fatalf("the failure is not told: %v", err)
	}
	if req, err := bus.DecodeRunRequest(told); err != nil || req.RunID != "failed.on-failure" || string(req.Input) != `{"why":"no"}` {
		t.Errorf("told %+v, %v", req, err)
	}
}

// begin saves a run as it is after some events, and does of what follows from all but the last what makes says.
func begin(t *testing.T, r *Runner, w engine.World, req event.RunRequest, makes func(engine.Command), then ...engine.Event) {
	t.Helper()
	now := time.Now()
	req.Input, req.RequestedAt = []byte(`{}`), now
	run, commands, err := engine.Advance(w, nil, engine.Requested{Request: req, Definition: w.Document.Hash, Trigger: "request:1000", At: now})
	for _, ev := range then {
		for _, c := range commands {
			makes(c)
		}
		if err == nil {
			run, commands, err = engine.Advance(w, run, ev)
		}
	}
	if err == nil {
		_, _, err = r.journal.Save(t.Context(), run, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// retry asks for a run to be tried again, and delivers that.
func retry(t *testing.T, r *Runner, client *bus.Bus, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ack, err := client.PublishRunRequest(ctx, &event.RunRequest{RunID: id, Workflow: "work", Retry: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Next(ctx, subject.StreamRuns, subject.RunRequest("work"), ack.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.request(ctx, &bus.Delivery{Stored: *m, Deliveries: 1}); err != nil {
		t.Fatal(err)
	}
}
