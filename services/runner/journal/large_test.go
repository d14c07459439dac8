package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

// onBoth runs a test on one server and on three. A busy machine takes its time with large objects.
func onBoth(t *testing.T, f func(t *testing.T, b *bus.Bus)) {
	t.Helper()
	patient := func(t *testing.T, url string) *bus.Bus {
		t.Helper()
		return bustest.Connect(t, bus.Options{URL: url, PublishTimeout: time.Minute})
	}
	t.Run("R1", func(t *testing.T) {
		one := bustest.Start(t)
		one.Provisioned(bus.Layout{})
		f(t, patient(t, one.URL()))
	})
	t.Run("R3", func(t *testing.T) {
		three := bustest.Cluster(t, 3)
		three.Provisioned(bus.Layout{})
		f(t, patient(t, three.URL()))
	})
}

// large is a run whose document is larger than NATS takes in one message.
func large(id string, status event.Status) *event.Run {
	return &event.Run{
		ID: id, Workflow: "w", Status: status, Input: json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`),
		Jobs: map[string]*event.Job{"j": {Status: status, Attempts: []*event.Attempt{{Number: 1}}}},
	}
}

func save(t *testing.T, j *journal.Journal, run *event.Run, rev journal.Revision) journal.Revision {
	t.Helper()
	next, _, err := j.Save(t.Context(), run, rev)
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	return next
}

func objects(t *testing.T, b *bus.Bus) []string {
	t.Helper()
	names, err := b.Objects(subject.BucketDocuments).Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// stored gives the name of the object that a run's stub refers to.
func stored(t *testing.T, b *bus.Bus, id string) string {
	t.Helper()
	stub, _, err := b.Stub(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if stub.Object == nil {
		return ""
	}
	return stub.Object.Name
}

func TestALargeDocument(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bus.Bus) {
		t.Helper()
		one, two := journal.New(b, time.Hour), journal.New(b, time.Hour)
		ctx := t.Context()
		rev, data, err := one.Save(ctx, large("r", event.StatusWaiting), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 1000 {
			t.Errorf("a stub of %d bytes", len(data))
		}
		stub, err := one.Glance(ctx, "r")
		if err != nil || stub.Status != event.StatusWaiting || stub.Input != nil || stub.Jobs["j"].Attempts[0].Number != 1 {
			t.Errorf("%+v, %v", stub, err)
		}
		if one.Recent("r") != nil {
			t.Error("a large document is kept in memory")
		}
		for i, j := range []*journal.Journal{one, two, one, two} {
			run, at, err := j.Recall(ctx, "r")
			if err != nil || at != rev || len(run.Input) < 2<<20 || run.Object != nil {
				t.Fatalf("save %d: %d bytes at %d, %v", i, len(run.Input), at, err)
			}
			rev = save(t, j, large("r", event.StatusRunning), rev)
			if got := objects(t, b); len(got) != 1 || got[0] != stored(t, b, "r") {
				t.Errorf("save %d: there are the objects %q", i, got)
			}
		}
		if _, _, err := two.Save(ctx, large("r", event.StatusRunning), 0); !errors.Is(err, journal.ErrConflict) {
			t.Errorf("a save that comes second: %v", err)
		}
		if got := objects(t, b); len(got) != 1 || got[0] != stored(t, b, "r") {
			t.Errorf("after a conflict there are the objects %q", got)
		}
		// It shrinks: then no object is needed.
		if _, rev, err = two.Load(ctx, "r"); err != nil {
			t.Fatal(err)
		}
		save(t, two, &event.Run{ID: "r", Status: event.StatusWaiting}, rev)
		if got := objects(t, b); len(got) != 0 {
			t.Errorf("of a document that is small there are the objects %q", got)
		}
	})
}

// Readers never miss a run that is being saved all the time.
func TestALargeDocumentIsReadWhileItIsSaved(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bus.Bus) {
		t.Helper()
		j, reader := journal.New(b, time.Hour), journal.New(b, time.Hour)
		rev := save(t, j, large("r", event.StatusRunning), 0)
		done := make(chan struct{})
		var reading sync.WaitGroup
		for range 3 {
			reading.Go(func() {
				for {
					run, _, err := reader.Load(t.Context(), "r")
					if err != nil || run == nil || len(run.Input) < 2<<20 {
						t.Errorf("read: %v, %v", run == nil, err)
						return
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for range 10 {
			rev = save(t, j, large("r", event.StatusRunning), rev)
		}
		close(done)
		reading.Wait()
	})
}

func TestLargeEndedRunsExpire(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	j := journal.New(b, time.Second)
	save(t, j, large("ended", event.StatusCompleted), 0)
	name := stored(t, b, "ended")
	m, err := b.Last(t.Context(), subject.ObjectStream(subject.BucketDocuments), subject.ObjectAbout(subject.BucketDocuments, name))
	if err != nil || m.Header["Nats-TTL"] != "3601s" {
		t.Errorf("its object has the header %v, %v", m, err)
	}
	bustest.Eventually(t, "the run is forgotten", func() bool {
		run, _, err := j.Load(t.Context(), "ended")
		return err == nil && run == nil
	})
}

// A runner is killed at each step of a save. The run is as it was before or after, and what is left over is removed.
func TestKilledWhileSaving(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bus.Bus) {
		t.Helper()
		ctx := t.Context()
		documents := b.Objects(subject.BucketDocuments)
		j := journal.New(b, time.Hour)
		sweep := func(want int) {
			t.Helper()
			if n, err := j.Sweep(ctx, 0); err != nil || n != want {
				t.Errorf("%d removed, want %d: %v", n, want, err)
			}
		}
		rev := save(t, j, large("r", event.StatusWaiting), 0)
		kept := stored(t, b, "r")
		next, err := json.Marshal(large("r", event.StatusCompleted))
		if err != nil {
			t.Fatal(err)
		}

		// While the object is written: a part of it is there.
		if _, err := b.Publish(ctx, &bus.Message{Subject: subject.ObjectParts(subject.BucketDocuments, "r.part"), Data: next[:1000]}); err != nil {
			t.Fatal(err)
		}
		// After the object, before the key.
		if _, err := documents.Put(ctx, "r.unsaved", next, 0); err != nil {
			t.Fatal(err)
		}
		if run, at, err := j.Load(ctx, "r"); err != nil || at != rev || run.Status != event.StatusWaiting {
			t.Errorf("run %+v at %d, %v", run, at, err)
		}
		if n, err := j.Sweep(ctx, time.Hour); err != nil || n != 0 {
			t.Errorf("what is new is left alone: %d removed, %v", n, err)
		}
		sweep(2)
		if got := objects(t, b); !slices.Equal(got, []string{kept}) {
			t.Errorf("left are %q, want %s", got, kept)
		}
		run, rev, err := j.Load(ctx, "r")
		if err != nil || run.Status != event.StatusWaiting || len(run.Input) < 2<<20 {
			t.Fatalf("%+v, %v", run, err)
		}

		// After the key, before the old object is deleted: another journal knows nothing of it.
		old, err := documents.Get(ctx, &event.Object{Name: kept})
		if err != nil {
			t.Fatal(err)
		}
		rev = save(t, j, large("r", event.StatusRunning), rev)
		if _, err := documents.Put(ctx, kept+"x", old, 0); err != nil {
			t.Fatal(err)
		}
		sweep(1)
		if run, _, err = j.Load(ctx, "r"); err != nil || run.Status != event.StatusRunning || len(run.Input) < 2<<20 {
			t.Fatalf("%+v, %v", run, err)
		}

		// The one who was thought dead has only slept: what it wrote is gone, and so it must not save any more.
		slept := rev
		if _, err := documents.Put(ctx, "r.slept", next, 0); err != nil {
			t.Fatal(err)
		}
		sweep(1)
		if _, err := b.Bucket(subject.BucketRuns).Update(ctx, "r", []byte(`{"id":"r","object":{"bucket":"documents","name":"r.slept"}}`), uint64(slept), 0); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("a save that refers to what was removed: %v", err)
		}
		if run, _, err = j.Load(ctx, "r"); err != nil || run.Status != event.StatusRunning {
			t.Fatalf("%+v, %v", run, err)
		}

		// The first save of a run may come late: its request comes again, and again.
		if _, err := documents.Put(ctx, "first.unsaved", next, 0); err != nil {
			t.Fatal(err)
		}
		sweep(0)
	})
}

// Sweeping leaves ended runs the time that they have.
func TestSweepingKeepsTheTimeOfEndedRuns(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	j := journal.New(b, 2*time.Second)
	run := large("r", event.StatusCompleted)
	run.EndedAt = time.Now()
	save(t, j, run, 0)
	if _, err := b.Objects(subject.BucketDocuments).Put(t.Context(), "r.left", bytes.Repeat([]byte("x"), 10), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Sweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	bustest.Eventually(t, "the run is forgotten", func() bool {
		run, _, err := j.Load(t.Context(), "r")
		return err == nil && run == nil
	})
}
