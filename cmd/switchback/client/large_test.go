package client

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// A run whose document lies in the object store is read as any other; only a listing is spared its values.
func TestALargeRun(t *testing.T) {
	h := newHouse(t)
	run := &event.Run{ID: "large", Workflow: "w", Status: event.StatusCompleted, Output: json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)}
	data, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	object, err := h.b.Objects(subject.BucketDocuments).Put(t.Context(), "large.1", data, 0)
	if err != nil {
		t.Fatal(err)
	}
	h.put(subject.BucketRuns, "large", run.Stub(object))
	if got, err := h.Run(t.Context(), "large"); err != nil || string(got.Output) != string(run.Output) || got.Object != nil {
		t.Errorf("%d bytes, %v", len(got.Output), err)
	}
	var listed *event.Run
	if n, err := h.Runs(t.Context(), Filter{}, func(r *event.Run) bool { listed = r; return true }); err != nil || n != 1 {
		t.Fatalf("%d runs, %v", n, err)
	}
	if listed.Status != event.StatusCompleted || listed.Output != nil {
		t.Errorf("listed with %d bytes of output", len(listed.Output))
	}
	if got, err := h.Whole(t.Context(), listed); err != nil || string(got.Output) != string(run.Output) {
		t.Errorf("%v", err)
	}

	stop, err := h.b.Subscribe(t.Context(), subject.RunCancel("large"), "", func(_ context.Context, n *bus.Note) {
		data, err := json.Marshal(map[string]any{"run": run.Stub(object)})
		if err == nil {
			err = n.Respond(data)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if got, err := h.Cancel(t.Context(), "large"); err != nil || string(got.Output) != string(run.Output) {
		t.Errorf("%v", err)
	}
}
