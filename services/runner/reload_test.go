package runner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
)

// TestAReloadCountsForRunsThatBeginThen changes a workflow while a run of it sleeps.
func TestAReloadCountsForRunsThatBeginThen(t *testing.T) {
	const was = asynchronous + "    - {id: after, component: outside, depends_on: [ask]}\n"
	is := strings.Replace(was, "id: after", "id: later", 1)
	b := begin(t, was)
	b.ask("work", "old", `{}`)
	b.status("old", event.StatusWaiting)
	if waiting, err := b.runner.Reload(t.Context(), b.document(is)); err != nil || len(waiting) > 0 {
		t.Fatalf("%q, %v", waiting, err)
	}
	b.start(is) // another runner knows the old file by NATS alone
	b.ask("work", "new", `{}`)
	b.status("new", event.StatusWaiting)
	b.callback("old.ask", event.Succeeded, `{}`)
	b.callback("new.ask", event.Succeeded, `{}`)
	b.await("old", "waiting again", func(r *event.Run) bool { return r.Jobs["after"] != nil })
	b.await("new", "waiting again", func(r *event.Run) bool { return r.Jobs["later"] != nil })
	b.callback("old.after", event.Succeeded, `{}`)
	b.callback("new.later", event.Succeeded, `{}`)
	old, fresh := b.status("old", event.StatusCompleted), b.status("new", event.StatusCompleted)
	if old.Definition == fresh.Definition {
		t.Errorf("both went by %s", old.Definition)
	}
	if got := keys(b.called()); slices.Contains(got, "old.later") || slices.Contains(got, "new.after") {
		t.Errorf("called: %v", got)
	}
}
