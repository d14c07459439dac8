package journal_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

// TestSweepingBelievesNoReadThatFindsNoRun: the answers of a server that leads the stream no more are stood in for by those for a
// key that is not there.
func TestSweepingBelievesNoReadThatFindsNoRun(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	j := journal.New(b, time.Hour)
	j.Unsaved(0)
	save(t, j, large("old", event.StatusWaiting), 0)
	kept := stored(t, b, "old")
	if _, err := b.Objects(subject.BucketDocuments).Put(t.Context(), "never.saved", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}

	account := s.Server().GlobalAccount()
	const read = "$JS.API.DIRECT.GET.KV_runs.$KV.runs."
	if err := account.AddMapping(read+"old", read+"nothing"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Stub(t.Context(), "old"); !errors.Is(err, bus.ErrNotFound) {
		t.Fatalf("the read tells the truth: %v", err)
	}
	if n, err := j.Sweep(t.Context(), 0); err != nil || n != 1 {
		t.Errorf("%d removed, %v", n, err)
	}
	if got := objects(t, b); !slices.Equal(got, []string{kept}) {
		t.Errorf("left are %q, want %s", got, kept)
	}
	account.RemoveMapping(read + "old")
	run, rev, err := journal.New(b, time.Hour).Load(t.Context(), "old")
	if err != nil || run == nil || len(run.Input) < 2<<20 {
		t.Fatalf("the run: %v, %v", run, err)
	}
	save(t, j, large("old", event.StatusCompleted), rev)
}
