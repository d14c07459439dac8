package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSaveIsFenced(t *testing.T) {
	b := bustest.Connect(t, bus.Options{URL: bustest.Start(t).URL()})
	if err := b.Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	one, two := journal.New(b, time.Hour), journal.New(b, time.Hour)
	ctx := t.Context()

	if run, rev, err := one.Load(ctx, "r"); run != nil || rev != 0 || err != nil {
		t.Fatalf("a run that is not there: %+v, %d, %v", run, rev, err)
	}
	first, _, err := one.Save(ctx, &event.Run{ID: "r", Status: event.StatusRunning}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := two.Save(ctx, &event.Run{ID: "r", Status: event.StatusFailed}, 0); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("a second first save: %v", err)
	}
	// Another runner goes on: what the first one remembers is out of date, and a save says so.
	run, rev, err := two.Load(ctx, "r")
	if err != nil || rev != first {
		t.Fatalf("load: %d, %v", rev, err)
	}
	run.Status = event.StatusWaiting
	second, _, err := two.Save(ctx, run, rev)
	if err != nil {
		t.Fatal(err)
	}
	if run, rev, err := one.Recall(ctx, "r"); err != nil || rev != first || run.Status != event.StatusRunning {
		t.Errorf("recalled: %+v, %d, %v", run, rev, err)
	}
	if _, _, err := one.Save(ctx, &event.Run{ID: "r", Status: event.StatusFailed}, first); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("a save on what is out of date: %v", err)
	}
	if one.Recent("r") != nil {
		t.Error("a run that changed behind its back is still remembered")
	}
	if run, rev, err := one.Recall(ctx, "r"); err != nil || rev != second || run.Status != event.StatusWaiting {
		t.Errorf("recalled: %+v, %d, %v", run, rev, err)
	}
}

func TestOnlyEndedRunsExpire(t *testing.T) {
	b := bustest.Connect(t, bus.Options{URL: bustest.Start(t).URL()})
	if err := b.Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	j := journal.New(b, time.Second)
	if _, _, err := j.Save(t.Context(), &event.Run{ID: "asleep", Status: event.StatusWaiting}, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Save(t.Context(), &event.Run{ID: "ended", Status: event.StatusCompleted}, 0); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		run, _, err := j.Load(t.Context(), "ended")
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an ended run is kept for ever")
		}
	}
	if run, _, err := j.Load(t.Context(), "asleep"); err != nil || run == nil {
		t.Errorf("a run that sleeps has gone: %v", err)
	}
}

// A runner that glances at what another has saved goes on with what it has read: it does not read it again.
func TestGlanceIsRemembered(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	one, two := journal.New(b, time.Hour), journal.New(b, time.Hour)
	ctx := t.Context()
	first, _, err := one.Save(ctx, &event.Run{ID: "r", Status: event.StatusWaiting}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if run, err := two.Glance(ctx, "r"); err != nil || run.Status != event.StatusWaiting {
		t.Fatalf("%+v, %v", run, err)
	}
	second, _, err := one.Save(ctx, &event.Run{ID: "r", Status: event.StatusRunning}, first)
	if err != nil {
		t.Fatal(err)
	}
	run, rev, err := two.Recall(ctx, "r")
	if err != nil || rev != first || run.Status != event.StatusWaiting {
		t.Errorf("recalled: %+v, %d, %v; want what was read, of %d", run, rev, err, first)
	}
	if _, _, err := two.Save(ctx, run, rev); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("a save on what is out of date: %v", err)
	}
	if _, rev, err := two.Recall(ctx, "r"); err != nil || rev != second {
		t.Errorf("recalled after the conflict: %d, %v, want %d", rev, err, second)
	}
	// What has ended, and what there is not, is not remembered.
	if _, _, err := one.Save(ctx, &event.Run{ID: "r", Status: event.StatusFailed}, second); err != nil {
		t.Fatal(err)
	}
	three := journal.New(b, time.Hour)
	if run, err := three.Glance(ctx, "r"); err != nil || run.Status != event.StatusFailed || three.Recent("r") != nil {
		t.Errorf("a run that has ended: %+v, %v, remembered: %+v", run, err, three.Recent("r"))
	}
	if run, err := three.Glance(ctx, "none"); err != nil || run != nil || three.Recent("none") != nil {
		t.Errorf("no run: %+v, %v", run, err)
	}
}

// What is stored is what encoding/json writes, and what a save gives stays as it is when the next document is written.
func TestWhatASaveGives(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	j := journal.New(b, time.Hour)
	given, want := map[string][]byte{}, map[string][]byte{}
	for i := range 20 {
		run := &event.Run{
			ID: fmt.Sprintf("r%d", i), Status: event.StatusCompleted, ReplyTo: "told", CreatedAt: time.Unix(1e9, 0).UTC(),
			Output: json.RawMessage(fmt.Sprintf(`{ "<%d>": %q }`, i, strings.Repeat("x", 1000-i))),
		}
		_, data, err := j.Save(t.Context(), run, 0)
		if err != nil {
			t.Fatal(err)
		}
		given[run.ID] = data
		if want[run.ID], err = json.Marshal(run); err != nil {
			t.Fatal(err)
		}
	}
	for id, data := range want {
		e, err := b.Bucket(subject.BucketRuns).Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Value) != string(data) || string(given[id]) != string(data) {
			t.Errorf("stored is\n%s\ngiven is\n%s\nwant\n%s", e.Value, given[id], data)
		}
	}
}

// TestLargeDocumentsAreNotHeld: a thousand of them would be.
func TestLargeDocumentsAreNotHeld(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	j := journal.New(b, time.Hour)
	for _, c := range []struct {
		id    string
		bytes int
		held  bool
	}{{"small", 10 << 10, true}, {"large", 100 << 10, false}} {
		run := &event.Run{ID: c.id, Status: event.StatusWaiting, Input: []byte(`"` + strings.Repeat("x", c.bytes) + `"`)}
		rev, _, err := j.Save(t.Context(), run, 0)
		if err != nil {
			t.Fatal(err)
		}
		if held := j.Recent(c.id) != nil; held != c.held {
			t.Errorf("%s is held: %v", c.id, held)
		}
		if again, at, err := j.Recall(t.Context(), c.id); err != nil || at != rev || string(again.Input) != string(run.Input) {
			t.Errorf("%s recalled: %d, %v", c.id, at, err)
		}
	}
}
