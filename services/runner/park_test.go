package runner_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
)

// TestManyWaitsAreAsIfMadeInTheirOrder, though they are made side by side: of callbacks that are there before, the one for the
// first id counts, and only it.
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
	if got := f.counted(); got[string(fate.Early)] != 1 {
		t.Errorf("counted %v, want one early", got)
	}
}
