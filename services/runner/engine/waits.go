package engine

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Waits tells whether an attempt of a run waits for an id that is its own.
func Waits(run *event.Run, id string) bool {
	for _, name := range jobsOf(run.ID, id) {
		job := run.Jobs[name]
		if job == nil || job.Status.Ended() {
			continue
		}
		for _, a := range round(job) {
			if a.Wait != nil && a.Wait.ID == id && id == event.InvocationID(run.ID, name, a.Number) {
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

// usedOf is Used of the run as it is now. Whoever asks for a second id in one step will ask for many.
func (s *step) usedOf(id string) uint64 {
	switch {
	case s.used != nil:
		return s.used[id]
	case !s.asked:
		s.asked = true
		return Used(s.run, id)
	}
	s.used = make(map[string]uint64, len(s.run.Jobs))
	for _, job := range s.run.Jobs {
		for _, a := range job.Attempts {
			for _, w := range waits(a) {
				s.used[w.ID] = max(s.used[w.ID], w.Used)
			}
		}
	}
	return s.used[id]
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
	return len(a.More) > 0 && w.ResumedBy != nil && !w.ResumedBy.Timeout
}

// waiting finds the attempt that waits, or has waited, for an id, and which of its waits it is. Several jobs may wait for an id
// that is none's own, one after another: of those that are not done the one that has waited longest has it; of those that are
// done the last one had it.
func (s *step) waiting(waitID string) (def *compose.Job, attempt, which int, ok bool) {
	if id, n, i, ok := s.own(waitID); ok {
		return s.find(id), n, i, true // no other has it
	}
	var best *event.WaitState
	var open bool
	for d := range s.defs(func(id string, _ *event.Job) bool { _, _, found := s.lastWait(id, waitID); return found }) {
		n, i, _ := s.lastWait(d.ID, waitID)
		job := s.run.Jobs[d.ID]
		a := job.Attempts[n]
		w := waitOf(a, i)
		o := !job.Status.Ended() && !spent(a, w)
		if best == nil || o && !open || o && w.Since.Before(best.Since) || !o && !open && !w.Since.Before(best.Since) {
			def, attempt, which, best, open = d, n, i, w, o
		}
	}
	return def, attempt, which, best != nil
}

// own finds the job for which an id is that of its own attempt, and for which the attempt waits, or has waited.
func (s *step) own(waitID string) (jobID string, attempt, which int, ok bool) {
	for _, id := range jobsOf(s.run.ID, waitID) {
		n, i, found := s.lastWait(id, waitID)
		if found && waitID == event.InvocationID(s.run.ID, id, s.run.Jobs[id].Attempts[n].Number) && s.find(id) != nil {
			return id, n, i, true
		}
	}
	return "", 0, 0, false
}

// jobsOf gives the jobs that an id may be of an attempt at: <run>.<job>, or <run>.<job>.<attempt>. An empty one is none.
func jobsOf(runID, id string) (jobs [2]string) {
	name, ok := strings.CutPrefix(id, runID)
	if !ok || name == "" || name[0] != '.' {
		return jobs
	}
	jobs[0] = name[1:]
	if dot := strings.LastIndexByte(jobs[0], '.'); dot > 0 {
		jobs[1] = jobs[0][:dot]
	}
	return jobs
}

// lastWait finds the last attempt at a job that waits, or has waited, for an id.
func (s *step) lastWait(jobID, waitID string) (attempt, which int, ok bool) {
	job := s.run.Jobs[jobID]
	if job == nil {
		return 0, 0, false
	}
	for n := len(job.Attempts) - 1; n >= min(job.First, len(job.Attempts)); n-- {
		for i, w := range waits(job.Attempts[n]) {
			if w.ID == waitID {
				return n, i, true
			}
		}
	}
	return 0, 0, false
}

// waited gives the waits for an id in a job's present round, and the attempts that they are of.
func waited(job *event.Job, waitID string) iter.Seq2[*event.Attempt, *event.WaitState] {
	return func(yield func(*event.Attempt, *event.WaitState) bool) {
		for _, a := range round(job) {
			for _, w := range waits(a) {
				if w.ID == waitID && !yield(a, w) {
					return
				}
			}
		}
	}
}

// needs tells whether a job is not done with an id that it has waited for.
func needs(job *event.Job, waitID string) bool {
	if job.Status.Ended() {
		return false
	}
	for a, w := range waited(job, waitID) {
		if !spent(a, w) {
			return true
		}
	}
	return false
}

// Needs tells whether any job of a run is not done with an id.
func Needs(run *event.Run, id string) bool {
	for _, job := range run.Jobs {
		if needs(job, id) {
			return true
		}
	}
	return false
}

// Unwanted tells whether a run is done with a wait that stands. One that is the attempt's own is left to whose callback has brought the
// job on; one that others may be waiting for is not.
func Unwanted(run *event.Run, wait *event.Wait) bool {
	job := run.Jobs[wait.Job]
	if job == nil {
		return true
	}
	for _, w := range waited(job, wait.ID) {
		if w.ResumedBy != nil && !w.ResumedBy.Timeout && wait.Own() {
			return false
		}
	}
	return !needs(job, wait.ID)
}

// Unfinished are the callbacks for an id that have set off in a run what may not be done yet, but for one message's.
func Unfinished(run *event.Run, id, trigger string) (seqs []uint64) {
	set := map[uint64]bool{}
	note := func(by string) {
		text, ok := strings.CutPrefix(by, "callback:")
		if seq, err := strconv.ParseUint(text, 10, 64); ok && err == nil && by != trigger {
			set[seq] = true
		}
	}
	note(run.EndedBy)
	if run.Turn != nil {
		note(run.Turn.Trigger)
	}
	for _, job := range run.Jobs {
		if a := last(job); a != nil {
			note(a.Trigger)
		}
	}
	for _, job := range run.Jobs { // what it has taken for another id
		for _, a := range job.Attempts {
			for _, w := range waits(a) {
				if w.ID == id {
					continue
				}
				delete(set, w.Used)
				if w.ResumedBy != nil && !w.ResumedBy.Timeout {
					delete(set, w.ResumedBy.Seq)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// DoneWith tells whether a run is known to be done with one of its waits. Of one that a document does not know it is not: the
// document may be out of date.
func DoneWith(run *event.Run, w *event.Wait) bool {
	job := run.Jobs[w.Job]
	if job == nil || needs(job, w.ID) {
		return false
	}
	for _, a := range job.Attempts {
		if a.Number != w.Attempt {
			continue
		}
		for _, was := range waits(a) {
			if was.ID == w.ID {
				return true
			}
		}
	}
	return false
}

// SetOff tells whether a message has set off what may not be done yet.
func SetOff(run *event.Run, trigger string) bool {
	if run.EndedBy == trigger || run.Turn != nil && run.Turn.Trigger == trigger {
		return true
	}
	for _, job := range run.Jobs {
		if a := last(job); a != nil && a.Trigger == trigger {
			return true
		}
	}
	return false
}

// Took gives the job of which a wait was ended by the message at a place: a callback, or a timeout.
func Took(run *event.Run, seq uint64) (jobID string, ok bool) {
	for id, job := range run.Jobs {
		for _, a := range job.Attempts {
			for _, w := range waits(a) {
				if w.ResumedBy != nil && w.ResumedBy.Seq == seq {
					return id, true
				}
			}
		}
	}
	return "", false
}
