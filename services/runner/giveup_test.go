package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

// fragile are workflows that ask the runner's environment in the middle of the engine: where that panics, the engine does.
const fragile = `
component: {type: logger, message: "x"}
workflows:
  parent: {job: {id: child, type: workflow, workflow: work, input: {from: parent}}}
  work:
    concurrency: {limit: 1}
    job: {id: hold, type: wait, wait_for: "${input.from}"}
    output: "${env.FRAGILE}"
  hooked:
    job: {id: hold, type: wait}
    output: "${env.FRAGILE}"
    on_failure: {workflow: note, input: {why: "${error.message}"}}
  hookless:
    job: {id: hold, type: wait}
    output: "${env.FRAGILE}"
    on_failure: {workflow: note, input: {why: "${env.FRAGILE}"}}
  note: {job: {id: say}}
  early:
    input: {n: {type: integer, default: 3}}
    concurrency: {limit: 1, key: "${env.FRAGILE}"}
    job: {id: hold, type: wait}
    output: "${input.n}"
`

// beginFragile starts a runner whose environment panics while the switch is on.
func beginFragile(t *testing.T, file string) (b *bench, broken *atomic.Bool) {
	t.Helper()
	broken = new(atomic.Bool)
	b = &bench{
		t: t, bus: connect(t, bustest.Start(t)), config: runner.Config{MaxDeliveries: 2},
		getenv: func(string) (string, bool) {
			if broken.Load() {
				panic("the environment is on fire")
			}
			return "mended", true
		},
	}
	b.stop = b.start(file)
	return b, broken
}

func (b *bench) givenUp(id, why string) *event.Run {
	b.t.Helper()
	run := b.status(id, event.StatusFailed)
	if run.Error == nil || run.Error.Code != "given_up" || !strings.Contains(run.Error.Message, why) ||
		!strings.Contains(run.Error.Message, "switchback runs retry "+id) || run.EndedAt.IsZero() {
		b.t.Errorf("run %s has failed with %+v", id, run.Error)
	}
	return run
}

func (b *bench) retry(id, workflow string) {
	b.t.Helper()
	if _, err := b.bus.PublishRunRequest(b.t.Context(), &event.RunRequest{RunID: id, Workflow: workflow, Retry: true}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) waits(id string) {
	b.t.Helper()
	b.await(id, "waiting for its callback", func(r *event.Run) bool {
		return r.Jobs["hold"] != nil && r.Jobs["hold"].Status == event.StatusWaiting && !r.Queued()
	})
	// The document is saved before the wait is made. A callback in between is early, and who is to be blamed for it is another message.
	bustest.Eventually(b.t, "the wait stands", func() bool {
		for _, on := range []string{subject.Wait(id + ".hold"), subject.Timer(id + ".hold")} { // its own id's, and a shared one's
			if _, err := b.bus.Last(b.t.Context(), subject.StreamWaits, on); err == nil {
				return true
			}
		}
		return false
	})
}

// gone waits until nobody waits for an id any more.
func (b *bench) gone(id string) {
	b.t.Helper()
	bustest.Eventually(b.t, "the wait for "+id+" goes", func() bool {
		_, err := b.bus.Bucket(subject.BucketWaits).Get(b.t.Context(), id)
		return errors.Is(err, bus.ErrNotFound)
	})
}

// TestARunThatTheEnginePanicsAtEnds as failed: its parent, the next one in the queue and whoever looks learn of it.
func TestARunThatTheEnginePanicsAtEnds(t *testing.T) {
	b, broken := beginFragile(t, fragile)
	b.ask("parent", "p", `{}`)
	b.waits("p.child.run")
	b.ask("work", "next", `{"from":"next"}`)
	b.await("next", "queued", queued)
	b.ask("hooked", "sound", `{}`)
	b.waits("sound")

	broken.Store(true)
	b.callback("parent", event.Succeeded, `{}`)
	child := b.givenUp("p.child.run", "panic: the environment is on fire")
	if child.Jobs["hold"].Status != event.StatusCancelled {
		t.Errorf("its job is %s", child.Jobs["hold"].Status)
	}
	parent := b.status("p", event.StatusFailed)
	if parent.Error == nil || parent.Error.Code != "callback_failed" || !strings.Contains(parent.Error.Message, "the environment is on fire") {
		t.Errorf("the parent's error is %+v", parent.Error)
	}
	b.waits("next")
	b.gone("parent")
	if dead := b.dead("callback", "parent"); !strings.Contains(dead.Reason, "goroutine") {
		t.Errorf("the dead callback: %s", dead.Reason)
	}
	b.await("sound", "untouched", func(r *event.Run) bool { return r.Status == event.StatusWaiting })

	broken.Store(false)
	b.callback("next", event.Succeeded, `{}`)
	b.status("next", event.StatusCompleted)
	b.retry("p.child.run", "work") // it takes the callback that was given up
	if run := b.status("p.child.run", event.StatusCompleted); string(run.Output) != `"mended"` || run.Error != nil {
		t.Errorf("tried again it brings %s, %+v", run.Output, run.Error)
	}
}

// TestAFailureThatIsGivenUpIsToldTo the workflow that the file names for it, where that is possible.
func TestAFailureThatIsGivenUpIsTold(t *testing.T) {
	b, broken := beginFragile(t, fragile)
	for _, id := range []string{"hooked", "hookless"} {
		b.ask(id, id, `{}`)
		b.waits(id)
	}
	broken.Store(true)
	for _, id := range []string{"hooked", "hookless"} {
		b.callback(id+".hold", event.Succeeded, `{}`)
		b.givenUp(id, "panic")
	}
	note := b.status("hooked.on-failure", event.StatusCompleted)
	if !strings.Contains(string(note.Input), "on fire") {
		t.Errorf("it was told %s", note.Input)
	}
	b.gone("hookless.hold") // whose failure cannot be told without another panic
}

// TestARunThatCannotBeBegunIsThere, though nothing was saved of it before.
func TestARunThatCannotBeBegunIsThere(t *testing.T) {
	b, broken := beginFragile(t, fragile)
	broken.Store(true)
	told := make(chan *bus.Note, 8)
	stop, err := b.bus.Subscribe(t.Context(), "answers.here", "", func(_ context.Context, n *bus.Note) { told <- n })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "e", Workflow: "early", Input: json.RawMessage(`{"a":1}`), ReplyTo: "answers.here"}); err != nil {
		t.Fatal(err)
	}
	run := b.givenUp("e", "panic")
	if !run.StartedAt.IsZero() || string(run.Input) != `{"a":1,"n":3}` && string(run.Input) != `{"a":1}` || run.Definition == "" {
		t.Errorf("%+v", run)
	}
	if n := <-told; !strings.Contains(string(n.Data), `"given_up"`) {
		t.Errorf("its asker was told %s", n.Data)
	}
	b.ask("hooked", "other", `{}`)
	b.waits("other")
	broken.Store(false)
	b.retry("e", "early")
	b.waits("e")
	b.callback("e.hold", event.Succeeded, ``)
	if run := b.status("e", event.StatusCompleted); string(run.Output) != "3" || run.StartedAt.IsZero() || string(run.Turn.Key) != `"mended"` {
		t.Errorf("tried again: output %s, started %v, %+v", run.Output, run.StartedAt, run.Turn)
	}
}

// TestARunWithoutItsDefinition ends, can be cancelled, and goes on when its definition is there again.
func TestARunWithoutItsDefinition(t *testing.T) {
	b, _ := beginFragile(t, fragile)
	for _, id := range []string{"lost", "cancelled"} {
		b.ask("hooked", id, `{}`)
		b.waits(id)
	}
	hash := b.status("lost", event.StatusWaiting).Definition
	b.stop()
	definitions := b.bus.Bucket(subject.BucketDefinitions)
	kept, err := definitions.Get(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := definitions.Delete(t.Context(), hash); err != nil {
		t.Fatal(err)
	}
	b.start(strings.ReplaceAll(fragile, "limit: 1", "limit: 2"))

	b.callback("lost.hold", event.Succeeded, `{}`)
	b.givenUp("lost", "find the definition "+hash)
	b.gone("lost.hold")
	answer, err := b.bus.Request(t.Context(), subject.RunCancel("cancelled"), nil, nil)
	if err != nil || !strings.Contains(string(answer), `"status":"cancelled"`) {
		t.Errorf("cancelled: %s, %v", answer, err)
	}
	b.gone("cancelled.hold")

	b.retry("lost", "hooked") // too soon
	b.dead("request", "hooked")
	b.givenUp("lost", "find the definition")
	if _, err := definitions.Create(t.Context(), hash, kept.Value, 0); err != nil {
		t.Fatal(err)
	}
	b.retry("lost", "hooked")
	b.await("lost", "waiting again", func(r *event.Run) bool { return r.Status == event.StatusWaiting })
	b.callback("lost.hold.2", event.Succeeded, `{}`)
	b.status("lost", event.StatusCompleted)
}
