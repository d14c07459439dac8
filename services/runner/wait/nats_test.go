package wait_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

func TestMain(m *testing.M) {
	bustest.Main()
	goleak.VerifyTestMain(m)
}

// everywhere runs a test on one server and on three.
func everywhere(t *testing.T, f func(t *testing.T, b *bus.Bus, w *wait.Waits)) {
	t.Helper()
	t.Run("R1", func(t *testing.T) {
		b := bustest.Start(t).Provisioned(bus.Layout{})
		f(t, b, wait.New(b))
	})
	t.Run("R3", func(t *testing.T) {
		b := bustest.Cluster(t, 3).Provisioned(bus.Layout{})
		f(t, b, wait.New(b))
	})
}

func callback(t *testing.T, b *bus.Bus, id string) *event.Callback {
	t.Helper()
	a, err := b.PublishCallback(t.Context(), &event.Callback{ID: id})
	if err != nil {
		t.Fatalf("publish a callback for %s: %v", id, err)
	}
	return &event.Callback{ID: id, Seq: a.Seq}
}

func on(t *testing.T, b *bus.Bus, subj string) *bus.Stored {
	t.Helper()
	m, err := b.Last(t.Context(), subject.StreamWaits, subj)
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatalf("read %s: %v", subj, err)
	}
	return m
}

// timedOut waits for an id's timeout and gives the wait in it.
func timedOut(t *testing.T, b *bus.Bus, id string, due time.Time) event.Wait {
	t.Helper()
	var m *bus.Stored
	bustest.Eventually(t, "the timeout of "+id, func() bool { m = on(t, b, subject.Timeout(id)); return m != nil })
	if m.Time.Before(due) {
		t.Errorf("%s came %v early", id, due.Sub(m.Time))
	}
	var w event.Wait
	if err := json.Unmarshal(m.Data, &w); err != nil {
		t.Fatalf("timeout of %s: %v", id, err)
	}
	return w
}

func due(w event.Wait, in time.Duration) event.Wait {
	w.Since = time.Now()
	w.Deadline = w.Since.Add(in)
	return w
}

func TestDeadlines(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, w *wait.Waits) {
		t.Helper()
		ended := endedInTime(t, w)
		in := max(time.Until(ended[0].Deadline), 0) + 100*time.Millisecond // later than those
		ours, task := due(ownWait("r", 1), in), due(sharedWait("s", 1), in+50*time.Millisecond)
		past := due(ownWait("past", 1), -time.Hour)
		pause := due(event.Wait{ID: "r.j.retry.2", Run: "r", Job: "j", Attempt: 2}, in+20*time.Millisecond)
		for _, ew := range []event.Wait{ours, task, past} {
			park(t, w, ew, wait.Options{})
		}
		if err := w.Timer(t.Context(), pause); err != nil {
			t.Fatal(err)
		}
		for _, ew := range []event.Wait{ours, task, past} {
			if got := timedOut(t, b, ew.ID, ew.Deadline); got.Run != ew.Run || got.Timer || !got.Deadline.Equal(ew.Deadline) {
				t.Errorf("the timeout of %s is %+v", ew.ID, got)
			}
			end(t, w, ew, 0)
			if f := look(t, w, callback(t, b, ew.ID)); f.Mark == nil || f.Mark.Run != ew.Run {
				t.Errorf("a late callback for %s finds %+v", ew.ID, f)
			}
		}
		if got := timedOut(t, b, pause.ID, pause.Deadline); !got.Timer {
			t.Errorf("the timer's message is %+v", got)
		}
		for _, ew := range ended {
			if m := on(t, b, subject.Timeout(ew.ID)); m != nil {
				t.Errorf("%s was ended and timed out: %s", ew.ID, m.Data)
			}
		}
	})
}

// endedInTime gives a wait, one for a shared id and a timer, all ended before they were due: where the machine is too busy
// for that, others with more time.
func endedInTime(t *testing.T, w *wait.Waits) []event.Wait {
	t.Helper()
	for in := 500 * time.Millisecond; ; in *= 2 {
		run := "ended" + in.String()
		own, shared := due(ownWait(run, 1), in), due(sharedWait(run, 1), in)
		shared.ID = "task-8-" + in.String()
		timer := due(event.Wait{ID: run + ".j.retry.2", Run: run, Job: "j", Attempt: 2, Timer: true}, in)
		park(t, w, own, wait.Options{})
		park(t, w, shared, wait.Options{})
		if err := w.Timer(t.Context(), timer); err != nil {
			t.Fatal(err)
		}
		all := []event.Wait{own, shared, timer}
		for _, ew := range all {
			end(t, w, ew, 0)
		}
		if time.Now().Before(own.Deadline) {
			return all
		}
	}
}

func TestSharedIDs(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, w *wait.Waits) {
		t.Helper()
		one, two := due(sharedWait("r1", 1), time.Hour), due(sharedWait("r2", 1), time.Hour)
		park(t, w, one, wait.Options{})
		for range 3 { // each makes sure by a publish, whose traces must not be in the way later
			if _, err := w.Park(t.Context(), two, wait.Options{}); fault.CodeOf(err) != fault.Conflict {
				t.Fatalf("a second run for the id: %v", err)
			}
		}
		first := callback(t, b, one.ID)
		if f := look(t, w, first); f.Wait == nil || f.Wait.Run != "r1" {
			t.Fatalf("found %+v", f)
		}
		end(t, w, one, first.Seq)
		park(t, w, two, wait.Options{})
		end(t, w, one, first.Seq)
		end(t, w, one, 0)
		second := callback(t, b, one.ID)
		if f := look(t, w, second); f.Wait == nil || f.Wait.Run != "r2" {
			t.Fatalf("found %+v", f)
		}
		end(t, w, two, second.Seq)
		end(t, w, two, second.Seq)
		if m := on(t, b, subject.Timer("r1.j")); m != nil {
			t.Errorf("the first run's timer is still set: %+v", m)
		}
		if m := on(t, b, subject.Timer("r2.j")); m != nil {
			t.Errorf("the second run's timer is still set: %+v", m)
		}
	})
}

// Many runs want one id at once; one gets it.
func TestOneOfManyGetsTheID(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, w *wait.Waits) {
		t.Helper()
		var got errgroup.Group
		held := make(chan struct{}, 10)
		for i := range 10 {
			got.Go(func() error {
				_, err := w.Park(t.Context(), due(sharedWait(fmt.Sprintf("r%d", i), 1), time.Hour), wait.Options{})
				if fault.CodeOf(err) == fault.Conflict {
					held <- struct{}{}
					return nil
				}
				return err
			})
		}
		if err := got.Wait(); err != nil || len(held) != 9 {
			t.Errorf("%d were told that it is held, %v", len(held), err)
		}
		if f := look(t, w, callback(t, b, "task-7")); f.Wait == nil {
			t.Errorf("found %+v", f)
		}
	})
}

// A server that fires many timers at once purges what lies on their subjects by then. The next run's wait for an id that
// others may use is not among it.
func TestNextRunWhileTimersFire(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	w := wait.New(b)
	const n = 3000
	at := time.Now().Add(3 * time.Second)
	task := func(run string, i int) event.Wait {
		return event.Wait{ID: fmt.Sprintf("task-%d", i), Run: fmt.Sprintf("%s%d", run, i), Job: "j", Attempt: 1, Deadline: at}
	}
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error {
			_, err := w.Park(t.Context(), task("r", i), wait.Options{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(at))
	for i := range n { // while they fire, or just before or after
		g.Go(func() error {
			if err := w.End(t.Context(), task("r", i), 0); err != nil {
				return err
			}
			next := task("s", i)
			next.Deadline = at.Add(time.Hour)
			_, err := w.Park(t.Context(), next, wait.Options{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		next := task("s", i)
		if on(t, b, subject.Timer(next.Run+".j")) == nil {
			t.Fatalf("the timer of %s is gone", next.ID)
		}
		if f := look(t, w, callback(t, b, next.ID)); f.Wait == nil || f.Wait.Run != next.Run {
			t.Fatalf("the callback for %s finds %+v", next.ID, f)
		}
	}
}

// Waits outlive the server's sudden death, with what came for them.
func TestWaitsSurviveKill(t *testing.T) {
	p := bustest.StartProcess(t)
	b := p.Provisioned(bus.Layout{})
	w := wait.New(b)
	const n = 200
	var early []*event.Callback
	for i := range n {
		park(t, w, due(ownWait(fmt.Sprintf("r%d", i), 1), time.Hour), wait.Options{})
		if i%2 == 0 {
			early = append(early, callback(t, b, fmt.Sprintf("r%d.j", i)))
		}
	}
	p.Kill()
	p.Start()
	bustest.Eventually(t, "NATS is back", func() bool { return b.Ready(t.Context()) == nil })
	for i := range n {
		var cb *event.Callback
		if i%2 == 0 {
			cb = early[i/2]
		} else {
			cb = callback(t, b, fmt.Sprintf("r%d.j", i))
		}
		if f := look(t, w, cb); f.Wait == nil || f.Wait.Run != fmt.Sprintf("r%d", i) {
			t.Fatalf("callback %d finds %+v", i, f)
		}
	}
}
