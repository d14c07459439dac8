package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// crowd is a stream that answers when as many have come as may come at once, and fails when more do.
type crowd struct {
	wait.Bus
	here atomic.Int64
	mu   sync.Mutex
	came int
	full chan struct{}
}

func (c *crowd) KeepCallbacks() time.Duration { return time.Hour }

func (c *crowd) Publish(ctx context.Context, _ *bus.Message) (bus.Ack, error) {
	defer c.here.Add(-1)
	if c.here.Add(1) > sideBySide {
		return bus.Ack{}, errors.New("too many come")
	}
	c.mu.Lock()
	full := c.full
	if c.came++; c.came == sideBySide {
		close(full)
		c.came, c.full = 0, make(chan struct{})
	}
	c.mu.Unlock()
	select {
	case <-full:
		return bus.Ack{}, nil
	case <-ctx.Done():
		return bus.Ack{}, errors.New("the others do not come")
	}
}

// TestWaitsOfOneRunAreMadeSideBySide, and ended so, but not more at once than the bound.
func TestWaitsOfOneRunAreMadeSideBySide(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // for a test that fails
	defer cancel()
	const batches = 3
	c := &crowd{full: make(chan struct{})}
	a := &activation{r: &Runner{waits: wait.New(c)}, ctx: ctx, run: &event.Run{ID: "r", Jobs: map[string]*event.Job{}}}
	for i := range batches * sideBySide {
		job := fmt.Sprintf("j%d", i)
		w := event.Wait{ID: "r." + job, Run: "r", Job: job, Attempt: 1, Deadline: time.Now().Add(time.Hour)}
		a.run.Jobs[job] = &event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{Wait: &event.WaitState{ID: w.ID}}}}
		a.queue = append(a.queue, engine.Park{Wait: w})
		a.ends = append(a.ends, engine.End{Wait: w})
	}
	if err := a.perform(); err != nil {
		t.Error(err)
	}
	a.made = nil // there is no document that could be looked at
	if err := a.endWaits(); err != nil {
		t.Error(err)
	}
}

// held keeps the first publish on a subject back until it may go.
type held struct {
	wait.Bus
	on   string
	seen atomic.Bool
	come chan struct{} // closed when it has come
	free chan struct{}
}

func (h *held) Publish(ctx context.Context, m *bus.Message) (bus.Ack, error) {
	if m.Subject == h.on && h.seen.CompareAndSwap(false, true) {
		close(h.come)
		<-h.free
	}
	return h.Bus.Publish(ctx, m)
}

// TestAWaitThatWasMadeForNothingIsEnded: while one id of a job is still being claimed, the callback for another ends the job, and
// with it all of its waits, this one too early.
func TestAWaitThatWasMadeForNothingIsEnded(t *testing.T) {
	client := bustest.Start(t).Provisioned(bus.Layout{})
	none := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(`workflow: {id: w, job: {id: any, type: wait, wait_for: [x, y], quorum: 1}}`), none)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{}, Deps{Bus: client, Document: doc, Getenv: none})
	h := &held{Bus: client, on: subject.Wait("y"), come: make(chan struct{}), free: make(chan struct{})}
	r.waits = wait.New(h)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if _, err := client.PublishRunRequest(ctx, &event.RunRequest{RunID: "r", MsgID: "r", Workflow: "w"}); err != nil {
		t.Fatal(err)
	}
	<-h.come
	last := func(subj string) (*bus.Stored, error) { return client.Last(ctx, subject.StreamWaits, subj) }
	bustest.Eventually(t, "the wait for x stands", func() bool { _, err := last(subject.Timer("r.any")); return err == nil })
	if _, err := client.PublishCallback(ctx, &event.Callback{ID: "x", Outcome: event.Succeeded}); err != nil {
		t.Fatal(err)
	}
	bustest.Eventually(t, "the wait for y is ended", func() bool { _, err := last(subject.Wait("y")); return err == nil })
	close(h.free)
	bustest.Eventually(t, "the request is done", func() bool {
		left, err := client.Backlog(ctx, subject.StreamRuns, subject.ConsumerRunner)
		return err == nil && left.Pending == 0 && left.Unacknowledged == 0
	})
	if e, err := client.Bucket(subject.BucketWaits).Get(ctx, "y"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a wait for y stands: %+v, %v", e, err)
	}
}

// TestAWaitIsLeftToWhoseCallbackHasEndedIt, where it is the attempt's own: another activation has taken it while this one made the wait, and may have died. Its callback
// comes again, and finds the run by the wait.
func TestAWaitIsLeftToWhoseCallbackHasEndedIt(t *testing.T) {
	client := bustest.Start(t).Provisioned(bus.Layout{})
	r := New(Config{}, Deps{Bus: client, Document: &compose.Document{}, Getenv: func(string) (string, bool) { return "", false }})
	ctx, now := t.Context(), time.Now()
	wanted := func(id string) event.Wait {
		return event.Wait{ID: id, Run: "r", Job: "a", Attempt: 1, Since: now, Deadline: now.Add(time.Hour)}
	}
	const own = "r.a"
	state := func(id string, by *event.ResumedBy) *event.WaitState {
		return &event.WaitState{ID: id, Since: now, Deadline: now.Add(time.Hour), ResumedBy: by}
	}
	run := &event.Run{ID: "r", Status: event.StatusRunning, CreatedAt: now, Jobs: map[string]*event.Job{"a": {Status: event.StatusCompleted, Attempts: []*event.Attempt{{
		Number: 1, Wait: state(own, &event.ResumedBy{Seq: 7, Outcome: event.Succeeded, At: now}), More: []*event.WaitState{state("y", nil)},
	}}}}}
	rev, _, err := r.journal.Save(ctx, run, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := r.begin(ctx, "r", "request:1", apart)
	defer a.end()
	if err := a.adopt(run, rev); err != nil {
		t.Fatal(err)
	}
	a.look = true
	for _, id := range []string{own, "y"} {
		if _, err := r.waits.Park(ctx, wanted(id), wait.Options{}); err != nil {
			t.Fatal(err)
		}
		a.made = append(a.made, wanted(id))
	}
	if err := a.endWaits(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Bucket(subject.BucketWaits).Get(ctx, own); err != nil {
		t.Errorf("the attempt's own wait: %v", err)
	}
	if _, err := client.Bucket(subject.BucketWaits).Get(ctx, "y"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the wait for y, which nobody wants: %v", err)
	}
}
