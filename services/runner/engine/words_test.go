package engine_test

import (
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// What a person reads of a failed run says which of the file's times was over, and what was there in the place of what.
func TestWhatAFailureSays(t *testing.T) {
	with := func(f func(*compose.Job)) *compose.Job { j := job("a"); f(j); return j }
	delay := func(timeout time.Duration) *compose.Job {
		return with(func(j *compose.Job) {
			j.Type, j.Delay, j.Timeout = compose.JobDelay, &compose.Delay{Duration: template(t, "10s")}, timeout
		})
	}
	over := engine.Expired{ID: "r.a.delay", Trigger: "timer:1", At: after(2 * time.Second)}
	for _, tc := range []struct {
		name   string
		job    *compose.Job
		run    time.Duration
		events []engine.Event
		want   string
	}{
		{"the run's time", delay(0), 2 * time.Second, []engine.Event{over}, "the run's timeout of 2s was over before the job was done"},
		{"the job's time", delay(2 * time.Second), time.Minute, []engine.Event{over}, "the job's timeout of 2s was over before the job was done"},
		{"a number for a list", with(func(j *compose.Job) {
			j.Type, j.ForEach, j.Input = compose.JobForEach, &compose.ForEach{}, template(t, int64(3))
		}), 0, nil, "the input of a for-each is a list, and this is a number"},
		{"a quorum that cannot be reached", with(func(j *compose.Job) {
			j.Type, j.Wait = compose.JobWait, &compose.Completion{Kind: compose.CompleteCallback, WaitFor: template(t, []any{"x", "y", "x"}), Quorum: 3}
		}), 0, nil, "quorum: there are 2 ids to wait for, which cannot bring 3 callbacks"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := world(component(0), tc.job)
			w.Document.Workflows[0].Timeout = tc.run
			run, _ := play(t, w, append([]engine.Event{requested(t0)}, tc.events...)...)
			if run.Error == nil || run.Error.Message != tc.want {
				t.Errorf("error %+v, want %q", run.Error, tc.want)
			}
		})
	}
}
