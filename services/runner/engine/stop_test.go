package engine_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestARunEndsWithoutItsDefinition as it does with it, at every point of every recorded run: only the workflow for its failure is
// not known then.
func TestARunEndsWithoutItsDefinition(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/next/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is recorded: %v", err)
	}
	w := readWorld(t, filepath.Join("testdata", "recorded", next, "switchback.yaml"))
	ended := 0
	for _, file := range files {
		for i, doc := range readRecording(t, file).Documents {
			run := new(event.Run)
			if err := json.Unmarshal(doc, run); err != nil {
				t.Fatal(err)
			}
			at := t0.AddDate(1, 0, 0)
			// Of a run that goes on since it was cancelled only what it waited for before is left over, whatever the clocks of two runners say.
			same, all, err := engine.Advance(w, run, engine.Cancelled{Again: true, Asked: at, At: at})
			for _, c := range all {
				end, ok := c.(engine.End)
				if err != nil || same != run || !ok || !run.Status.Ended() && end.Wait.Attempt == len(run.Jobs[end.Wait.Job].Attempts) {
					t.Errorf("%s, document %d: a cancel is looked at once more: %s, %+v, %v", file, i, same.Status, c, err)
				}
			}
			for _, ev := range []engine.Event{
				engine.Abandoned{Message: "no", Trigger: "callback:7", At: at},
				engine.Cancelled{At: at},
				engine.Abandoned{Message: "no", Trigger: run.EndedBy, At: at}, // once more, where it has ended
			} {
				with, all, err := engine.Advance(w, run, ev)
				if err != nil {
					t.Fatal(err)
				}
				without, fewer, err := engine.Advance(engine.World{}, run, ev)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(plain(t, encode(t, with)), plain(t, encode(t, without))); d != "" {
					t.Errorf("%s, document %d, %T: (-with +without)\n%s", file, i, ev, d)
				}
				if d := cmp.Diff(toEnd(t, all), toEnd(t, fewer)); d != "" {
					t.Errorf("%s, document %d, %T: the commands (-with +without)\n%s", file, i, ev, d)
				}
				if !run.Status.Ended() {
					ended++
					if !with.Status.Ended() || with.Error == nil || with.EndedAt != at {
						t.Errorf("%s, document %d, %T: it is %s: %+v", file, i, ev, with.Status, with.Error)
					}
				}
			}
		}
	}
	if ended < 100 {
		t.Errorf("only %d have ended", ended)
	}
}

// toEnd are commands in no order, without those that begin something, or do again what a later look would end.
func toEnd(t *testing.T, commands []engine.Command) []string {
	t.Helper()
	all := slices.DeleteFunc(allOf(t, commands), func(c string) bool { return strings.HasPrefix(c, "start ") })
	slices.Sort(all)
	return all
}

func TestARunThatWasGivenUpBeforeItBegan(t *testing.T) {
	w := world(component(0), job("a"))
	unborn := &event.Run{ID: "r", Workflow: "w", Status: event.StatusFailed, EndedBy: "request:7", Input: json.RawMessage(`{}`)}
	retried := engine.Retried{Request: 8, Trigger: "request:8", At: t0}
	run, commands, err := engine.Advance(w, unborn, retried)
	if err != nil || run.Status != event.StatusRunning || run.StartedAt != t0 || len(commands) == 0 {
		t.Errorf("%+v, %v, %v", run, commands, err)
	}
	w.Document.Workflows[0].Inputs = append(w.Document.Workflows[0].Inputs, &compose.Input{Name: "n", Required: true})
	run, _, err = engine.Advance(w, unborn, retried)
	if err != nil || run.Status != event.StatusFailed || run.Error == nil || run.Error.Code != "input" || run.RetriedBy != "request:8" {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestACancelThatComesLate finds a run that was tried again since, and leaves it alone.
func TestACancelThatComesLate(t *testing.T) {
	w := world(component(0), job("a"))
	run, _ := play(t, w, requested(t0), engine.Cancelled{At: after(time.Second)}, engine.Retried{Request: 8, Trigger: "request:8", At: after(3 * time.Second)})
	for asked, want := range map[time.Time]event.Status{
		after(time.Second): event.StatusRunning, after(4 * time.Second): event.StatusCancelled, {}: event.StatusCancelled,
	} {
		if got, _, err := engine.Advance(w, run, engine.Cancelled{Asked: asked, At: after(5 * time.Second)}); err != nil || got.Status != want {
			t.Errorf("asked for at %v it is %s, want %s, %v", asked, got.Status, want, err)
		}
	}
}

// TestEachEndHasItsOwnHook: a run that fails again after it was tried again is told of again.
func TestEachEndHasItsOwnHook(t *testing.T) {
	w := world(component(0), job("a"))
	w.Document.Workflows[0].OnFailure = &compose.Hook{Workflow: "note"}
	failed := func(trigger string, attempt int) engine.Acted {
		return engine.Acted{Job: "a", Attempt: attempt, Trigger: trigger, At: t0, Err: &engine.Error{Code: "http_500", Message: "no"}}
	}
	retried := engine.Retried{Request: 8, Trigger: "request:8", At: t0}
	for _, tc := range []struct {
		want   string
		events []engine.Event
	}{
		{"r.on-failure", []engine.Event{requested(t0), failed("request:7", 1)}},
		{"r.on-failure", []engine.Event{requested(t0), retried, failed("request:7", 1)}}, // asked for while it went
		{"r.on-failure.8", []engine.Event{requested(t0), failed("request:7", 1), retried, failed("request:8", 2)}},
	} {
		run, commands := play(t, w, tc.events...)
		_, again, err := engine.Advance(w, run, engine.Redelivered{Trigger: run.EndedBy, At: t0})
		if err != nil {
			t.Fatal(err)
		}
		for _, commands := range [][]engine.Command{commands, again} {
			var ids []string
			for _, c := range commands {
				if start, ok := c.(engine.StartRun); ok {
					ids = append(ids, start.ID)
				}
			}
			if got := strings.Join(ids, " "); got != tc.want {
				t.Errorf("asks for %q, want %q", got, tc.want)
			}
		}
	}
}

// TestARetryIsDealtWithOnce: two runners may have the message, and one of them come to it later. What the other has acknowledged as nothing
// to do, because the run goes already, is not done after the run's next end: nobody would carry it on.
func TestARetryIsDealtWithOnce(t *testing.T) {
	w := world(component(0), job("a"))
	fails := func(attempt int, trigger string) engine.Acted {
		return engine.Acted{Job: "a", Attempt: attempt, Trigger: trigger, At: after(time.Second), Err: &engine.Error{Code: "x", Message: "no"}}
	}
	retry := func(n uint64) engine.Retried {
		return engine.Retried{Request: n, Trigger: fmt.Sprintf("request:%d", n), At: after(time.Second)}
	}
	asked := func(n uint64, at time.Duration) engine.Retried {
		ev := retry(n)
		ev.Asked, ev.At = after(at), after(time.Minute)
		return ev
	}
	failed := []engine.Event{requested(t0), fails(1, "request:7")}
	for name, tc := range map[string]struct {
		events   []engine.Event
		states   string
		commands []string
	}{
		"it goes again":                  {[]engine.Event{retry(8)}, "running a=running", []string{"act r.a.2 until 24h0m1s"}},
		"asked for while it goes":        {[]engine.Event{retry(8), retry(9), fails(2, "request:8"), retry(9)}, "failed a=failed", []string{}},
		"before the one that made it go": {[]engine.Event{retry(9), fails(2, "request:9"), retry(8)}, "failed a=failed", []string{}},
		"the message that made it go":    {[]engine.Event{retry(8), retry(9), retry(8)}, "running a=running", []string{"act r.a.2 until 24h0m1s"}},
		"an earlier one, again":          {[]engine.Event{asked(8, time.Second), asked(9, time.Second), fails(2, "request:8"), asked(8, time.Second)}, "failed a=failed", []string{"finish"}},
		// The stream of requests was made anew: their numbers begin again.
		"asked for later, by a lower number":   {[]engine.Event{retry(8), fails(2, "request:8"), asked(3, time.Minute)}, "running a=running", []string{"act r.a.3 until 24h1m0s"}},
		"asked for later, by the same number":  {[]engine.Event{retry(8), fails(2, "request:8"), asked(8, time.Minute)}, "running a=running", []string{"act r.a.3 until 24h1m0s"}},
		"that again, while it goes":            {[]engine.Event{retry(8), fails(2, "request:8"), asked(3, time.Minute), asked(3, time.Minute)}, "running a=running", []string{"act r.a.3 until 24h1m0s"}},
		"that again, after the run has failed": {[]engine.Event{retry(8), fails(2, "request:8"), asked(3, time.Minute), fails(3, "request:3"), asked(3, time.Minute)}, "failed a=failed", []string{"finish"}},
		"asked for again after it failed":      {[]engine.Event{retry(8), fails(2, "request:8"), retry(9)}, "running a=running", []string{"act r.a.3 until 24h0m1s"}},
	} {
		run, commands := play(t, w, slices.Concat(failed, tc.events)...)
		if got := states(run); got != tc.states {
			t.Errorf("%s: it is %q, want %q", name, got, tc.states)
		}
		if d := cmp.Diff(tc.commands, brief(commands)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
