package wait_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// both runs a test for an attempt's own id and for one that others may use.
func both(t *testing.T, f func(t *testing.T, s *model, w *wait.Waits, ew event.Wait)) {
	t.Helper()
	for name, ew := range map[string]event.Wait{"own": ownWait("r", 1), "shared": sharedWait("r", 1)} {
		t.Run(name, func(t *testing.T) {
			s := newStream()
			f(t, s, wait.New(s), ew)
		})
	}
}

func seqs(cbs []*event.Callback) (s []uint64) {
	for _, cb := range cbs {
		s = append(s, cb.Seq)
	}
	return s
}

func TestWaitBeforeCallback(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		if cbs := park(t, w, ew, wait.Options{}); len(cbs) > 0 {
			t.Fatalf("parking gave %v", seqs(cbs))
		}
		if n := len(s.timers()); n != 1 {
			t.Errorf("%d timers", n)
		}
		cb := s.callback(ew.ID, event.Succeeded)
		f := look(t, w, cb)
		if f.Wait == nil || f.Wait.Run != "r" || f.Wait.Job != "j" || !f.Wait.Deadline.Equal(ew.Deadline) {
			t.Fatalf("found %+v", f)
		}
		end(t, w, ew, cb.Seq)
		if s.waitOn(ew.ID) != nil || len(s.timers()) != 0 {
			t.Errorf("after the end: %+v, timers %v", s.waitOn(ew.ID), s.timers())
		}
		for _, again := range []*event.Callback{cb, s.callback(ew.ID, event.Succeeded)} {
			if f := look(t, w, again); f.Mark == nil || f.Mark.Run != "r" || f.Mark.Used != cb.Seq || f.Wait != nil {
				t.Errorf("a duplicate finds %+v", f)
			}
		}
		end(t, w, ew, cb.Seq) // again
		if m := s.find(subject.Wait(ew.ID)); m == nil || m.Header[subject.HeaderUsed] != "2" && m.Header[subject.HeaderUsed] != "3" {
			t.Errorf("mark %+v", m)
		}
	})
}

func TestCallbackBeforeWait(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		early := s.callback(ew.ID, event.Succeeded)
		if f := look(t, w, early); f != (wait.Found{}) {
			t.Fatalf("before there is a wait: %+v", f)
		}
		cbs := park(t, w, ew, wait.Options{NotBefore: early.StoredAt})
		if d := cmp.Diff([]uint64{early.Seq}, seqs(cbs)); d != "" {
			t.Fatal(d)
		}
		if len(s.timers()) != 0 {
			t.Errorf("timers %v: nothing is to be waited for", s.timers())
		}
		// Its message comes again: the same.
		if d := cmp.Diff([]uint64{early.Seq}, seqs(park(t, w, ew, wait.Options{}))); d != "" {
			t.Error(d)
		}
		if f := look(t, w, early); f.Wait != nil {
			t.Errorf("the parker's callback is found to count here: %+v", f)
		}
		end(t, w, ew, early.Seq)
		if f := look(t, w, s.callback(ew.ID, event.Succeeded)); f.Mark == nil {
			t.Errorf("a duplicate finds %+v", f)
		}
	})
}

func TestProgress(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		p1, p2 := s.callback(ew.ID, event.Progress), s.callback(ew.ID, event.Progress)
		cbs := park(t, w, ew, wait.Options{})
		if d := cmp.Diff([]uint64{p1.Seq, p2.Seq}, seqs(cbs)); d != "" {
			t.Fatal(d)
		}
		ew.Used = p2.Seq
		if cbs := park(t, w, ew, wait.Options{}); len(cbs) > 0 {
			t.Fatalf("parking again gave %v", seqs(cbs))
		}
		for _, p := range []*event.Callback{p1, p2} {
			if f := look(t, w, p); f.Wait != nil || f.Passed == nil {
				t.Errorf("progress that was used finds %+v", f)
			}
		}
		p3 := s.callback(ew.ID, event.Progress)
		if f := look(t, w, p3); f.Wait == nil {
			t.Errorf("progress finds %+v", f)
		}
		if f := look(t, w, s.callback(ew.ID, event.Succeeded)); f.Wait == nil {
			t.Errorf("the result finds %+v", f)
		}
	})
}

func TestWhatCountsEarly(t *testing.T) {
	for name, c := range map[string]struct {
		accept string
		age    time.Duration // of the callback at the run's request
		counts bool
	}{
		"older than the run":          {"", time.Minute, false},
		"older than the run, by name": {"run", time.Minute, false},
		"any":                         {"any", 30 * time.Minute, true},
		"within a duration":           {"5m", 4 * time.Minute, true},
		"beyond a duration":           {"5m", 6 * time.Minute, false},
		"in milliseconds":             {"300000", 4 * time.Minute, true},
		"with the request":            {"", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
				t.Helper()
				cb := s.callback(ew.ID, event.Succeeded)
				o := wait.Options{NotBefore: cb.StoredAt.Add(c.age), AcceptEarly: c.accept}
				cbs := park(t, w, ew, o)
				if got := len(cbs) > 0; got != c.counts {
					t.Fatalf("parking gave %v", seqs(cbs))
				}
				if c.counts {
					return
				}
				if f := look(t, w, cb); f.Wait != nil {
					t.Errorf("the old callback finds %+v", f)
				}
				if cbs := park(t, w, ew, o); len(cbs) > 0 {
					t.Errorf("parking again gave %v", seqs(cbs))
				}
				if f := look(t, w, s.callback(ew.ID, event.Succeeded)); f.Wait == nil {
					t.Errorf("a new callback finds %+v", f)
				}
			})
		})
	}
	s := newStream()
	_, err := wait.New(s).Park(t.Context(), ownWait("r", 1), wait.Options{AcceptEarly: "soon"})
	if fault.CodeOf(err) != fault.Invalid {
		t.Errorf("accept_early: soon gives %v", err)
	}
	if _, err := wait.New(s).Park(t.Context(), event.Wait{ID: "r.j", Run: "r", Job: "j", Attempt: 1}, wait.Options{}); err == nil {
		t.Error("a wait without a deadline stands")
	}
}

// Another client's callback lies in the stream for longer than callbacks are kept. By then the mark may be gone that says
// whether it was used.
func TestTooOldToCount(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		s.clock = time.Now().Add(-73 * time.Hour)
		cb := s.callback(ew.ID, event.Succeeded)
		s.clock = time.Now()
		if cbs := park(t, w, ew, wait.Options{AcceptEarly: "any"}); len(cbs) > 0 {
			t.Errorf("parking gave %v", seqs(cbs))
		}
		if f := look(t, w, cb); f.Wait != nil {
			t.Errorf("it finds %+v", f)
		}
	})
}

func TestNoCallbackAtAll(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		if _, err := s.store(&bus.Message{Subject: subject.Callback(ew.ID), Header: bus.Header{subject.HeaderOutcome: "dunno"}}); err != nil {
			t.Fatal(err)
		}
		if cbs := park(t, w, ew, wait.Options{}); len(cbs) > 0 {
			t.Errorf("parking gave %v", seqs(cbs))
		}
		if s.waitOn(ew.ID) == nil {
			t.Error("no wait stands")
		}
	})
}

// The callbacks that were used have expired, so that there is none to expect.
func TestUsedHasExpired(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		p := s.callback(ew.ID, event.Progress)
		s.purge(subject.Callback(ew.ID))
		ew.Used = p.Seq
		if cbs := park(t, w, ew, wait.Options{}); len(cbs) > 0 || s.waitOn(ew.ID) == nil {
			t.Errorf("parking gave %v, stands %+v", seqs(cbs), s.waitOn(ew.ID))
		}
		if f := look(t, w, s.callback(ew.ID, event.Succeeded)); f.Wait == nil {
			t.Errorf("a callback finds %+v", f)
		}
	})
}

// A callback that comes between any two steps of parking is given or found.
func TestCallbackWhileParking(t *testing.T) {
	both(t, func(t *testing.T, _ *model, _ *wait.Waits, ew event.Wait) {
		t.Helper()
		for step := range 2 {
			s := newStream()
			w := wait.New(s)
			n := 0
			var cb *event.Callback
			s.before = func(*bus.Message) error {
				if n++; n == step+1 {
					cb = s.callback(ew.ID, event.Succeeded)
				}
				return nil
			}
			cbs := park(t, w, ew, wait.Options{})
			if cb == nil {
				continue // there are fewer steps
			}
			if f := look(t, w, cb); len(cbs) != 1 && f.Wait == nil {
				t.Errorf("before publish %d: parking gave %v, the consumer finds %+v", step+1, seqs(cbs), f)
			}
		}
	})
}

func TestTimeout(t *testing.T) {
	both(t, func(t *testing.T, s *model, w *wait.Waits, ew event.Wait) {
		t.Helper()
		park(t, w, ew, wait.Options{})
		if !s.fire(s.timers()[0]) {
			t.Fatal("nothing fires")
		}
		if m := s.find(subject.Timeout(ew.ID)); m == nil {
			t.Fatal("no timeout is stored")
		}
		end(t, w, ew, 0)
		if f := look(t, w, s.callback(ew.ID, event.Succeeded)); f.Mark == nil || f.Mark.Used != 0 {
			t.Errorf("a late callback finds %+v", f)
		}
	})
}

func TestTimer(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	ew := event.Wait{ID: "r.j.retry.2", Run: "r", Job: "j", Attempt: 2, Deadline: time.Now().Add(time.Minute)}
	for range 2 {
		if err := w.Timer(t.Context(), ew); err != nil {
			t.Fatal(err)
		}
	}
	m := s.find(subject.Timer(ew.ID))
	if m == nil || !m.due.Equal(ew.Deadline) || m.target != subject.Timeout(ew.ID) || len(s.timers()) != 1 {
		t.Fatalf("timer %+v of %v", m, s.timers())
	}
	ew.Timer = true
	end(t, w, ew, 0)
	if len(s.timers()) != 0 {
		t.Errorf("timers after the end: %v", s.timers())
	}
	ew.Deadline = time.Now().Add(400 * 24 * time.Hour)
	if err := w.Timer(t.Context(), ew); err != nil {
		t.Fatal(err)
	}
	if m := s.find(subject.Timer(ew.ID)); time.Until(m.due) > 11*24*time.Hour {
		t.Errorf("it lies in the stream until %v, longer than that keeps it", m.due)
	}
}

func TestSharedIDIsHeld(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	park(t, w, sharedWait("r1", 1), wait.Options{})
	_, err := w.Park(t.Context(), sharedWait("r2", 1), wait.Options{})
	h, ok := errors.AsType[*wait.HeldError](err)
	if !ok || h.Wait.Run != "r1" || fault.CodeOf(err) != fault.Conflict || fault.HintOf(err) == "" {
		t.Fatalf("the second gets %v", err)
	}
	if _, err := w.Park(t.Context(), func() event.Wait { x := sharedWait("r1", 1); x.Job = "k"; return x }(), wait.Options{}); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("another job of the same run gets %v", err)
	}
	end(t, w, sharedWait("r2", 1), 0) // not its own
	if s.waitOn("task-7") == nil {
		t.Fatal("the wait was ended by a run that does not hold it")
	}
	cb := s.callback("task-7", event.Succeeded)
	if f := look(t, w, cb); f.Wait == nil || f.Wait.Run != "r1" {
		t.Fatalf("found %+v", f)
	}
	end(t, w, sharedWait("r1", 1), cb.Seq)

	// The next run counts from there: not what r1 has used, but what came since.
	if cbs := park(t, w, sharedWait("r2", 1), wait.Options{AcceptEarly: "any"}); len(cbs) > 0 {
		t.Fatalf("the next run is given %v", seqs(cbs))
	}
	if f := look(t, w, cb); f.Wait != nil {
		t.Errorf("a used callback finds %+v", f)
	}
	end(t, w, sharedWait("r1", 1), cb.Seq) // late, by a zombie
	if ew := s.waitOn("task-7"); ew == nil || ew.Run != "r2" || len(s.timers()) != 1 {
		t.Fatalf("after a late end stands %+v with timers %v", ew, s.timers())
	}
	next := s.callback("task-7", event.Succeeded)
	if f := look(t, w, next); f.Wait == nil || f.Wait.Run != "r2" {
		t.Errorf("found %+v", f)
	}
}

// Callbacks that arrive after one run's end and before the next run's wait belong to the next.
func TestSharedIDBetweenRuns(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	park(t, w, sharedWait("r1", 1), wait.Options{})
	first := s.callback("task-7", event.Succeeded)
	end(t, w, sharedWait("r1", 1), first.Seq)
	second := s.callback("task-7", event.Succeeded)
	if d := cmp.Diff([]uint64{second.Seq}, seqs(park(t, w, sharedWait("r2", 1), wait.Options{NotBefore: epoch}))); d != "" {
		t.Error(d)
	}
}

func TestSharedIDOverAttempts(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	park(t, w, sharedWait("r", 1), wait.Options{})
	p := s.callback("task-7", event.Progress)
	two := sharedWait("r", 2)
	two.Used = p.Seq
	two.Deadline = two.Deadline.Add(time.Hour)
	if cbs := park(t, w, two, wait.Options{}); len(cbs) > 0 {
		t.Fatalf("gave %v", seqs(cbs))
	}
	if d := cmp.Diff([]string{subject.Timer("r.j.2")}, s.timers()); d != "" {
		t.Errorf("timers: %s", d)
	}
	end(t, w, sharedWait("r", 1), 0) // the first attempt's end, late
	if ew := s.waitOn("task-7"); ew == nil || ew.Attempt != 2 {
		t.Fatalf("stands %+v", ew)
	}
	end(t, w, two, p.Seq)
	if s.waitOn("task-7") != nil || len(s.timers()) != 0 {
		t.Errorf("after the end: %+v, %v", s.waitOn("task-7"), s.timers())
	}
}

func TestForeignKeys(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	if _, err := s.store(&bus.Message{Subject: subject.Wait("task-7"), Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Park(t.Context(), sharedWait("r", 1), wait.Options{}); fault.HintOf(err) == "" {
		t.Errorf("a key that is no wait: %v", err)
	}
	// Deleted by hand with a KV client.
	if _, err := s.store(&bus.Message{Subject: subject.Wait("task-7"), Header: bus.Header{"KV-Operation": "DEL"}, Rollup: true}); err != nil {
		t.Fatal(err)
	}
	if cbs := park(t, w, sharedWait("r", 1), wait.Options{}); len(cbs) > 0 || s.waitOn("task-7") == nil {
		t.Errorf("gave %v", seqs(cbs))
	}
}

// Whatever single call fails, before its effect or after, doing it all again ends the same.
func TestEveryCallMayFail(t *testing.T) {
	both(t, func(t *testing.T, _ *model, _ *wait.Waits, ew event.Wait) {
		t.Helper()
		for failing := 1; ; failing++ {
			reached := false
			for _, after := range []bool{false, true} {
				s := newStream()
				w := wait.New(s)
				calls := 0
				s.before = func(m *bus.Message) error {
					if calls++; calls != failing {
						return nil
					}
					reached = true
					if after {
						_, _ = s.store(m)
					}
					return fault.New(fault.Unavailable, "no answer", "")
				}
				retry := func(f func() error) {
					t.Helper()
					for range 3 {
						if err := f(); err == nil {
							return
						} else if fault.CodeOf(err) != fault.Unavailable {
							t.Fatalf("call %d (after its effect: %v): %v", failing, after, err)
						}
					}
					t.Fatal("fails for ever")
				}
				var cbs []*event.Callback
				retry(func() (err error) { cbs, err = w.Park(t.Context(), ew, wait.Options{}); return err })
				if len(cbs) > 0 {
					t.Fatalf("gave %v", seqs(cbs))
				}
				cb := s.callback(ew.ID, event.Succeeded)
				if f := look(t, w, cb); f.Wait == nil {
					t.Fatalf("call %d (after its effect: %v): found %+v", failing, after, f)
				}
				retry(func() error { return w.End(t.Context(), ew, cb.Seq) })
				if f := look(t, w, s.callback(ew.ID, event.Succeeded)); f.Mark == nil || f.Mark.Used != cb.Seq || len(s.timers()) != 0 {
					t.Fatalf("call %d (after its effect: %v): in the end %+v, timers %v", failing, after, f, s.timers())
				}
			}
			if !reached {
				if failing < 3 {
					t.Fatal("nothing failed")
				}
				return
			}
		}
	})
}

// A run is cancelled by one runner while another is about to make its wait: that must not stand where nobody ends it.
func TestParkAfterTheEnd(t *testing.T) {
	s := newStream()
	w := wait.New(s)
	first := sharedWait("r", 1)
	end(t, w, first, 0)
	if cbs := park(t, w, first, wait.Options{}); len(cbs) > 0 {
		t.Errorf("gave %v", seqs(cbs))
	}
	if ew := s.waitOn("task-7"); ew != nil || len(s.timers()) > 0 {
		t.Errorf("after the end stands %+v, with the timers %v", ew, s.timers())
	}
	second := sharedWait("r", 2)
	second.Since = first.Since // whatever the clocks say
	park(t, w, second, wait.Options{})
	if ew := s.waitOn("task-7"); ew == nil || ew.Attempt != 2 {
		t.Errorf("of the next attempt stands %+v", ew)
	}
	end(t, w, second, 0)
	anew := sharedWait("r", 1) // another run, when the first one's document was gone
	anew.Since = s.clock.Add(time.Second)
	park(t, w, anew, wait.Options{})
	if ew := s.waitOn("task-7"); ew == nil || ew.Attempt != 1 {
		t.Errorf("of a later run of that id stands %+v", ew)
	}
}
