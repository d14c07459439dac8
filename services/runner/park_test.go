package runner_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

// TestManyWaitsAreAsIfMadeInTheirOrder, though they are made side by side: of callbacks that are there before, the one for the
// first id counts, and only it; of two jobs that wait for one id, the first one has it.
func TestManyWaitsAreAsIfMadeInTheirOrder(t *testing.T) {
	const many = 70 // more than are made at once
	ids := make([]string, many)
	for i := range ids {
		ids[i] = fmt.Sprintf("id-%d", i)
	}
	f := &fates{bench: begin(t, `
workflows:
  - id: first
    job: {id: j, type: wait, wait_for: ["`+strings.Join(ids, `", "`)+`"], quorum: 1, accept_early: any}
  - id: one
    jobs:
      - {id: a, type: wait, wait_for: same}
      - {id: b, type: wait, wait_for: same}
      - {id: c, type: wait, wait_for: other}
`), want: map[string]int{}}
	for i := range many {
		f.callback(ids[many-1-i], event.Succeeded, fmt.Sprint(many-1-i))
	}
	f.counts(fate.Orphan, many)
	f.ask("first", "f", `{}`)
	if run := f.status("f", event.StatusCompleted); string(run.Output) != "0" {
		t.Errorf("the callback for id %s counted", run.Output)
	}
	for _, id := range ids {
		f.gone(id)
	}
	f.ask("one", "o", `{}`)
	run := f.status("o", event.StatusFailed)
	if run.Error.Job != "b" || run.Error.Code != "wait_conflict" {
		t.Errorf("error: %+v", run.Error)
	}
	f.gone("same")
	f.gone("other")
	if got := f.counted(); got[string(fate.Early)] != 1 {
		t.Errorf("counted %v, want one early", got)
	}
}

// TestJobsOfOneRunMayWaitForOneID, one after the other: the next one takes it over at once, also when it does not get far at
// first, and both its callback and its deadline are its own.
func TestJobsOfOneRunMayWaitForOneID(t *testing.T) {
	b := begin(t, `
workflows:
  - id: line
    jobs:
      - {id: a, type: wait, wait_for: same}
      - {id: b, type: wait, wait_for: same, depends_on: [a]}
      - {id: c, type: wait, wait_for: [same, other], depends_on: [b]}
    output: ["${jobs.a.output}", "${jobs.b.output}", "${jobs.c.output}"]
  - id: short
    jobs:
      - {id: a, type: wait, wait_for: same}
      - {id: b, type: wait, wait_for: same, depends_on: [a], timeout: 1ms}
`)
	waits := func(run, job string) {
		b.await(run, job+" waits", func(r *event.Run) bool { return r.Jobs[job] != nil && r.Jobs[job].Status == event.StatusWaiting })
	}
	b.ask("line", "l", `{}`)
	for i, job := range []string{"a", "b", "c"} {
		waits("l", job)
		b.callback("same", event.Succeeded, fmt.Sprint(i+1))
	}
	b.callback("other", event.Succeeded, "4")
	if run := b.status("l", event.StatusCompleted); string(run.Output) != "[1,2,[3,4]]" {
		t.Errorf("output: %s", run.Output)
	}
	b.gone("same")
	b.ask("short", "s", `{}`)
	waits("s", "a")
	b.callback("same", event.Succeeded, "1")
	if run := b.status("s", event.StatusFailed); run.Error.Job != "b" || run.Error.Code != "timeout" {
		t.Errorf("error: %+v", run.Error)
	}
	b.gone("same")
}

// TestWhatACallbackHasSetOffIsDone, though a later job has taken its id over since, and been done with it.
func TestWhatACallbackHasSetOffIsDone(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	b := &bench{t: t, bus: connect(t, bustest.Start(t)), config: runner.Config{MaxDeliveries: 20}, getenv: func(string) (string, bool) {
		if broken.Load() {
			panic("the environment is on fire")
		}
		return "mended", true
	}}
	b.start(`
component: {type: logger, message: "${env.FRAGILE}"}
workflow:
  id: fork
  jobs:
    - {id: a, type: wait, wait_for: same}
    - {id: b, type: wait, wait_for: same, depends_on: [a]}
    - {id: say, depends_on: [a]}
`)
	b.ask("fork", "f", `{}`)
	stands := func(job string) {
		bustest.Eventually(t, "the wait of "+job+" stands", func() bool { // its timer is made last
			_, err := b.bus.Last(t.Context(), subject.StreamWaits, subject.Timer("f."+job))
			return err == nil
		})
	}
	stands("a")
	b.callback("same", event.Succeeded, "1")
	stands("b")
	b.callback("same", event.Succeeded, "2")
	b.await("f", "b is done", func(r *event.Run) bool { return r.Jobs["b"] != nil && r.Jobs["b"].Status == event.StatusCompleted })
	b.gone("same")
	broken.Store(false)
	b.status("f", event.StatusCompleted)
}
