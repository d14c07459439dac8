package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestPolls: the pause is the interval, or what the service asks for, and ends with the deadline, which says what went wrong last.
func TestPolls(t *testing.T) {
	polled := component(0)
	polled.Actions["run"].Completion = compose.Completion{
		Kind: compose.CompletePolling, Timeout: time.Minute, Polling: &compose.Polling{Interval: 5 * time.Second},
	}
	w := world(polled, job("a"))
	asked := func(poll int, at, wait time.Duration, request event.Request) engine.Acted {
		ev := engine.Acted{Job: "a", Attempt: 1, Poll: poll, Trigger: "timeout:1", At: after(at), After: wait, Pending: poll > 0, Requests: []event.Request{request}}
		if poll == 0 {
			ev.Wait = &engine.Wait{Poll: true}
		}
		return ev
	}
	rings := func(poll string, at time.Duration) engine.Expired {
		return engine.Expired{ID: "r.a.poll." + poll, Trigger: "timeout:1", At: after(at)}
	}
	events := []engine.Event{requested(t0)}
	for _, tc := range []struct {
		event engine.Event
		want  string
	}{
		{asked(0, time.Second, 0, event.Request{Status: 202}), "sleep r.a.poll.1 until 6s"},
		{rings("1", 6*time.Second), "act r.a until 5m0s"},
		{asked(1, 6*time.Second, 20*time.Second, event.Request{Status: 429}), "sleep r.a.poll.2 until 26s"},
		{rings("2", 26*time.Second), "act r.a until 5m0s"},
		{asked(2, 26*time.Second, time.Second, event.Request{Status: 200}), "sleep r.a.poll.3 until 31s"},
		{rings("3", 31*time.Second), "act r.a until 5m0s"},
		{asked(3, 31*time.Second, 24*time.Hour, event.Request{Status: 503}), "sleep r.a.poll.4 until 1m0s"},
		{rings("4", time.Minute), "act r.a until 5m0s"},
	} {
		events = append(events, tc.event)
		_, commands := play(t, w, events...)
		if diff := cmp.Diff([]string{tc.want}, brief(commands)); diff != "" {
			t.Fatalf("after %+v:\n%s", tc.event, diff)
		}
	}
	for want, last := range map[string]event.Request{
		"the service was not done by 2026-01-02 03:05:05 UTC":                                                           {Status: 200},
		"the service was not done by 2026-01-02 03:05:05 UTC; when it was last asked, GET http://x/t answered 503":      {Method: "GET", URL: "http://x/t", Status: 503},
		"the service was not done by 2026-01-02 03:05:05 UTC; when it was last asked: Get \"http://x/t\": no such host": {Error: `Get "http://x/t": no such host`},
	} {
		run, _ := play(t, w, append(events[:len(events):len(events)], asked(4, time.Minute, 0, last))...)
		if run.Error == nil || run.Error.Message != want {
			t.Errorf("%+v, want %q", run.Error, want)
		}
	}
	// what is answered to the request itself counts as well
	_, commands := play(t, w, requested(t0), asked(0, time.Second, 30*time.Second, event.Request{Status: 202}))
	if diff := cmp.Diff([]string{"sleep r.a.poll.1 until 31s"}, brief(commands)); diff != "" {
		t.Error(diff)
	}
}
