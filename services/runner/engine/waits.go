package engine

import (
	"iter"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Waits tells whether an attempt of a run waits for an id that is its own.
func Waits(run *event.Run, id string) bool {
	for name, job := range run.Jobs {
		if job.Status.Ended() {
			continue
		}
		for _, a := range round(job) {
			if a.Wait != nil && a.Wait.ID == id && id == InvocationID(run.ID, name, a.Number) {
				return true
			}
		}
	}
	return false
}

// Expects tells whether a callback may change the run: a job that is not done has waited for its id, and has not taken it.
func Expects(run *event.Run, id string, seq uint64) bool {
	for _, job := range run.Jobs {
		if job.Status.Ended() {
			continue
		}
		for _, a := range job.Attempts {
			for _, w := range waits(a) {
				if w.ID == id && (seq == 0 || seq > w.Used) {
					return true
				}
			}
		}
	}
	return false
}

// Used is the last callback for an id that a run has taken already: it does not count once more.
func Used(run *event.Run, id string) (seq uint64) {
	for _, job := range run.Jobs {
		for _, a := range job.Attempts {
			for _, w := range waits(a) {
				if w.ID == id {
					seq = max(seq, w.Used)
				}
			}
		}
	}
	return seq
}

// waits are an attempt's waits: one for each id.
func waits(a *event.Attempt) iter.Seq2[int, *event.WaitState] {
	return func(yield func(int, *event.WaitState) bool) {
		if a.Wait == nil || !yield(0, a.Wait) {
			return
		}
		for i, w := range a.More {
			if !yield(i+1, w) {
				return
			}
		}
	}
}

// waitOf is one of an attempt's waits.
func waitOf(a *event.Attempt, which int) *event.WaitState {
	if which == 0 {
		return a.Wait
	}
	return a.More[which-1]
}

// spent tells whether one of several ids has brought what it can.
func spent(a *event.Attempt, w *event.WaitState) bool {
	return len(a.More) > 0 && w.ResumedBy != nil
}

// waiting finds the attempt that waits, or has waited, for an id, and which of its waits it is.
func (s *step) waiting(waitID string) (def *compose.Job, attempt, which int, ok bool) {
	for def := range s.defs() {
		job := s.run.Jobs[def.ID]
		if job == nil {
			continue
		}
		for n := len(job.Attempts) - 1; n >= min(job.First, len(job.Attempts)); n-- {
			for i, w := range waits(job.Attempts[n]) {
				if w.ID == waitID {
					return def, n, i, true
				}
			}
		}
	}
	return nil, 0, 0, false
}
