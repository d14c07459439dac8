package runner

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
)

// TestOrphansAreCountedAfterAGrace: for what they are by then, in their order, and not kept with what they hold.
func TestOrphansAreCountedAfterAGrace(t *testing.T) {
	type counted struct {
		id string
		as fate.Fate
	}
	became := map[string]fate.Fate{"early": "", "late": fate.Late, "orphan": fate.Orphan}
	over, counts := make(chan time.Time), make(chan counted, 2*maxOrphans)
	o := newOrphans(time.Hour)
	o.after = func(d time.Duration) <-chan time.Time {
		if d <= 0 || d > time.Hour {
			t.Errorf("a grace of %v", d)
		}
		return over
	}
	o.find = func(_ context.Context, cb *event.Callback) (fate.Fate, error) {
		if cb.Result != nil {
			t.Error("the result is kept")
		}
		f, ok := became[cb.ID]
		if !ok {
			return "", errors.New("NATS is away")
		}
		return f, nil
	}
	o.count = func(cb *event.Callback, f fate.Fate) { counts <- counted{cb.ID, f} }

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.run(ctx)
	}()
	ids := []string{"early", "late", "orphan", "not to be told"}
	for _, id := range ids {
		o.add(&event.Callback{ID: id, Result: json.RawMessage(`{}`)})
	}
	if len(counts) > 0 {
		t.Errorf("%v is counted before the grace is over", <-counts)
	}
	var got []counted
	for range ids {
		over <- time.Time{}
		got = append(got, <-counts)
	}
	want := []counted{{"early", ""}, {"late", fate.Late}, {"orphan", fate.Orphan}, {"not to be told", fate.Orphan}}
	if !slices.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	o.add(&event.Callback{ID: "early"})
	stop()
	<-ended
	for range maxOrphans + 1 {
		o.add(&event.Callback{ID: "early"})
	}
	if len(counts) == 0 {
		t.Error("what finds no room is not counted")
	} else if c := <-counts; c.as != fate.Orphan {
		t.Errorf("what finds no room is counted as %q", c.as)
	}
}
