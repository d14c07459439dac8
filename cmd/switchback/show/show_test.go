package show

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/vbauerster/mpb/v8"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 4, 14, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return now.Add(d) }

// runWith makes a run of one job.
func runWith(j *event.Job) *event.Run {
	return &event.Run{ID: "r1", Jobs: map[string]*event.Job{"draw": j}}
}

func attempts(n int) []*event.Attempt {
	all := make([]*event.Attempt, n)
	for i := range all {
		all[i] = &event.Attempt{Number: i + 1, StartedAt: at(-1500 * time.Millisecond)}
	}
	return all
}

func waitingJob(progress string) *event.Job {
	a := attempts(1)
	a[0].Wait = &event.WaitState{ID: "r1.draw", Since: at(-time.Second), Deadline: at(5 * time.Minute)}
	return &event.Job{Status: event.StatusWaiting, Attempts: a, Progress: json.RawMessage(progress)}
}

func TestLine(t *testing.T) {
	ended := attempts(3)
	ended[2].EndedAt = at(-time.Second)
	tests := map[string]struct {
		job   *event.Job
		width int
		want  string
	}{
		"running":        {&event.Job{Status: event.StatusRunning, Attempts: attempts(1)}, 80, "⠋ draw  running  1.5s"},
		"second attempt": {&event.Job{Status: event.StatusRunning, Attempts: attempts(2)}, 80, "⠋ draw  running, attempt 2  1.5s"},
		"waiting":        {waitingJob(""), 80, "⠋ draw  waiting until 14:05:00 for r1.draw  1.5s"},
		"bar":            {waitingJob("40"), 100, "⠋ draw  ━━━━━━━━────────────  40%  waiting until 14:05:00 for r1.draw  1.5s"},
		"bar with message": {
			waitingJob(`{"percent":100,"message":"inking"}`), 100,
			"⠋ draw  ━━━━━━━━━━━━━━━━━━━━ 100%  inking, waiting until 14:05:00 for r1.draw  1.5s",
		},
		"message alone": {waitingJob(`"inking"`), 80, "⠋ draw  inking, waiting until 14:05:00 for r1.draw  1.5s"},
		"narrow":        {waitingJob("40"), 40, "⠋ draw  ━━━━━━━━────────────  40%…  1.5s"},
		"very narrow":   {waitingJob("40"), 4, "⠋ …  1.5s"},
		"several waits": {
			&event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{
				StartedAt: at(0), Wait: &event.WaitState{ID: "a"}, More: []*event.WaitState{{ID: "b"}, {ID: "c"}},
			}}},
			80, "⠋ draw  waiting for a and 2 more  <1ms",
		},
		"delay": {
			&event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{StartedAt: at(0), Due: at(time.Minute)}}},
			80, "⠋ draw  waiting until 14:01:00  <1ms",
		},
		"polling": {
			&event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{StartedAt: at(0), Due: at(5 * time.Second), Polls: 3}}},
			80, "⠋ draw  polled 2 times, again in 5s  <1ms",
		},
		"polling again": {
			&event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{StartedAt: at(0), Due: at(5 * time.Second), Polls: 2}}},
			80, "⠋ draw  polled once, again in 5s  <1ms",
		},
		"not polled yet": {
			&event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{StartedAt: at(0), Due: at(500 * time.Millisecond), Polls: 1}}},
			80, "⠋ draw  to be polled in a moment  <1ms",
		},
		"another run": {
			&event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{StartedAt: at(0), SubRun: "r2"}}},
			80, "⠋ draw  waiting for run r2  <1ms",
		},
		"second round": {
			&event.Job{Status: event.StatusRunning, Round: 2, First: 1, Attempts: []*event.Attempt{
				{Number: 1, StartedAt: at(-time.Hour)}, {Number: 1, StartedAt: at(-time.Second)},
			}},
			80, "⠋ draw  running  1.0s",
		},
		"completed": {&event.Job{Status: event.StatusCompleted, Attempts: ended[:1]}, 80, "✓ draw  completed  1.5s"},
		"failed": {
			&event.Job{Status: event.StatusFailed, Attempts: ended, Error: &event.RunError{Message: "no\npaper\x1b[31m"}},
			80, "✗ draw  failed after 3 attempts: no paper [31m  500ms",
		},
		"retrying": {
			&event.Job{Status: event.StatusWaiting, RetryAt: at(4 * time.Second), Attempts: []*event.Attempt{
				{Number: 1, StartedAt: at(-time.Second), EndedAt: at(0), Error: &event.RunError{Message: "HTTP 500"}},
			}},
			80, "⠋ draw  trying again in 4s: HTTP 500  1.0s",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rows := Rows(runWith(tt.job), now)
			if len(rows) != 1 {
				t.Fatalf("%d rows, want 1", len(rows))
			}
			if diff := cmp.Diff(tt.want, rows[0].Line(4, tt.width, 0, false)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRowsInOrder(t *testing.T) {
	run := &event.Run{Jobs: map[string]*event.Job{
		"later":   {Status: event.StatusRunning, Attempts: []*event.Attempt{{StartedAt: at(2 * time.Second)}}},
		"first":   {Status: event.StatusCompleted, Attempts: []*event.Attempt{{StartedAt: at(time.Second)}}},
		"pending": {Status: event.StatusPending},
		"skipped": {Status: event.StatusSkipped},
	}}
	var got []string
	for _, r := range Rows(run, now) {
		got = append(got, r.Job)
	}
	if diff := cmp.Diff([]string{"first", "later"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestProgress(t *testing.T) {
	type want struct {
		Percent float64
		Known   bool
		Message string
	}
	tests := map[string]want{
		``:     {},
		`null`: {},
		`42`:   {42, true, ""},
		`-1`:   {0, true, ""},
		`1e9`:  {100, true, ""},
		`{"percent":12.5,"message":"half a bar"}`: {12.5, true, "half a bar"},
		`{"percent":"12"}`:                        {},
		`{"percent":null,"message":7}`:            {},
		`{"message":"warming\tup"}`:               {0, false, "warming up"},
		`[1]`:                                     {},
		`{"percent":`:                             {},
	}
	for raw, w := range tests {
		p, k, m := readProgress(json.RawMessage(raw))
		if diff := cmp.Diff(w, want{p, k, m}); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

// TestPlain tells one run's whole way: what is new is said once.
func TestPlain(t *testing.T) {
	failed := attempts(1)
	failed[0].EndedAt, failed[0].Error = at(0), &event.RunError{Message: "HTTP 503"}
	again := append(slices.Clone(failed), &event.Attempt{Number: 2, StartedAt: at(0)})
	done := attempts(1)
	done[0].EndedAt = at(0)
	steps := []struct {
		job  *event.Job
		want []string
	}{
		{&event.Job{Status: event.StatusPending}, nil},
		{&event.Job{Status: event.StatusRunning, Attempts: attempts(1)}, []string{"draw: started"}},
		{&event.Job{Status: event.StatusRunning, Attempts: attempts(1)}, nil},
		{&event.Job{Status: event.StatusWaiting, Attempts: failed, RetryAt: at(2 * time.Second)}, []string{"draw: trying again in 2s: HTTP 503"}},
		{&event.Job{Status: event.StatusRunning, Attempts: again}, []string{"draw: attempt 2 started"}},
		{waitingJob(""), []string{"draw: waiting until 14:05:00 for r1.draw"}},
		{waitingJob("3"), nil},
		{waitingJob("12"), []string{"draw: 12%"}},
		{waitingJob("19"), nil},
		{waitingJob(`{"percent":19,"message":"inking"}`), []string{"draw: 19% inking"}},
		{waitingJob("15"), nil},
		{waitingJob("95"), []string{"draw: 95%"}},
		{&event.Job{Status: event.StatusCompleted, Attempts: done}, []string{"draw: completed in 1.5s"}},
		{&event.Job{Status: event.StatusCompleted, Attempts: done}, nil},
		{&event.Job{Status: event.StatusRunning, Round: 2, First: 1, Attempts: attempts(2)}, []string{"draw: started again"}},
	}
	var p plain
	for i, s := range steps {
		if diff := cmp.Diff(s.want, p.lines(runWith(s.job), now)); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "<1ms", 0: "<1ms", 850 * time.Millisecond: "850ms", 1290 * time.Millisecond: "1.2s", 42 * time.Second: "42s",
		192 * time.Second: "3m12s", 125 * time.Minute: "2h05m", 76 * time.Hour: "3d4h",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "just now", -900 * time.Millisecond: "just now", 900 * time.Millisecond: "in a moment", time.Second: "in 1s", -12 * time.Second: "12s ago", -90 * time.Minute: "1h30m ago", 299 * time.Second: "in 4m59s",
	} {
		if got := Relative(at(d), now); got != want {
			t.Errorf("Relative(%v) = %q, want %q", d, got, want)
		}
	}
	if got := Relative(time.Time{}, now); got != "-" {
		t.Errorf("Relative of no time = %q", got)
	}
	if got := clock(at(24*time.Hour), now); got != "2026-03-05 14:00" {
		t.Errorf("Clock of tomorrow = %q", got)
	}
}

func TestRun(t *testing.T) {
	run := runWith(&event.Job{
		Status: event.StatusCompleted,
		Attempts: []*event.Attempt{{
			Number: 1, StartedAt: at(-3 * time.Second), EndedAt: at(-time.Second),
			Requests: []event.Request{{
				Method: "POST", URL: "http://127.0.0.1:9100/images", Status: 202, DurationMS: 12,
				Addresses: map[string]string{"gateway:8090.public_url": "https://a.example"},
			}},
			Wait: &event.WaitState{ID: "r1.draw", Since: at(-3 * time.Second), Deadline: at(time.Hour), ResumedBy: &event.ResumedBy{
				Seq: 7, Outcome: event.Succeeded, Endpoint: "POST /done", At: at(-time.Second),
			}},
			More: []*event.WaitState{{ID: "other", Since: at(-3 * time.Second), Deadline: at(time.Hour)}},
		}},
	})
	run.Workflow, run.Status, run.CreatedAt, run.EndedAt = "paint", event.StatusCompleted, at(-3*time.Second), at(-time.Second)
	run.Output = json.RawMessage(`{"n":12345678901234567890,"s":"a\u003cb\u003e\u0026c\\u0026"}`)
	var b strings.Builder
	if err := Run(&b, run, now); err != nil {
		t.Fatal(err)
	}
	want := `Run        r1
Workflow   paint
Status     completed
Asked for  2026-03-04 13:59:57 (3s ago)
Ended      2026-03-04 13:59:59 (1s ago)
Took       2.0s

Jobs
  ✓ draw  completed  2.0s
      POST http://127.0.0.1:9100/images: 202 in 12ms
        told gateway:8090.public_url: https://a.example
      waited 2.0s for r1.draw: callback 7 (succeeded) from POST /done
      waited for other: it was not needed any more

Output
{
  "n": 12345678901234567890,
  "s": "a<b>&c\\u0026"
}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// A result of many megabytes does not go over somebody's terminal, and what is left out is told.
func TestRunWithLargeValues(t *testing.T) {
	run := &event.Run{ID: "r1", Status: event.StatusCompleted}
	run.Output = json.RawMessage(`{"blob":"` + strings.Repeat("é", 64<<10) + `","n":7}`)
	run.Input = json.RawMessage(`[` + strings.Repeat(`"a row of many",`, 10_000) + `1]`)
	var b strings.Builder
	if err := Run(&b, run, now); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if len(got) > 100<<10 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
	for _, want := range []string{"é… 126990 bytes more\n  \"n\": 7\n}\n", "\",\n… 124455 bytes more\n", "\nNot all of it is shown: -o json has the rest.\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in it", want)
		}
	}
}

func TestTableIsClean(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, []string{"ID", "WHY"}, [][]string{{"1", "a\x1b]0;owned\x07\tb\nc"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "ID   WHY\n1    a ]0;owned  b c\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, map[string]any{"a": json.RawMessage(`{"x":"<\u0026>\\u0026","n":1.10}`)}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "{\n  \"a\": {\n    \"x\": \"<&>\\\\u0026\",\n    \"n\": 1.10\n  }\n}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLive leaves the last state of every job on the screen, and no goroutine.
func TestLive(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var screen bytes.Buffer
	l := newLive(&screen, mpb.WithAutoRefresh())
	l.Update(runWith(waitingJob("40")))
	l.Say("No runner yet.")
	done := runWith(&event.Job{Status: event.StatusCompleted, Attempts: attempts(1)})
	done.Status, done.EndedAt = event.StatusCompleted, at(0)
	done.Jobs["pack"] = &event.Job{Status: event.StatusFailed, Attempts: attempts(1), Error: &event.RunError{Message: "no box"}}
	l.Update(done)
	l.Close()
	l.Update(done) // too late: nothing happens
	last := screen.String()[strings.LastIndex(screen.String(), "No runner yet."):]
	for _, want := range []string{"No runner yet.\n", "✓ draw  completed  1.5s\n", "✗ pack  failed: no box  1.5s\n"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q in the last frame:\n%q", want, last)
		}
	}
}
