package runner_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
)

// A callback that comes before the service has answered is left to the request's own activation: it is counted once, as
// early, and nobody fights for the document.
func TestACallbackMeetsItsRequest(t *testing.T) {
	f := &fates{bench: begin(t, `
listener: {path: /done, identify_by: "${body.id}"}
component: {id: service, base_url: OUTSIDE, path: /orders, method: POST, body: {callback: "${listener.url}", id: "${listener.id}"}}
workflow: {id: order, job: {id: ask, component: service}}
`), want: map[string]int{}}
	sent := make(chan error, 1)
	f.mu.Lock()
	f.answer = func(c call) (int, string) {
		var err error
		// What comes for nobody is counted when what was stored before it has been delivered.
		for _, id := range []string{c.key, "nobody"} {
			if _, failed := f.bus.PublishCallback(context.Background(), &event.Callback{ID: id, Outcome: event.Succeeded, Result: json.RawMessage(`{"by":"callback"}`)}); failed != nil {
				err = failed
			}
		}
		f.counts(fate.Orphan, 1)
		sent <- err
		return http.StatusAccepted, `{"task":"t"}`
	}
	f.mu.Unlock()
	f.ask("order", "r", `{}`)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	run := f.status("r", event.StatusCompleted)
	if by := run.Jobs["ask"].Attempts[0].Wait.ResumedBy; by == nil || !by.Early {
		t.Errorf("the wait was ended by %+v, want an early callback", by)
	}
	f.counts(fate.Early, 1)
	got := f.counted()
	maps.DeleteFunc(got, func(_ string, n int) bool { return n == 0 })
	if d := cmp.Diff(f.want, got); d != "" {
		t.Error(d)
	}
}
