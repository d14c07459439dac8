package runner

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/workers"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/journal"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// TestACallbackThatComesAgainMeetsTheRunAsItIs: a runner remembers the run as it was, another has taken the callback since and died.
// What that one has recorded is not done again, and what it has not come to is.
func TestACallbackThatComesAgainMeetsTheRunAsItIs(t *testing.T) {
	var asked atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer outside.Close()
	none := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(strings.ReplaceAll(`
component: {id: outside, base_url: OUTSIDE, path: /say}
workflow:
  id: fork
  jobs:
    - {id: a, type: wait, wait_for: same}
    - {id: b, type: wait, wait_for: same, depends_on: [a]}
    - {id: say, component: outside, depends_on: [a]}
`, "OUTSIDE", outside.URL)), none)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		remembered int // what is the last that the runner knows
		meanwhile  []string
		deliveries int
		asked      int32
		status     event.Status
	}{
		"recorded":        {1, []string{"first", "said"}, 2, 0, event.StatusWaiting},
		"left undone":     {1, []string{"first"}, 2, 1, event.StatusWaiting},
		"by an old copy":  {0, []string{"first"}, 2, 1, event.StatusWaiting},
		"taken over":      {1, []string{"first", "second"}, 2, 1, event.StatusCompleted},
		"over an old one": {0, []string{"first", "second"}, 2, 1, event.StatusCompleted},
		"its wait over":   {1, []string{"first", "over"}, 2, 1, event.StatusWaiting},
		// NATS was killed, and does not know that it comes again.
		"left undone, forgotten":             {1, []string{"first"}, 1, 1, event.StatusWaiting},
		"its wait over, forgotten":           {1, []string{"first", "over"}, 1, 1, event.StatusWaiting},
		"over and forgotten, by an old copy": {0, []string{"first", "over"}, 1, 1, event.StatusWaiting},
		"recorded, over and forgotten":       {0, []string{"first", "said", "over"}, 1, 0, event.StatusWaiting},
		"taken over, forgotten":              {0, []string{"first", "second"}, 1, 1, event.StatusCompleted},
		// Another run waits for the id by then, or has.
		"another's":            {1, []string{"first", "second", "claimed"}, 2, 1, event.StatusCompleted},
		"another's, forgotten": {1, []string{"first", "second", "claimed"}, 1, 1, event.StatusCompleted},
		"another's, over":      {1, []string{"first", "second", "claimed", "left"}, 2, 1, event.StatusCompleted},
		"another's, recorded":  {1, []string{"first", "said", "second", "claimed"}, 2, 0, event.StatusCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			client := bustest.Start(t).Provisioned(bus.Layout{})
			r := New(Config{}, Deps{Bus: client, Document: doc, Getenv: none})
			r.invocations = workers.New(1)
			defer r.invocations.Close()
			defer http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // net/http's own
			asked.Store(0)

			other := journal.New(client, time.Hour)
			world := engine.World{Document: doc, Static: r.resolver(r.definitions.current()).Scope(ctx)}
			var run *event.Run
			var rev journal.Revision
			saved := 0
			happens := func(ev engine.Event) {
				t.Helper()
				next, commands, err := engine.Advance(world, run, ev)
				if err != nil || next == run {
					t.Fatalf("%+v changes nothing: %v", ev, err)
				}
				run = next
				if rev, _, err = other.Save(ctx, run, rev); err != nil {
					t.Fatal(err)
				}
				for _, cmd := range commands {
					if p, ok := cmd.(engine.Park); ok && saved == 0 { // later ones are another runner's, which does not come to them
						if _, err := r.waits.Park(ctx, p.Wait, wait.Options{NotBefore: p.NotBefore}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if saved == c.remembered {
					if _, err := r.journal.Glance(ctx, run.ID); err != nil {
						t.Fatal(err)
					}
				}
				saved++
			}
			calls := func(result string) *event.Callback {
				cb := &event.Callback{ID: "same", Outcome: event.Succeeded, Result: []byte(result)}
				ack, err := client.PublishCallback(ctx, cb)
				if err != nil {
					t.Fatal(err)
				}
				cb.Seq = ack.Seq
				return cb
			}
			now := time.Now()
			happens(engine.Requested{Request: event.RunRequest{RunID: "r", Workflow: "fork", Input: []byte(`{}`), RequestedAt: now}, Definition: doc.Hash, At: now})
			var first *event.Callback
			others := event.Wait{ID: "same", Run: "s", Job: "a", Attempt: 1, Since: now, Deadline: now.Add(time.Hour)}
			for _, what := range c.meanwhile {
				switch what {
				case "first":
					first = calls("1")
					happens(engine.CalledBack{Callback: *first, Trigger: callbackTrigger(first), At: now})
				case "said":
					happens(engine.Acted{Job: "say", Attempt: 1, Trigger: callbackTrigger(first), At: now})
				case "over": // somebody who had made it has ended it
					if err := r.waits.End(ctx, event.Wait{ID: "same", Run: "r", Job: "a", Attempt: 1}, first.Seq); err != nil {
						t.Fatal(err)
					}
				case "second":
					b := event.Wait{ID: "same", Run: "r", Job: "b", Attempt: 1, Since: now, Deadline: now.Add(time.Hour), Used: first.Seq}
					second := calls("2")
					happens(engine.CalledBack{Callback: *second, Trigger: callbackTrigger(second), At: now})
					if err := r.waits.End(ctx, event.Wait{ID: "same", Run: "r", Job: "a", Attempt: 1}, first.Seq); err != nil {
						t.Fatal(err)
					}
					if _, err := r.waits.Park(ctx, b, wait.Options{}); err != nil {
						t.Fatal(err)
					}
					a := r.begin(ctx, "r", callbackTrigger(second), apart)
					a.run = run
					if err := a.endWait(run, engine.End{Wait: b, Used: second.Seq}); err != nil {
						t.Fatal(err)
					}
					a.end()
				case "claimed":
					if early, err := r.waits.Park(ctx, others, wait.Options{}); err != nil || len(early) > 0 {
						t.Fatal(early, err)
					}
				case "left":
					if err := r.waits.End(ctx, others, 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			m, err := client.Next(ctx, subject.StreamWaits, subject.Callback("same"), first.Seq)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.resume(ctx, &bus.Delivery{Stored: *m, Deliveries: c.deliveries}); err != nil {
				t.Fatal(err)
			}
			got, err := client.Run(ctx, "r")
			if err != nil {
				t.Fatal(err)
			}
			if got.Run.Status != c.status || asked.Load() != c.asked {
				t.Errorf("the run is %s, and the outside service was asked %d times; want %s, %d", got.Run.Status, asked.Load(), c.status, c.asked)
			}
		})
	}
}

// TestTheEndOfAnUnwantedRunIsFinished: who found, when its request came again, that nobody wants it has saved that it is cancelled, and died.
func TestTheEndOfAnUnwantedRunIsFinished(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(`
workflows:
  child: {job: {id: sub, type: workflow, workflow: wait}}
  wait: {job: {id: hold, type: wait}}
`), none)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	client := bustest.Start(t).Provisioned(bus.Layout{})
	r := New(Config{}, Deps{Bus: client, Document: doc, Getenv: none})
	world := engine.World{Document: doc}
	now := time.Now()
	save := func(req event.RunRequest, then ...engine.Event) {
		t.Helper()
		var run *event.Run
		for _, ev := range append([]engine.Event{engine.Requested{Request: req, Definition: doc.Hash, Trigger: "request:1", At: now}}, then...) {
			if run, _, err = engine.Advance(world, run, ev); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := r.journal.Save(ctx, run, 0); err != nil {
			t.Fatal(err)
		}
	}
	child := event.RunRequest{RunID: "p.c.run", Workflow: "child", Parent: "p.c"}
	ack, err := client.PublishRunRequest(ctx, &child)
	if err != nil {
		t.Fatal(err)
	}
	child.Seq, child.Input = ack.Seq, []byte(`{}`)
	save(child, engine.Cancelled{Reason: engine.ParentEnded, At: now})
	save(event.RunRequest{RunID: "p.c.run.sub.run", Workflow: "wait", Parent: "p.c.run.sub", Input: []byte(`{}`)})
	m, err := client.Next(ctx, subject.StreamRuns, subject.RunRequest("child"), ack.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.request(ctx, &bus.Delivery{Stored: *m, Deliveries: 3}); err != nil {
		t.Fatal(err)
	}
	got, err := client.Run(ctx, "p.c.run.sub.run")
	if err != nil || got.Run.Status != event.StatusCancelled {
		t.Errorf("the run that it asked for is %s, %v", got.Run.Status, err)
	}
}
