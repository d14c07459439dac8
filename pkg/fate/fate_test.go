package fate_test

import (
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// after is a moment some seconds after noon.
func after(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// run is a run that was asked for at noon and has waited for "x" since then.
func run(status event.Status, w *event.WaitState) *event.Run {
	w.ID, w.Since = "x", after(1)
	return &event.Run{ID: "r", CreatedAt: noon, Jobs: map[string]*event.Job{
		"j": {Status: status, Attempts: []*event.Attempt{{Number: 1, Wait: w}}},
	}}
}

func by(seq uint64) *event.ResumedBy { return &event.ResumedBy{Seq: seq, At: after(10)} }

func TestIn(t *testing.T) {
	tests := map[string]struct {
		run  *event.Run
		cb   fate.Callback
		want fate.Fate
	}{
		"it ended the wait":        {run(event.StatusCompleted, &event.WaitState{Used: 7, ResumedBy: by(7)}), fate.Callback{Seq: 7, At: after(5)}, fate.Matched},
		"before the wait":          {run(event.StatusCompleted, &event.WaitState{Used: 7, ResumedBy: &event.ResumedBy{Seq: 7, Early: true}}), fate.Callback{Seq: 7, At: after(0)}, fate.Early},
		"another one did":          {run(event.StatusCompleted, &event.WaitState{Used: 7, ResumedBy: by(7)}), fate.Callback{Seq: 8, At: after(11)}, fate.Duplicate},
		"progress before that":     {run(event.StatusCompleted, &event.WaitState{Used: 7, ResumedBy: by(7)}), fate.Callback{Seq: 6, At: after(5), Outcome: event.Progress}, fate.Matched},
		"progress after that":      {run(event.StatusCompleted, &event.WaitState{Used: 7, ResumedBy: by(7)}), fate.Callback{Seq: 8, At: after(11), Outcome: event.Progress}, fate.Duplicate},
		"time did":                 {run(event.StatusFailed, &event.WaitState{Used: 5, ResumedBy: &event.ResumedBy{Seq: 9, Timeout: true}}), fate.Callback{Seq: 10, At: after(11)}, fate.Late},
		"the timeout's own number": {run(event.StatusFailed, &event.WaitState{ResumedBy: &event.ResumedBy{Seq: 9, Timeout: true}}), fate.Callback{Seq: 9, At: after(11)}, fate.Late},
		"the run was cancelled":    {run(event.StatusCancelled, &event.WaitState{}), fate.Callback{Seq: 10, At: after(11)}, fate.Late},
		"it waits":                 {run(event.StatusWaiting, &event.WaitState{Used: 5}), fate.Callback{Seq: 10, At: after(11)}, fate.Pending},
		"between two attempts":     {run(event.StatusRunning, &event.WaitState{Used: 5}), fate.Callback{Seq: 10, At: after(11)}, fate.Pending},
		"before the run":           {run(event.StatusWaiting, &event.WaitState{}), fate.Callback{Seq: 3, At: after(-5)}, fate.Orphan},
		"one of several":           {run(event.StatusWaiting, &event.WaitState{Used: 9, Quorum: 3, ResumedBy: by(9)}), fate.Callback{Seq: 8, At: after(5)}, fate.Matched},
		"another id":               {run(event.StatusWaiting, &event.WaitState{}), fate.Callback{ID: "y", Seq: 3, At: after(5)}, fate.Orphan},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.cb.ID == "" {
				tt.cb.ID = "x"
			}
			if got := fate.In(tt.run, tt.cb); got.Fate != tt.want || (got.Run == "r") == (tt.want == fate.Orphan) {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
		})
	}
}

// TestWithoutTheRun: the mark that a wait leaves is enough for a word, should its run's document have gone.
func TestWithoutTheRun(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	put := func(id string, used uint64, ended bool) {
		data, err := json.Marshal(event.Wait{ID: id, Run: "gone", Job: "j", Used: used, Since: noon})
		if err != nil {
			t.Fatal(err)
		}
		m := &bus.Message{Subject: subject.Wait(id), Data: data, Rollup: true}
		if ended {
			m.Header = bus.Header{"KV-Operation": "PURGE"}
		}
		if _, err := b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	put("standing", 0, false)
	put("taken", 7, true)
	put("over", 0, true)
	if _, err := b.Publish(t.Context(), &bus.Message{Subject: subject.Wait("foreign"), Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		id   string
		seq  uint64
		want fate.Fate
	}{
		{"standing", 9, fate.Pending},
		{"taken", 7, fate.Matched},
		{"taken", 9, fate.Duplicate},
		{"over", 9, fate.Late},
		{"never", 9, fate.Orphan},
		{"foreign", 9, fate.Orphan},
		{"some.id.of.theirs", 9, fate.Orphan},
	} {
		got, err := fate.NewTeller(b).Tell(t.Context(), fate.Callback{ID: tt.id, Seq: tt.seq, At: after(1)})
		if err != nil || got.Fate != tt.want {
			t.Errorf("%s %d: %+v, %v, want %s", tt.id, tt.seq, got, err, tt.want)
		}
	}
}
