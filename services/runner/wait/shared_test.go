package wait_test

import (
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// TestTheNextAttemptKeepsItsWait, though another runner comes to make that of the one before only then.
func TestTheNextAttemptKeepsItsWait(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	park(t, w, sharedWait("r", 2), wait.Options{})
	if cbs := park(t, w, sharedWait("r", 1), wait.Options{}); len(cbs) > 0 {
		t.Errorf("gave %v", seqs(cbs))
	}
	end(t, w, sharedWait("r", 1), 0)
	if ew := s.waitOn("task-7"); ew == nil || ew.Attempt != 2 || len(s.timers()) != 1 {
		t.Errorf("stands %+v, with the timers %v", ew, s.timers())
	}
}

// TestTheNextAttemptTakesNoOthersCallback that came for a run which had the id between the two attempts.
func TestTheNextAttemptTakesNoOthersCallback(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	other := sharedWait("other", 1)
	park(t, w, other, wait.Options{})
	cb := s.callback("task-7", event.Succeeded)
	end(t, w, other, cb.Seq)
	for attempt := range 2 {
		ew := sharedWait("r", attempt+1)
		if cbs := park(t, w, ew, wait.Options{}); len(cbs) > 0 {
			t.Errorf("attempt %d is given %v", attempt+1, seqs(cbs))
		}
		end(t, w, ew, 0)
	}
}

// TestACallbackFindsItsRunByItsNote when the id is another run's.
func TestACallbackFindsItsRunByItsNote(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	a, b := sharedWait("r", 1), sharedWait("r", 1)
	b.Job = "k"
	park(t, w, a, wait.Options{})
	first := s.callback("task-7", event.Succeeded)
	b.Used = first.Seq
	park(t, w, b, wait.Options{Over: &a})
	second := s.callback("task-7", event.Succeeded)
	if err := w.EndShared(t.Context(), b, second.Seq, wait.Known{Unfinished: []uint64{first.Seq}}); err != nil {
		t.Fatal(err)
	}
	run := func(w *event.Wait) string {
		if w == nil {
			return "none"
		}
		return w.Run
	}
	other := sharedWait("other", 1)
	for _, step := range []struct {
		what  string
		do    func()
		first func(wait.Found) string
	}{
		{"the run's mark", func() {}, func(f wait.Found) string { return run(f.Mark) }},
		{"another's wait", func() { park(t, w, other, wait.Options{}) }, func(f wait.Found) string { return run(f.Passed) }},
		{"another's mark", func() { end(t, w, other, 0) }, func(f wait.Found) string { return run(f.Mark) }},
	} {
		step.do()
		if f := look(t, w, first); step.first(f) != "r" || !f.Before {
			t.Errorf("beside %s the first callback finds %+v", step.what, f)
		}
	}
	if f := look(t, w, second); run(f.Mark) != "other" {
		t.Errorf("the second one, which has left no note, finds %+v", f)
	}
}

// TestAnEndEndsWhatTheRunIsDoneWith: the wait of a job whose own end came before it stood.
func TestAnEndEndsWhatTheRunIsDoneWith(t *testing.T) {
	for name, done := range map[string]bool{"done": true, "not done": false} {
		s := newStream()
		w := wait.New(s)
		a, b := sharedWait("r", 1), sharedWait("r", 1)
		b.Job = "k"
		park(t, w, a, wait.Options{})
		park(t, w, b, wait.Options{Over: &a})
		if err := w.EndShared(t.Context(), a, 0, wait.Known{Done: func(o *event.Wait) bool { return done && o.Job == "k" }}); err != nil {
			t.Fatal(err)
		}
		if ew := s.waitOn("task-7"); (ew == nil) != done || (len(s.timers()) == 0) != done {
			t.Errorf("%s: stands %+v, with the timers %v", name, ew, s.timers())
		}
	}
}
