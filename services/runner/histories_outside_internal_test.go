package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// outcome is the outside service, or somebody else: it sends a callback for what is waited for, or was.
func (h *history) outcome() {
	id := []string{"shared-", "second-"}[h.rng.IntN(2)] + h.prefix
	if ids := h.awaited(); len(ids) > 0 && h.rng.IntN(4) > 0 {
		id = ids[h.rng.IntN(len(ids))]
	}
	outcome := event.Succeeded
	switch h.rng.IntN(6) {
	case 0:
		outcome = event.Failed
	case 1:
		outcome = event.Progress
	}
	h.callBack(id, outcome)
	if h.rng.IntN(5) == 0 {
		h.callBack(id, outcome)
	}
}

func (h *history) callBack(id string, outcome event.Outcome) {
	result := fmt.Sprintf(`{"more":%v}`, !h.final && h.rng.IntN(2) == 0)
	if _, err := h.bus.PublishCallback(h.t.Context(), &event.Callback{ID: id, Outcome: outcome, Result: []byte(result)}); err != nil {
		h.t.Fatal(err)
	}
	h.note("a callback for %s: %s", id, outcome)
	h.hear()
}

// awaited are the ids that runs wait for.
func (h *history) awaited() (ids []string) {
	for _, id := range h.ids() {
		if run := h.docs[id]; !run.Status.Ended() {
			for _, job := range run.Jobs {
				for _, w := range open(job) {
					if !slices.Contains(ids, w.ID) {
						ids = append(ids, w.ID)
					}
				}
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// open are the waits of a job that have brought nothing yet.
func open(job *event.Job) (all []*event.WaitState) {
	if job.Status != event.StatusWaiting || len(job.Attempts) == 0 {
		return nil
	}
	a := job.Attempts[len(job.Attempts)-1]
	if a.Wait == nil {
		return nil
	}
	for _, w := range append([]*event.WaitState{a.Wait}, a.More...) {
		if w.ResumedBy == nil {
			all = append(all, w)
		}
	}
	return all
}

func (h *history) ids() []string { return slices.Sorted(maps.Keys(h.docs)) }

// meddle cancels a run, tries one again, or lets the timer of a cancel ring.
func (h *history) meddle() {
	ids := h.ids()
	if len(ids) == 0 {
		return
	}
	id := ids[h.rng.IntN(len(ids))]
	switch {
	case h.rng.IntN(3) == 0:
		h.ring(engine.CancelID(id))
	case h.meddled >= 4:
	case !h.docs[id].Status.Ended():
		h.meddled++
		h.note("cancel %s", id)
		h.pending = append(h.pending, &pendingMessage{name: "cancel " + id, command: func(ctx context.Context, r *Runner) error {
			_, err := r.cancelSurely(ctx, id, "enough")
			return err
		}})
	case h.docs[id].Status != event.StatusCompleted:
		h.meddled++
		h.note("retry %s", id)
		if _, err := h.bus.PublishRunRequest(h.t.Context(), &event.RunRequest{RunID: id, Workflow: h.docs[id].Workflow, Retry: true}); err != nil {
			h.t.Fatal(err)
		}
		h.hear()
	}
}

// ring lets a timer ring that is set, as the server does some time.
func (h *history) ring(id string) {
	m, err := h.bus.Last(h.t.Context(), subject.StreamWaits, subject.Timer(id))
	if errors.Is(err, bus.ErrNotFound) || err == nil && (len(m.Data) == 0 || h.rung[m.Seq]) {
		return
	}
	if err == nil {
		h.rung[m.Seq] = true
		_, err = h.bus.Publish(h.t.Context(), &bus.Message{Subject: subject.Timeout(id), Data: m.Data})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.hear()
}

// rings lets all timers ring that make sure that nothing is left. That of what was let go rings now also where it has rung before: its
// three seconds are over on a slow machine while a runner stays behind.
func (h *history) rings() bool {
	for _, id := range h.ids() {
		h.ring(engine.CancelID(id))
		if left := engine.LeftoverID(id); h.left[left] {
			delete(h.left, left)
			data, err := json.Marshal(event.Wait{ID: left, Run: id, Timer: true})
			if err == nil {
				_, err = h.bus.Publish(h.t.Context(), &bus.Message{Subject: subject.Timeout(left), Data: data})
			}
			if err != nil {
				h.t.Fatal(err)
			}
		}
	}
	h.hear() // also of what the server has let ring
	return len(h.pending) > 0
}
