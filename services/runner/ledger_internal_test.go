package runner

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

// TestWhatComesTogetherIsSavedOnce: the answers of a for-each's items that are there, and the callbacks that come while the run is being
// saved. What is counted are the writes on the bucket.
func TestWhatComesTogetherIsSavedOnce(t *testing.T) {
	const items = 50
	ctx := t.Context()
	client := bustest.Start(t).Provisioned(bus.Layout{})
	none := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(`
listener: {path: /done, identify_by: "${body.id}"}
component: {id: service, base_url: "http://127.0.0.1:1", body: {callback: "${listener.url}", id: "${listener.id}"}}
workflow: {id: many, job: {id: each, type: for-each, input: "${input.list}", do: {component: service}}}`), none)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{}, Deps{Bus: client, Document: doc, Getenv: none})
	input, err := json.Marshal(map[string]any{"list": make([]int, items)})
	if err != nil {
		t.Fatal(err)
	}
	run, _, err := engine.Advance(engine.World{Document: doc}, nil, engine.Requested{
		Request: event.RunRequest{RunID: "r", Workflow: "many", Input: input, Seq: 1}, Definition: doc.Hash, Trigger: "request:1", At: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := r.journal.Save(ctx, run, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing else is written there, so a write is the next revision.
	writes := func(since journal.Revision) uint64 {
		_, rev, err := r.journal.Load(ctx, "r")
		if err != nil {
			t.Fatal(err)
		}
		return uint64(rev - since)
	}

	a := r.begin(ctx, "r", "request:1", leader)
	if err := a.adopt(run, first); err != nil {
		t.Fatal(err)
	}
	a.results = make(chan performed, items)
	for i := range items {
		job := fmt.Sprintf("each.i%d", i)
		a.flying++
		a.results <- performed{acted: engine.Acted{Job: job, Attempt: 1, At: time.Now(), Wait: &engine.Wait{ID: event.InvocationID("r", job, 1)}}}
	}
	if err := a.takeAll(<-a.results); err != nil {
		t.Fatal(err)
	}
	if err := a.save(); err != nil {
		t.Fatal(err)
	}
	if n := writes(first); n != 1 || a.flying != 0 {
		t.Errorf("%d answers took %d writes, and %d are left", items, n, a.flying)
	}
	a.end()

	l := a.ledger
	r.ledgers["r"] = l // as if another were at it
	l.busy = true
	var coming sync.WaitGroup
	for i := range items {
		coming.Go(func() {
			cb := event.Callback{ID: fmt.Sprintf("r.each.i%d", i), Seq: uint64(100 + i), Outcome: event.Succeeded, Result: []byte(`{}`)}
			a := r.begin(ctx, "r", callbackTrigger(&cb), member)
			defer a.end()
			changed, err := a.resume(engine.CalledBack{Callback: cb, Trigger: a.trigger, At: time.Now()})
			if err != nil || !changed {
				t.Errorf("callback %d: %v, %v", i, changed, err)
			}
		})
	}
	bustest.Eventually(t, "all have come, and wait for who saves", func() bool {
		run, _ := l.now()
		return run.Status == event.StatusCompleted
	})
	if n := writes(first); n != 1 {
		t.Errorf("something is written while somebody else writes: %d", n)
	}
	l.mu.Lock()
	l.busy = false
	if l.free != nil {
		close(l.free)
		l.free = nil
	}
	l.mu.Unlock()
	coming.Wait()
	if n := writes(first); n != 2 {
		t.Errorf("%d callbacks took %d writes", items, n-1)
	}
	if run, _, err := r.journal.Load(ctx, "r"); err != nil || run.Status != event.StatusCompleted {
		t.Errorf("the run is %+v, %v", run, err)
	}
	if len(r.ledgers) > 0 {
		t.Errorf("kept of a run that nobody works on: %v", r.ledgers)
	}
}
