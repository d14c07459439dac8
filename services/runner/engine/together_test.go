package engine_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestSeveralEventsAreTakenAsOneByOne: whatever comes together, in whatever order, and twice or too late, the run becomes what it
// becomes of the same events one by one, and the same is commanded.
func TestSeveralEventsAreTakenAsOneByOne(t *testing.T) {
	ended := map[event.Status]int{}
	for seed := range uint64(*histories) / 5 {
		o := &outside{rng: rand.New(rand.NewPCG(seed, 2)), seq: 10, failing: seed%2 == 0}
		w := listing(t, o.rng)
		w.Lists = new(engine.Lists)
		run, commands := play(t, w, listed())
		o.see(commands)
		for step := 0; !run.Status.Ended() && step < 1000; step++ {
			events := o.some(run)
			one, singly := run, []string{}
			for _, ev := range events {
				var commands []engine.Command
				var err error
				if one, commands, err = engine.Advance(w, one, ev); err != nil {
					t.Fatal(err)
				}
				singly = append(append(singly, brief(commands)...), "-")
			}
			all, outcomes, err := engine.AdvanceAll(w, run, events)
			if err != nil {
				t.Fatal(err)
			}
			together, changed := []string{}, false
			for _, out := range outcomes {
				o.see(out.Commands)
				together = append(append(together, brief(out.Commands)...), "-")
				changed = changed || out.Changed
			}
			if diff := cmp.Diff(singly, together); diff != "" {
				t.Fatalf("history %d: commands one by one and together (-want +got):\n%s", seed, diff)
			}
			if got, want := document(t, all), document(t, one); got != want {
				t.Fatalf("history %d: together the run is\n%s\nand one by one\n%s", seed, got, want)
			}
			if changed != (all != run) {
				t.Fatalf("history %d: changed is %v", seed, changed)
			}
			run = all
		}
		ended[run.Status]++
	}
	if ended[event.StatusCompleted] == 0 || ended[event.StatusFailed] == 0 || ended[event.StatusWaiting]+ended[event.StatusRunning] > 0 {
		t.Errorf("the runs have ended as %v", ended)
	}
}

// listing is a workflow with a for-each, and beside it jobs that wait for one id, and a loop.
func listing(t *testing.T, rng *rand.Rand) engine.World {
	t.Helper()
	each := job("each")
	each.Type, each.Component, each.Action = compose.JobForEach, "", ""
	each.Input = template(t, "${input.list}")
	each.ForEach = &compose.ForEach{Component: "api", Action: "run", BatchSize: rng.IntN(4)}
	each.Retry = compose.Retry{MaxAttempts: 1 + rng.IntN(2)}
	shared := func(id string, needs ...string) *compose.Job {
		j := job(id, needs...)
		j.Type, j.Component, j.Action = compose.JobWait, "", ""
		j.Wait = &compose.Completion{WaitFor: template(t, "task")}
		return j
	}
	again := job("again", "shared")
	again.OnError = compose.OnError{To: "loop"}
	loop := job("loop")
	loop.MaxRunCount = 3
	after := job("after", "each", "loop")
	after.OnError.Ignore = rng.IntN(2) == 0
	return world(component(time.Hour), each, shared("shared"), shared("other", "shared"), loop, again, after)
}

func listed() engine.Requested {
	req := requested(t0)
	req.Request.Input = json.RawMessage(`{"list":["a","b","c","d","e","f","g"]}`)
	return req
}

// outside is what answers, calls back and lets time pass.
type outside struct {
	rng     *rand.Rand
	seq     uint64
	failing bool
	coming  []engine.Event
	past    []engine.Event
}

// see makes the events that follow from commands.
func (o *outside) see(commands []engine.Command) {
	for _, c := range commands {
		o.seq++
		at := after(time.Duration(o.seq) * time.Second)
		switch c := c.(type) {
		case engine.Act:
			ev := engine.Acted{
				Job: c.Job.ID, Attempt: c.Attempt, Trigger: fmt.Sprintf("callback:%d", o.seq), At: at,
				Input: json.RawMessage(`{}`), Output: json.RawMessage(`{}`), Wait: &engine.Wait{ID: c.ID},
			}
			switch n := o.rng.IntN(12); {
			case n == 0 && o.failing:
				ev.Wait, ev.Err = nil, &engine.Error{Code: "no", Message: "no"}
			case n < 3:
				ev.Wait = nil
			case n < 6:
				ev.Wait.ID = "task-" + c.ID
			}
			o.coming = append(o.coming, ev)
		case engine.Park:
			cb := callback(c.Wait.ID, o.seq, event.Succeeded, fmt.Sprintf(`{"seq":%d}`, o.seq), at)
			switch n := o.rng.IntN(12); {
			case n == 0 && o.failing:
				cb.Callback.Outcome = event.Failed
			case n == 1:
				cb.Callback.Outcome = event.Progress
			}
			o.coming = append(o.coming, cb)
		case engine.Sleep:
			o.coming = append(o.coming, engine.Expired{ID: c.Wait.ID, Seq: o.seq, Trigger: fmt.Sprintf("timeout:%d", o.seq), At: c.Wait.Deadline})
		}
	}
}

// some gives some of what is to come, and of what has come already.
func (o *outside) some(run *event.Run) []engine.Event {
	if len(o.coming) == 0 {
		for _, job := range run.Jobs { // of all whose callback has brought nothing
			if a := job.Attempts; job.Status == event.StatusWaiting && a[len(a)-1].Wait != nil {
				o.seq++
				w := a[len(a)-1].Wait
				o.coming = append(o.coming, engine.Expired{ID: w.ID, Seq: o.seq, Trigger: fmt.Sprintf("timeout:%d", o.seq), At: w.Deadline})
				break
			}
		}
	}
	o.rng.Shuffle(len(o.coming), func(i, j int) { o.coming[i], o.coming[j] = o.coming[j], o.coming[i] })
	n := min(len(o.coming), 1+o.rng.IntN(8))
	events := append([]engine.Event(nil), o.coming[:n]...)
	o.coming = o.coming[n:]
	if len(o.past) > 0 && o.rng.IntN(3) == 0 {
		ev := o.past[o.rng.IntN(len(o.past))]
		events = append(events, ev)
		if cb, ok := ev.(engine.CalledBack); ok {
			events = append(events, engine.Redelivered{Trigger: cb.Trigger, At: cb.At})
		}
	}
	o.past = append(o.past, events...)
	return events
}

func document(t *testing.T, run *event.Run) string {
	t.Helper()
	data, err := json.MarshalIndent(run, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
