package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// TestACancelIsFinishedByAnother: a runner gets no further than saving that a run is cancelled. The others tell its parent, end its
// wait, and give its turn to the next.
func TestACancelIsFinishedByAnother(t *testing.T) {
	s := bustest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "p"},
			{Username: "dying", Password: "p", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"callback.>", "$KV.slots.>", "$KV.waits.>"}},
			}},
		}
	})
	as := func(user string) *bus.Bus {
		b, err := bus.Connect(t.Context(), bus.Options{URL: strings.Replace(s.URL(), "//", "//"+user+":p@", 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		return b
	}
	b := &bench{t: t, bus: as("all")}
	if err := b.bus.Provision(t.Context(), provisioned); err != nil {
		t.Fatal(err)
	}
	stop := b.start(fragile)
	b.ask("parent", "p", `{}`)
	b.waits("p.child.run")
	b.ask("work", "next", `{"from":"next"}`)
	b.await("next", "queued", queued)
	b.callback("parent", event.Progress, `1`) // what was begun is done when this is
	b.await("p.child.run", "progressing", func(r *event.Run) bool { return r.Jobs["hold"].Progress != nil })
	stop()

	healthy := b.bus
	b.bus = as("dying")
	stop = b.start(fragile)
	b.bus = healthy
	if err := b.bus.Notify(subject.RunCancel("p.child.run"), nil, []byte("enough")); err != nil {
		t.Fatal(err)
	}
	b.status("p.child.run", event.StatusCancelled)
	stop()
	if run := b.status("p", event.StatusWaiting); run.Error != nil {
		t.Fatalf("the parent knows already: %+v", run.Error)
	}
	b.await("next", "queued", queued)

	b.start(fragile)
	parent := b.status("p", event.StatusFailed)
	if parent.Error == nil || !strings.Contains(parent.Error.Message, "is cancelled: enough") {
		t.Errorf("the parent's error is %+v", parent.Error)
	}
	b.waits("next")
	b.gone("parent")
}

const parented = `
component: {id: outside, base_url: OUTSIDE, path: /work, body: {}}
workflows:
  parent: {job: {id: child, type: workflow, workflow: work, input: {}}}
  work: {job: {id: ask, component: outside}}
  wait: {job: {id: hold, type: wait}}
  other: {job: {id: child, type: wait}}
`

// TestARunThatNobodyWantsAnyMore has lain in the queue while the run that asked for it was cancelled: who did that found no
// document of it.
func TestARunThatNobodyWantsAnyMore(t *testing.T) {
	b := begin(t, parented)
	b.ask("wait", "p", `{}`)
	b.waits("p")
	if _, err := b.bus.Request(t.Context(), subject.RunCancel("p"), nil, nil); err != nil {
		t.Fatal(err)
	}
	for id, parent := range map[string]string{"late": "p.hold", "late-item": "p.hold.i0.2"} {
		if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: id, MsgID: id, Workflow: "work", Parent: parent}); err != nil {
			t.Fatal(err)
		}
		if run := b.status(id, event.StatusCancelled); run.Error == nil || run.Error.Message != engine.ParentEnded {
			t.Errorf("it is cancelled with %+v", run.Error)
		}
	}
	// A run that has ended may be called as another's job: it has asked for nothing.
	b.ask("other", "p2", `{}`)
	b.status("p2", event.StatusWaiting)
	b.ask("work", "p2.child", `{}`)
	b.status("p2.child", event.StatusCompleted)
	if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "second", MsgID: "second", Workflow: "work", Parent: "p2.child.2"}); err != nil {
		t.Fatal(err)
	}
	b.status("second", event.StatusCompleted)
	b.ask("parent", "q", `{}`)
	b.status("q", event.StatusCompleted)
	if got, want := keys(b.called()), []string{"p2.child.ask", "second.ask", "q.child.run.ask"}; !slices.Equal(got, want) {
		t.Errorf("the outside service was asked for %v", got)
	}
}

// TestAWaitThatIsMadeBesideACancel by a runner that was about to is ended when the cancel is looked at once more.
func TestAWaitThatIsMadeBesideACancel(t *testing.T) {
	b := begin(t, parented)
	b.ask("wait", "r", `{}`)
	b.waits("r")
	asked := time.Now()
	if _, err := b.bus.Request(t.Context(), subject.RunCancel("r"), nil, nil); err != nil {
		t.Fatal(err)
	}
	b.gone("r.hold")
	late := event.Wait{ID: "r.hold", Run: "r", Job: "hold", Attempt: 1, Since: time.Now(), Deadline: time.Now().Add(time.Hour)}
	if _, err := wait.New(b.bus).Park(t.Context(), late, wait.Options{}); err != nil {
		t.Fatal(err)
	}
	timer, err := b.bus.Last(t.Context(), subject.StreamWaits, subject.Timer(engine.LeftoverID("r")))
	switch {
	case errors.Is(err, bus.ErrNotFound) && time.Since(asked) > 3*time.Second:
		// On a busy machine it has rung before the wait was made.
		timer = &bus.Stored{Data: []byte(`{"id":"r..left","run":"r"}`)}
	case err != nil:
		t.Fatal(err)
	}
	// As the server does in a moment.
	if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: subject.Timeout(engine.LeftoverID("r")), Data: timer.Data}); err != nil {
		t.Fatal(err)
	}
	b.gone("r.hold")
	if run := b.status("r", event.StatusCancelled); run.EndedBy != engine.CancelTrigger {
		t.Errorf("it has ended by %s", run.EndedBy)
	}
}
