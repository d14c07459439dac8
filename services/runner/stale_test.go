package runner_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestWhatARunnerRemembersIsOutOfDate has a run go on behind the back of the runner that has put it to sleep and remembers
// it so. A callback then meets the run as it is.
func TestWhatARunnerRemembersIsOutOfDate(t *testing.T) {
	f := &fates{bench: begin(t, waiters), want: map[string]int{}}
	world := engine.World{Document: f.document(waiters)}
	now := time.Now()
	other := func(o event.Outcome, result string) engine.Event {
		return engine.CalledBack{Callback: event.Callback{ID: "other.j", Outcome: o, Result: json.RawMessage(result), Seq: 1}, Trigger: "callback:1", At: now}
	}
	for name, c := range map[string]struct {
		meanwhile engine.Event
		counted   fate.Fate
		status    event.Status
		output    string
	}{
		"cancelled":      {engine.Cancelled{At: now}, fate.Late, event.StatusCancelled, ""},
		"out-of-time":    {engine.Expired{ID: "out-of-time.j", Seq: 1, Trigger: "timeout:1", At: now.Add(25 * time.Hour)}, fate.Late, event.StatusFailed, ""},
		"called-back":    {other(event.Succeeded, `"first"`), fate.Duplicate, event.StatusCompleted, `"first"`},
		"told-otherwise": {other(event.Progress, `50`), fate.Matched, event.StatusCompleted, `{}`},
	} {
		if cb, ok := c.meanwhile.(engine.CalledBack); ok {
			cb.Callback.ID = name + ".j"
			c.meanwhile = cb
		}
		f.ask("own", name, `{}`)
		f.status(name, event.StatusWaiting)
		f.stands(name+".j", name)
		doc, err := f.bus.Run(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		run, _, err := engine.Advance(world, doc.Run, c.meanwhile)
		if err != nil || run == doc.Run {
			t.Fatalf("%s: the run does not change, %v", name, err)
		}
		data, err := json.Marshal(run)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := f.bus.Bucket(subject.BucketRuns).Update(t.Context(), name, data, doc.Revision, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.send(name+".j", event.Succeeded, c.counted, fate.Told{})
		doc, err = f.bus.Run(t.Context(), name)
		if err != nil || doc.Run.Status != c.status || string(doc.Run.Output) != c.output {
			t.Errorf("%s: %+v, %v", name, doc, err)
		}
		if doc.Run.Status == run.Status && doc.Revision != rev {
			t.Errorf("%s: a run that had ended was saved again", name)
		}
	}
	if got := f.counted(); fmt.Sprint(got) != fmt.Sprint(complete(f.want)) {
		t.Errorf("counted %v, want %v", got, complete(f.want))
	}
}

// complete adds the fates that no callback has had.
func complete(counted map[string]int) map[string]int {
	for _, f := range fate.All() {
		if f != fate.Pending {
			counted[string(f)] += 0
		}
	}
	return counted
}

// TestTwoRunnersRememberTheSameRuns: each is sent progress, and then two callbacks that say different things, which the runners take
// side by side, with documents that are out of date every other time. The first one stored is the first one taken.
func TestTwoRunnersRememberTheSameRuns(t *testing.T) {
	b := begin(t, asynchronous)
	stopSecond := b.start(asynchronous)
	const runs = 24
	id := func(i int) string { return fmt.Sprintf("r%d", i) }
	for i := range runs {
		b.ask("work", id(i), `{}`)
	}
	for i := range runs {
		b.status(id(i), event.StatusWaiting)
	}
	for percent := range 4 {
		for i := range runs {
			b.callback(id(i)+".ask", event.Progress, fmt.Sprintf(`{"percent":%d}`, percent))
		}
	}
	for i := range runs {
		b.callback(id(i)+".ask", event.Succeeded, `{"said":"first"}`)
		b.callback(id(i)+".ask", event.Succeeded, `{"said":"second"}`)
		if i == runs/2 {
			stopSecond() // what it knows is lost, and must not matter
		}
	}
	for i := range runs {
		run := b.status(id(i), event.StatusCompleted)
		if !strings.Contains(string(run.Output), `"said":"first"`) {
			t.Errorf("run %s took %s", id(i), run.Output)
		}
		if got := string(run.Jobs["ask"].Progress); got != "" && got != `{"percent":3}` {
			t.Errorf("run %s: progress %s", id(i), got)
		}
	}
	if called := b.called(); len(called) != runs {
		t.Errorf("the outside service was asked %d times", len(called))
	}
}
