package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a NATS with the streams, a client, and the runner that a test plays.
type house struct {
	*Client
	t *testing.T
	b *bus.Bus
}

func newHouse(t *testing.T) *house {
	t.Helper()
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	return &house{Client: New(b, ""), t: t, b: b}
}

func (h *house) put(bucket, key string, v any) {
	h.t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		_, err = h.b.Bucket(bucket).Put(context.Background(), key, data, 0)
	}
	if err != nil {
		h.t.Error(err)
	}
}

// seen is a View that keeps what it is told.
type seen struct {
	mu    sync.Mutex
	runs  []*event.Run
	said  []string
	onRun func(*event.Run)
}

func (s *seen) Update(run *event.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, run)
	if s.onRun != nil {
		s.onRun(run)
	}
}

func (s *seen) Say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, text)
}

// TestDo follows a run: documents, progress by notice, the end.
func TestDo(t *testing.T) {
	h := newHouse(t)
	run := func(id string, status event.Status) *event.Run {
		return &event.Run{ID: id, Workflow: "w", Status: status, Jobs: map[string]*event.Job{
			"a": {Status: status, Attempts: []*event.Attempt{{Number: 1, StartedAt: time.Now()}}},
		}}
	}
	view := &seen{}
	view.onRun = func(r *event.Run) {
		switch {
		case string(r.Jobs["a"].Progress) == "50":
			h.put(subject.BucketRuns, r.ID, run(r.ID, event.StatusCompleted))
		case r.Status == event.StatusRunning:
			for _, n := range []event.Notice{
				{Event: event.JobCompleted, Job: "a", Attempt: 1},                                // only the document says that
				{Event: event.JobProgress, Job: "a", Attempt: 2, Progress: json.RawMessage("7")}, // another attempt's
				{Event: event.JobProgress, Job: "b", Attempt: 1, Progress: json.RawMessage("8")}, // not in the document
				{Event: event.JobProgress, Job: "a", Attempt: 1, Progress: json.RawMessage("50")},
			} {
				data, err := json.Marshal(n)
				if err == nil {
					err = h.b.Notify(subject.RunEvent(r.ID, n.Event), nil, data)
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
	}
	taken, done := context.WithCancel(t.Context())
	consumed := make(chan error, 1)
	go func() {
		consumed <- h.b.Consume(taken, bus.ConsumeOptions{Stream: subject.StreamRuns, Consumer: subject.ConsumerRunner, MaxInFlight: 1},
			func(_ context.Context, d *bus.Delivery) {
				r, err := bus.DecodeRunRequest(&d.Stored)
				if err != nil || r.Workflow != "w" || string(r.Input) != `{"x":1}` || r.MsgID != r.RunID {
					t.Errorf("request %+v, %v", r, err)
				}
				h.put(subject.BucketRuns, r.RunID, run(r.RunID, event.StatusRunning))
				if err := d.Ack(); err != nil {
					t.Error(err)
				}
			})
	}()
	id, got, err := h.Do(t.Context(), "w", json.RawMessage(`{"x":1}`), view)
	done()
	if err := errors.Join(err, <-consumed); err != nil {
		t.Fatal(err)
	}
	if got.ID != id || got.Status != event.StatusCompleted {
		t.Errorf("run %+v", got)
	}
	var states []string
	for _, r := range view.runs {
		states = append(states, fmt.Sprint(r.Status, " ", string(r.Jobs["a"].Progress)))
	}
	if diff := cmp.Diff([]string{"running ", "running 50", "completed "}, states); diff != "" {
		t.Error(diff)
	}
	if len(view.said) > 0 {
		t.Errorf("said %q", view.said)
	}
}

// TestDoWithoutRunner tells that nobody takes the run, and goes on waiting until told to stop.
func TestDoWithoutRunner(t *testing.T) {
	h := newHouse(t)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	view := &stopper{stop: func() { cancel(enough) }}
	id, run, err := h.Do(ctx, "w", nil, view)
	if !errors.Is(err, enough) || run != nil || id == "" {
		t.Errorf("got %q, %+v, %v", id, run, err)
	}
	if !strings.Contains(view.said, "No runner has taken the run yet") {
		t.Errorf("said %q", view.said)
	}
}

// A run that is asked for before it is followed may not be there yet when it is looked for.
func TestWatch(t *testing.T) {
	h := newHouse(t)
	run := &event.Run{ID: "r", Workflow: "w", Status: event.StatusRunning}
	view := &seen{onRun: func(r *event.Run) {
		if !r.Status.Ended() {
			h.put(subject.BucketRuns, "r", &event.Run{ID: "r", Workflow: "w", Status: event.StatusCompleted, Output: json.RawMessage("7")})
		}
	}}
	watched := make(chan error, 1)
	var got *event.Run
	go func() {
		var err error
		got, err = h.Watch(t.Context(), "r", view)
		for fault.CodeOf(err) == fault.NotFound {
			got, err = h.Watch(t.Context(), "r", view)
		}
		watched <- err
	}()
	h.put(subject.BucketRuns, "r", run)
	if err := <-watched; err != nil || got.Status != event.StatusCompleted || string(got.Output) != "7" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := h.Watch(t.Context(), "nothing", view); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a run that is not there: %v", err)
	}
	if got, err := h.Watch(t.Context(), "r", view); err != nil || got.Status != event.StatusCompleted {
		t.Errorf("a run that has ended: %+v, %v", got, err)
	}
}

type stopper struct {
	said string
	stop func()
}

func (s *stopper) Update(*event.Run) {}

func (s *stopper) Say(text string) {
	s.said = text
	s.stop()
}

func TestRuns(t *testing.T) {
	h := newHouse(t)
	start := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for _, i := range []int{3, 1, 4, 0, 2} {
		run := &event.Run{ID: fmt.Sprint("r", i), Workflow: "even", Status: event.StatusCompleted, CreatedAt: start.Add(time.Duration(i) * time.Minute)}
		if i%2 == 1 {
			run.Workflow, run.Status = "odd", event.StatusRejected
		}
		h.put(subject.BucketRuns, run.ID, run)
	}
	tests := map[string]struct {
		filter   Filter
		want     string
		matching int
	}{
		"all":      {Filter{}, "r4 r3 r2 r1 r0", 5},
		"limit":    {Filter{Limit: 2}, "r4 r3", 5},
		"workflow": {Filter{Workflow: "even"}, "r4 r2 r0", 3},
		"status":   {Filter{Status: []event.Status{event.StatusRejected}, Limit: 1}, "r3", 2},
		"statuses": {Filter{Status: []event.Status{event.StatusRejected, event.StatusCompleted}}, "r4 r3 r2 r1 r0", 5},
		"none":     {Filter{Workflow: "other"}, "", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var ids []string
			matching, err := h.Runs(t.Context(), tt.filter, func(run *event.Run) bool {
				ids = append(ids, run.ID)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(ids, " "); got != tt.want || matching != tt.matching {
				t.Errorf("got %q of %d, want %q of %d", got, matching, tt.want, tt.matching)
			}
		})
	}
	t.Run("stop", func(t *testing.T) {
		calls := 0
		if _, err := h.Runs(t.Context(), Filter{}, func(*event.Run) bool { calls++; return false }); err != nil || calls != 1 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
	if _, err := h.Run(t.Context(), "nothing"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a run that is not there: %v", err)
	}
	if _, err := h.Cancel(t.Context(), "r1"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("cancel without a runner: %v", err)
	}
}

// A document that cannot be read keeps no other from being listed.
func TestRunsWithBrokenOnes(t *testing.T) {
	h := newHouse(t)
	start := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	h.put(subject.BucketRuns, "broken", "no document")
	h.put(subject.BucketRuns, "broken-deeper", map[string]any{"workflow": "even", "status": "completed", "created_at": start, "jobs": 3})
	h.put(subject.BucketRuns, "r", &event.Run{ID: "r", CreatedAt: start})
	var ids []string
	matching, err := h.Runs(t.Context(), Filter{}, func(run *event.Run) bool { ids = append(ids, run.ID); return true })
	if got := strings.Join(ids, " "); got != "r" || matching != 1 {
		t.Errorf("got %q of %d", got, matching)
	}
	var broken *UnreadableError
	if !errors.As(err, &broken) || strings.Join(broken.IDs, " ") != "broken broken-deeper" || fault.CodeOf(err) != fault.Internal {
		t.Errorf("it is told as %v", err)
	}
}

// A retry that NATS takes for the one before does nothing, and must not be said to.
func TestRetryTwice(t *testing.T) {
	h := newHouse(t)
	h.put(subject.BucketRuns, "r", &event.Run{ID: "r", Workflow: "w", Status: event.StatusFailed, EndedAt: time.Now()})
	if _, err := h.Retry(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Retry(t.Context(), "r"); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "asked to go on before") {
		t.Errorf("the second time: %v", err)
	}
}

func TestWaits(t *testing.T) {
	h := newHouse(t)
	start := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for i, id := range []string{"b.c", "odd id", "a", "pause"} {
		h.put(subject.BucketWaits, id, event.Wait{ID: id, Run: "r", Job: "j", Since: start.Add(time.Duration(i) * time.Second), Timer: id == "pause"})
	}
	waits, total, err := h.Waits(t.Context(), 2)
	if err != nil || total != 3 || len(waits) != 2 || waits[0].ID != "b.c" || waits[1].ID != "odd id" {
		t.Errorf("%d of %d: %+v, %v", len(waits), total, waits, err)
	}
	// The bucket's order is that of the last writes, and one that cannot be read hides no other.
	h.put(subject.BucketWaits, "broken", "no wait")
	h.put(subject.BucketWaits, "since long", event.Wait{ID: "since long", Run: "r", Job: "j", Since: start.Add(-time.Hour)})
	waits, total, err = h.Waits(t.Context(), 1)
	var broken *UnreadableError
	if !errors.As(err, &broken) || strings.Join(broken.IDs, " ") != "broken" || total != 4 || len(waits) != 1 || waits[0].ID != "since long" {
		t.Errorf("%d of %d: %+v, %v", len(waits), total, waits, err)
	}
	w, err := h.End(t.Context(), &event.Callback{ID: "odd id", Outcome: event.Failed, Error: "no"})
	if err != nil || w.Run != "r" {
		t.Errorf("%+v, %v", w, err)
	}
	stored, err := h.b.Last(t.Context(), subject.StreamWaits, subject.Callback("odd id"))
	if err != nil {
		t.Fatal(err)
	}
	cb, err := bus.DecodeCallback(stored)
	if err != nil || cb.Outcome != event.Failed || cb.Error != "no" {
		t.Errorf("%+v, %v", cb, err)
	}
	for _, id := range []string{"nobody", "pause"} {
		if _, err := h.End(t.Context(), &event.Callback{ID: id}); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := h.b.Last(t.Context(), subject.StreamWaits, subject.Callback(id)); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("a callback for %s was stored: %v", id, err)
		}
	}
}

// TestAnEntryOfAnotherClient in the bucket of gateways is named as what it is.
func TestAnEntryOfAnotherClient(t *testing.T) {
	h := newHouse(t)
	h.put(subject.BucketGateways, "8090", "no status")
	if _, err := h.Gateways(t.Context()); err == nil || !strings.Contains(err.Error(), "the status of the gateway on port 8090 cannot be read") {
		t.Error(err)
	}
}
