// Package fate tells what became of a callback, from what its wait and its run have left in NATS: nothing is stored for it.
package fate

import (
	"cmp"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
)

// Fate is what became of a callback.
type Fate string

// The fates. Until its wait is over a callback is pending, and an orphan may yet become an early one.
const (
	Matched   Fate = "matched"   // its wait took it
	Early     Fate = "early"     // it was there before its wait, which took it
	Duplicate Fate = "duplicate" // another callback had ended its wait
	Late      Fate = "late"      // its wait had ended without one: its time was over, or its run was
	Orphan    Fate = "orphan"    // nobody has waited for it
	Pending   Fate = "pending"   // its wait stands, and no runner has taken it yet
)

// All lists them.
func All() []Fate { return []Fate{Matched, Early, Duplicate, Late, Orphan, Pending} }

// Callback is what is judged.
type Callback struct {
	ID      string
	Seq     uint64 // its place in the stream of waits
	Outcome event.Outcome
	At      time.Time // when it was received
}

// Told is a fate, and the job that it has to do with: none for an orphan.
type Told struct {
	Fate Fate   `json:"fate"`
	Run  string `json:"run,omitempty"`
	Job  string `json:"job,omitempty"`
}

// In tells what a callback was to one run; an orphan where the run has nothing to do with it.
func In(run *event.Run, cb Callback) Told {
	return judge(spans(run, cb.ID), cb)
}

// span is a wait from its beginning to its end, as a run document tells it.
type span struct {
	run, job string
	id       string
	created  time.Time // when the run was asked for: what came before does not count
	since    time.Time
	used     uint64 // the last callback that it took, progress included
	by       uint64 // the callback that ended it; 0: none
	early    bool
	open     bool
	collects bool // takes several callbacks
	anyEarly bool // takes those from before its run as well
}

// spans are a run's waits for an id, or for all ids where it is empty, the oldest first.
func spans(run *event.Run, id string) []span {
	var all []span
	for name, job := range run.Jobs {
		for _, a := range job.Attempts {
			if a.Wait == nil {
				continue
			}
			for _, w := range append([]*event.WaitState{a.Wait}, a.More...) {
				if id != "" && w.ID != id {
					continue
				}
				s := span{
					run: run.ID, job: name, id: w.ID, created: run.CreatedAt, since: w.Since, used: w.Used, open: !job.Status.Ended(),
					collects: w.Quorum > 1, anyEarly: w.AcceptEarly != "" && w.AcceptEarly != "run",
				}
				if by := w.ResumedBy; by != nil && !by.Timeout {
					s.by, s.early = by.Seq, by.Early
				}
				all = append(all, s)
			}
		}
	}
	sortSpans(all)
	return all
}

func sortSpans(all []span) {
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.job, b.job)) })
}

// counts tells whether the callback came in the wait's time, or after it.
func (s *span) counts(cb *Callback) bool { return s.anyEarly || !cb.At.Before(s.created) }

// judge tells a callback's fate from the waits for its id, the oldest first.
func judge(all []span, cb Callback) Told {
	for _, s := range all {
		if s.by == cb.Seq && cb.Seq != 0 {
			if s.early {
				return s.told(Early)
			}
			return s.told(Matched)
		}
	}
	for _, s := range all {
		if cb.Seq <= s.used && (cb.Outcome == event.Progress || s.collects) && s.counts(&cb) {
			return s.told(Matched)
		}
	}
	for _, s := range slices.Backward(all) {
		switch {
		case !s.counts(&cb):
		case s.open:
			return s.told(Pending)
		case s.by != 0:
			return s.told(Duplicate)
		default:
			return s.told(Late)
		}
	}
	return Told{Fate: Orphan}
}

func (s *span) told(f Fate) Told { return Told{Fate: f, Run: s.run, Job: s.job} }
