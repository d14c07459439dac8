package runner_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/slot"
)

const bounded = `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
components:
  outside:
    type: http-client
    base_url: OUTSIDE
    path: /work
    body: {callback: "${listener.url}", ref: "${context.run_id}"}
workflow:
  id: work
  concurrency: {limit: 1, key: "${input.customer}"}
  jobs:
    - {id: ask, component: outside}
`

func queued(r *event.Run) bool { return r.Queued() }

func keys(calls []call) (all []string) {
	for _, c := range calls {
		all = append(all, c.key)
	}
	return all
}

func TestRunsOverTheLimitAreQueued(t *testing.T) {
	b := begin(t, bounded)
	b.start(bounded) // a second runner
	b.ask("work", "a0", `{"customer":"a"}`)
	b.await("a0", "going", func(r *event.Run) bool { return len(r.Jobs) == 1 })
	for i := range 5 {
		b.ask("work", fmt.Sprintf("a%d", i+1), `{"customer":"a"}`)
	}
	b.ask("work", "b0", `{"customer":"b"}`)
	inQueue(t, b, 5)
	b.await("b0", "waiting for its callback", func(r *event.Run) bool { return len(r.Jobs) == 1 && r.Jobs["ask"].Status == event.StatusWaiting })
	for i := range 6 {
		run := b.await(fmt.Sprintf("a%d", i), "here", func(r *event.Run) bool { return i > 0 || len(r.Jobs) == 1 })
		if i > 0 && (run.Status != event.StatusWaiting || !run.Queued() || !run.StartedAt.IsZero() || len(run.Jobs) > 0 || string(run.Turn.Key) != `"a"`) {
			t.Errorf("a%d is queued: %s %+v", i, run.Status, run.Turn)
		}
	}

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if _, err := b.bus.Request(ctx, subject.RunCancel("a2"), nil, nil); err != nil {
		t.Fatal(err)
	}
	b.status("a2", event.StatusCancelled)

	for _, i := range []int{0, 1, 3, 4, 5} {
		id := fmt.Sprintf("a%d", i)
		run := b.await(id, "waiting for its callback", func(r *event.Run) bool { return r.Jobs["ask"] != nil && r.Jobs["ask"].Status == event.StatusWaiting })
		if run.Turn.GrantedAt.IsZero() || run.StartedAt.IsZero() {
			t.Errorf("%s goes without its turn: %+v", id, run.Turn)
		}
		outcome, status := event.Succeeded, event.StatusCompleted
		if i == 1 { // a run frees its place however it ends
			outcome, status = event.Failed, event.StatusFailed
		}
		b.callback(id+".ask", outcome, `{}`)
		b.status(id, status)
	}
	got := slices.DeleteFunc(keys(b.called()), func(k string) bool { return k == "b0.ask" })
	if want := []string{"a0.ask", "a1.ask", "a3.ask", "a4.ask", "a5.ask"}; !slices.Equal(got, want) {
		t.Errorf("they went in the order %v, want %v", got, want)
	}
	for _, e := range []string{"a0", "a5"} {
		// It is ended last, after the run's end can be seen.
		bustest.Eventually(t, "the timer of "+e+" goes", func() bool {
			m, err := b.bus.Last(t.Context(), subject.StreamWaits, subject.Timer(e+"..turn"))
			return err != nil || len(m.Data) == 0
		})
	}
}

func TestRunsStartInTheOrderInWhichTheyWereAskedFor(t *testing.T) {
	b := begin(t, strings.Replace(bounded, "body: {callback", "completion: none\n    body: {callback", 1))
	const runs = 40
	var want []string
	for i := range runs {
		id := fmt.Sprintf("n%02d", i)
		want = append(want, id+".ask")
		b.ask("work", id, `{}`)
	}
	for i := range runs {
		b.status(fmt.Sprintf("n%02d", i), event.StatusCompleted)
	}
	if got := keys(b.called()); !slices.Equal(got, want) {
		t.Errorf("they went in the order %v", got)
	}
	// A ring has no deadline that it could be late for.
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "switchback_runner_timeout_delay_seconds" {
			continue
		}
		if late := family.GetMetric()[0].GetHistogram().GetSampleSum(); late > time.Hour.Seconds() {
			t.Errorf("timers were %v seconds late", late)
		}
	}
}

// TestALargeRequestIsNotOvertaken: its input takes a while to be read.
func TestALargeRequestIsNotOvertaken(t *testing.T) {
	b := begin(t, strings.Replace(bounded, "body: {callback", "completion: none\n    body: {callback", 1))
	b.ask("work", "large", `{"customer":"a","text":`+text("x", 8<<20)+`}`)
	b.ask("work", "small", `{"customer":"a"}`)
	b.status("large", event.StatusCompleted)
	b.status("small", event.StatusCompleted)
	if got, want := keys(b.called()), []string{"large.ask", "small.ask"}; !slices.Equal(got, want) {
		t.Errorf("they went in the order %v", got)
	}
}

// inQueue waits until so many runs are queued.
func inQueue(t *testing.T, b *bench, n int) {
	t.Helper()
	bustest.Eventually(t, "runs in the queue", func() bool {
		many, err := b.bus.NextMany(t.Context(), "KV_slots", "$KV.slots.*.*.>", 1, 100)
		return err == nil && len(many) == n
	})
}

func TestARunThatIsTriedAgainWaitsForItsTurn(t *testing.T) {
	b := begin(t, bounded)
	b.mu.Lock()
	b.answer = func(c call) (int, string) {
		if c.key == "first.ask" {
			return http.StatusBadRequest, `{}`
		}
		return http.StatusAccepted, `{}`
	}
	b.mu.Unlock()
	b.ask("work", "first", `{}`)
	b.status("first", event.StatusFailed)
	b.ask("work", "second", `{}`)
	b.await("second", "waiting for its callback", func(r *event.Run) bool { return len(r.Jobs) == 1 && r.Jobs["ask"].Status == event.StatusWaiting })
	if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "first", Workflow: "work", Retry: true}); err != nil {
		t.Fatal(err)
	}
	b.await("first", "queued again", queued)
	b.callback("second.ask", event.Succeeded, `{}`)
	b.await("first", "going again", func(r *event.Run) bool { return r.Turn.Number == 2 && r.Jobs["ask"].Status == event.StatusWaiting })
	b.callback("first.ask.2", event.Succeeded, `{}`)
	b.status("first", event.StatusCompleted)
}

func TestAQueuedRunGivesUpInTheEnd(t *testing.T) {
	b := begin(t, `
component: {type: logger, message: "${input.n}"}
workflows:
  work:
    concurrency: {limit: 1, timeout: 300ms}
    jobs: [{id: hold, type: wait, wait_for: free}, {id: say, depends_on: [hold]}]
`)
	b.ask("work", "holds", `{}`)
	b.await("holds", "going", func(r *event.Run) bool { return len(r.Jobs) == 1 })
	b.ask("work", "late", `{}`)
	run := b.status("late", event.StatusFailed)
	if run.Error == nil || run.Error.Code != "timeout" || run.EndedAt.Before(run.Turn.Deadline) {
		t.Errorf("error %+v, deadline %v, ended %v", run.Error, run.Turn.Deadline, run.EndedAt)
	}
	b.callback("free", event.Succeeded, `{}`)
	b.status("holds", event.StatusCompleted)
}

// TestALostTurnIsTakenBack leaves a turn behind, as a runner does that is killed at the one wrong moment.
func TestALostTurnIsTakenBack(t *testing.T) {
	b := begin(t, bounded)
	b.ask("work", "first", `{}`)
	run := b.await("first", "waiting for its callback", func(r *event.Run) bool { return len(r.Jobs) == 1 && r.Jobs["ask"].Status == event.StatusWaiting })
	leaveBehind(t, b, run, fmt.Sprintf(`{"run":"lost","number":1,"since":%q}`, time.Now().Add(-time.Minute).Format(time.RFC3339)))
	b.callback("first.ask", event.Succeeded, `{}`)
	b.status("first", event.StatusCompleted)
	b.ask("work", "next", `{}`)
	b.await("next", "queued", queued)
	look(t, b, "next") // as its own timer does after a while
	b.await("next", "going", func(r *event.Run) bool { return len(r.Jobs) == 1 })
}

// TestARingThatIsLostIsRungAgain: it is kept for three days, and no runner may have been there.
func TestARingThatIsLostIsRungAgain(t *testing.T) {
	b := begin(t, bounded)
	b.ask("work", "first", `{}`)
	run := b.await("first", "waiting for its callback", func(r *event.Run) bool { return len(r.Jobs) == 1 && r.Jobs["ask"].Status == event.StatusWaiting })
	b.ask("work", "next", `{}`)
	b.await("next", "queued", queued)
	leaveBehind(t, b, run, `{"run":"next","number":1,"rung":true}`)
	look(t, b, "next") // asks for the ring, which starts it
	b.await("next", "going", func(r *event.Run) bool { return len(r.Jobs) == 1 })
}

// TestAQueuedRunOutlivesAnotherThatCannotBeRead: it looks at those who have their turn, and must not fail for what it finds.
func TestAQueuedRunOutlivesAnotherThatCannotBeRead(t *testing.T) {
	b := begin(t, bounded)
	b.ask("work", "first", `{}`)
	run := b.await("first", "waiting for its callback", func(r *event.Run) bool { return len(r.Jobs) == 1 && r.Jobs["ask"].Status == event.StatusWaiting })
	if _, err := b.bus.Bucket(subject.BucketRuns).Put(t.Context(), "lost", []byte("neither JSON nor a run"), 0); err != nil {
		t.Fatal(err)
	}
	leaveBehind(t, b, run, fmt.Sprintf(`{"run":"lost","number":1,"since":%q}`, time.Now().Add(-time.Minute).Format(time.RFC3339)))
	b.ask("work", "next", `{}`)
	b.await("next", "queued", queued)
	timer := func() (seq uint64) {
		if m, err := b.bus.Last(t.Context(), subject.StreamWaits, subject.Timer(engine.TurnID("next", 1))); err == nil {
			seq = m.Seq
		}
		return seq
	}
	bustest.Eventually(t, "its timer", func() bool { return timer() > 0 })
	before := timer()
	look(t, b, "next")
	bustest.Eventually(t, "it looks again later", func() bool { return timer() > before })
}

// leaveBehind puts another turn into the place of the run's group.
func leaveBehind(t *testing.T, b *bench, run *event.Run, turn string) {
	t.Helper()
	group := slot.Group(run.Workflow, run.Turn.Key)
	m, err := b.bus.Last(t.Context(), "KV_slots", subject.SlotHolders(group))
	if err != nil {
		t.Fatal(err)
	}
	data := `{"holders":[{"run":"first","number":1},` + turn + `]}`
	if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: m.Subject, Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

// look is the end of the timer by which a queued run looks at its turn.
func look(t *testing.T, b *bench, run string) {
	t.Helper()
	id := engine.TurnID(run, 1)
	data := fmt.Sprintf(`{"id":%q,"run":%q,"deadline":%q,"timer":true}`, id, run, time.Now().Format(time.RFC3339))
	if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: subject.Timeout(id), Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

// TestARunThatGoesAlreadyHoldsUpNobody: a request that comes again, for a run that has its turn, may take as long as the
// outside service does.
func TestARunThatGoesAlreadyHoldsUpNobody(t *testing.T) {
	file := strings.Replace(bounded, "limit: 1", "limit: 5", 1)
	b := begin(t, file)
	hold := make(chan struct{})
	defer close(hold)
	b.say(func(c call) (int, string) {
		if c.key == "first.ask" {
			<-hold
		}
		return http.StatusAccepted, `{}`
	})
	asked := func(key string) (n int) {
		for _, k := range keys(b.called()) {
			if k == key {
				n++
			}
		}
		return n
	}
	b.ask("work", "first", `{}`)
	bustest.Eventually(t, "the first run's request", func() bool { return asked("first.ask") == 1 })
	b.stop() // its message goes back
	b.start(file)
	bustest.Eventually(t, "it again", func() bool { return asked("first.ask") == 2 })
	b.ask("work", "second", `{}`)
	bustest.Eventually(t, "the second run's request", func() bool { return asked("second.ask") == 1 })
}
