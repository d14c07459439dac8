package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// look checks what has been saved.
func (h *history) look(at string) {
	if timer, err := subject.Unescape(strings.TrimPrefix(at, "timer.")); err == nil && at == subject.Timer(timer) {
		h.left[timer] = true
	}
	key, ok := strings.CutPrefix(at, "$KV."+subject.BucketRuns+".")
	if !ok {
		return
	}
	id, err := subject.Unescape(key)
	if err != nil {
		h.t.Fatal(err)
	}
	run, _, err := h.bus.Stub(h.t.Context(), id)
	if errors.Is(err, bus.ErrNotFound) {
		return
	}
	if err != nil {
		h.t.Fatal(err)
	}
	was := h.docs[id]
	h.docs[id] = run
	for job, is := range run.Jobs {
		for i, a := range is.Attempts {
			for _, w := range append([]*event.WaitState{a.Wait}, a.More...) {
				if w != nil && w.ResumedBy != nil && !w.ResumedBy.Timeout {
					by := fmt.Sprintf("attempt %d at %s of %s", i+1, job, id)
					if other := h.taken[w.ResumedBy.Seq]; other != "" && other != by {
						h.fail("callback %d is taken for %s, and for %s", w.ResumedBy.Seq, other, by)
					}
					h.taken[w.ResumedBy.Seq] = by
				}
			}
		}
	}
	if was == nil {
		was = &event.Run{}
	}
	if string(encoded(run)) == string(encoded(was)) {
		return
	}
	h.note("%s is saved: %s", id, described(run))
	if was.Status.Ended() && run.RetriedBy == was.RetriedBy {
		h.fail("%s had ended, and is saved again", id)
	}
	for job, before := range was.Jobs {
		is := run.Jobs[job]
		if len(is.Attempts) < len(before.Attempts) {
			h.fail("%s loses an attempt at %s", id, job)
		}
		if before.Status == event.StatusCompleted && is.Round == before.Round && (is.Status != before.Status || string(is.Output) != string(before.Output)) {
			h.fail("job %s of %s was completed with %s, and is %s with %s", job, id, before.Output, is.Status, is.Output)
		}
	}
	if w := h.doc.Workflow(run.Workflow); run.Status.Ended() && !was.Status.Ended() {
		by := ""
		if !run.RetriedAt.IsZero() {
			by = "." + strings.TrimPrefix(run.RetriedBy, "request:")
		}
		switch {
		case run.Status == event.StatusFailed && w.OnFailure != nil:
			h.hooks[id+".on-failure"+by] = true
		case run.Status == event.StatusCompleted && w.OnSuccess != nil:
			h.hooks[id+".on-success"+by] = true
		}
	}
}

func encoded(run *event.Run) []byte {
	data, err := run.AppendJSON(nil)
	if err != nil {
		panic(err)
	}
	return data
}

// described is a run in few words.
func described(run *event.Run) string {
	words := []string{string(run.Status)}
	for _, id := range slices.Sorted(maps.Keys(run.Jobs)) {
		job := run.Jobs[id]
		word := id + "=" + string(job.Status)
		if n := len(job.Attempts); n > 0 {
			word += fmt.Sprintf("/%d by %s", n, job.Attempts[n-1].Trigger)
		}
		words = append(words, word)
	}
	if run.EndedBy != "" {
		words = append(words, "ended by "+run.EndedBy)
	}
	return strings.Join(words, " ")
}

// settled checks how things are when nothing is under way, and gives the runs that have not ended.
func (h *history) settled() (going []string) {
	for _, id := range h.ids() {
		run := h.docs[id]
		if run.Status.Ended() {
			continue
		}
		going = append(going, id)
		if run.Status != event.StatusWaiting {
			h.fail("nothing is under way, and %s is %s", id, described(run))
		}
		for name, job := range run.Jobs {
			switch {
			case job.Status == event.StatusRunning && job.Items == 0, job.Status == event.StatusWaiting && len(open(job)) == 0:
				h.fail("nothing is under way, and job %s of %s is %s", name, id, job.Status)
			case job.Status == event.StatusWaiting:
				for _, w := range open(job) {
					if by := h.holder(w.ID); by.Run != id {
						h.fail("job %s of %s waits for %s, for which %q has its wait", name, id, w.ID, by.Run)
					}
				}
				if sub := job.Attempts[len(job.Attempts)-1].SubRun; sub != "" && (h.docs[sub] == nil || h.docs[sub].Status.Ended()) {
					h.fail("job %s of %s waits for run %s, which has ended or is not there", name, id, sub)
				}
			}
		}
	}
	for e, err := range h.bus.Bucket(subject.BucketWaits).All(h.t.Context(), "") {
		var w event.Wait
		if err == nil {
			err = json.Unmarshal(e.Value, &w)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		if run := h.docs[w.Run]; strings.HasPrefix(w.Run, h.prefix) && (run == nil || run.Status.Ended() || engine.Unwanted(run, &w)) {
			h.fail("a wait for %s is left, of attempt %d at job %s of %s", w.ID, w.Attempt, w.Job, w.Run)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(h.hooks)) {
		if h.docs[id] == nil {
			h.fail("run %s was not asked for", id)
		}
	}
	return going
}

// holder gives the wait that stands for an id.
func (h *history) holder(id string) (w event.Wait) {
	e, err := h.bus.Bucket(subject.BucketWaits).Get(h.t.Context(), id)
	if errors.Is(err, bus.ErrNotFound) {
		return w
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &w)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}
