package runner_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
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
