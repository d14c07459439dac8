package runner

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// TestDefinitionsAreKeptWithinBounds: whoever saves the file a thousand times does not fill the memory, and a run of the first one is found.
func TestDefinitionsAreKeptWithinBounds(t *testing.T) {
	bucket := bustest.Start(t).Provisioned(bus.Layout{Memory: true}).Bucket(subject.BucketDefinitions)
	none := func(string) (string, bool) { return "", false }
	file := func(n int) *compose.Document {
		doc, err := compose.Parse(fmt.Appendf(nil, "component: {type: logger, message: number %d}\nworkflow: {job: {id: say}}", n), none)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	first := file(0)
	d := newDefinitions(bucket, first, none, slog.New(slog.DiscardHandler))
	if err := d.publish(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	for n := range keptDefinitions + 10 {
		if err := d.replace(t.Context(), file(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.older.Len(); n != keptDefinitions {
		t.Errorf("%d are kept", n)
	}
	if d.older.Contains(first.Hash) {
		t.Error("the first one is kept for ever")
	}
	def, err := d.get(t.Context(), first.Hash)
	if err != nil || def.doc.Workflows[0].ID != first.Workflows[0].ID || !d.older.Contains(first.Hash) {
		t.Errorf("the first one: %+v, %v", def, err)
	}
	if _, err := d.get(t.Context(), "none"); !errors.Is(err, bus.ErrNotFound) || !isPoison(err) {
		t.Errorf("one that there is not: %v", err)
	}
}
