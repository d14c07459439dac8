package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
)

// maxItems bounds the items of one for-each: all of them are in the run document.
const maxItems = 10000

// list is a job's input, which must be a list.
func (s *step) list(def *compose.Job) ([]any, error) {
	input, err := s.input(def)
	if err != nil {
		return nil, err
	}
	switch items := input.(type) {
	case nil:
		return nil, nil
	case []any:
		return items, nil
	default:
		return nil, fmt.Errorf("the input of a %s is a list, and this is %s", def.Type, expr.KindOf(input))
	}
}

// filter keeps the items of a list for which its condition holds.
func (s *step) filter(def *compose.Job) error {
	items, err := s.list(def)
	if err != nil {
		return err
	}
	scope := s.inputScope(def)
	kept := []any{}
	for i, item := range items {
		scope.Item, scope.Index, scope.OfItem = item, i, true
		ok, err := holds(def.Filter, scope, item)
		if err != nil {
			return fmt.Errorf("where, item %d: %w", i, err)
		}
		if ok {
			kept = append(kept, item)
		}
	}
	output, err := encoded(kept)
	if err != nil {
		return err
	}
	s.done(def, s.job(def.ID), output)
	return nil
}

// each begins a for-each: its items are jobs of their own.
func (s *step) each(def *compose.Job) error {
	items, err := s.list(def)
	if err != nil {
		return err
	}
	if len(items) > maxItems {
		return fmt.Errorf("a for-each takes at most %d items, and this has %d: give each part of the list to a run of its own", maxItems, len(items))
	}
	delete(s.counts, def.ID)
	job := s.job(def.ID)
	job.Items = len(items)
	for i := range items {
		id := itemID(def.ID, i)
		if s.run.Jobs[id] != nil {
			s.job(id).Status = event.StatusPending // an earlier round's
		}
	}
	s.more(def)
	return nil
}

// retryItems goes on with a for-each: items that have completed stay.
func (s *step) retryItems(def *compose.Job) {
	delete(s.counts, def.ID)
	job := s.job(def.ID)
	job.First, job.Error = len(job.Attempts), nil
	s.attempt(def, job)
	for i := range job.Items {
		id := itemID(def.ID, i)
		if item := s.run.Jobs[id]; item != nil && item.Status != event.StatusCompleted {
			item = s.job(id)
			item.Status, item.Error, item.RetryAt = event.StatusPending, nil, time.Time{}
		}
	}
	s.more(def)
}

// progress counts the items of a for-each. Those before next are not pending.
type progress struct{ next, active, finished int }

// counted gives how far a for-each is.
func (s *step) counted(def *compose.Job) *progress {
	if p := s.counts[def.ID]; p != nil {
		return p
	}
	p := &progress{next: s.run.Jobs[def.ID].Items}
	for i := range s.run.Jobs[def.ID].Items {
		switch job := s.run.Jobs[itemID(def.ID, i)]; {
		case job == nil || job.Status == event.StatusPending:
			p.next = min(p.next, i)
		case job.Status.Ended():
			p.finished++
		default:
			p.active++
		}
	}
	if s.counts == nil {
		s.counts = map[string]*progress{}
	}
	s.counts[def.ID] = p
	return p
}

// more starts as many items of a for-each as may be under way, and ends it when all are done.
func (s *step) more(def *compose.Job) {
	total, p := s.run.Jobs[def.ID].Items, s.counted(def)
	for p.next < total && (def.ForEach.BatchSize <= 0 || p.active < def.ForEach.BatchSize) {
		id := itemID(def.ID, p.next)
		p.next++
		if job := s.run.Jobs[id]; job != nil && job.Status != event.StatusPending {
			continue // done in an earlier try
		}
		p.active++
		s.start(s.find(id))
	}
	if p.finished == total {
		s.collect(def)
	}
}

// collect ends a for-each with the list of its items' outputs.
func (s *step) collect(def *compose.Job) {
	outputs := make([]json.RawMessage, s.run.Jobs[def.ID].Items)
	for i := range outputs {
		outputs[i] = orNull(s.run.Jobs[itemID(def.ID, i)].Output)
	}
	s.done(def, s.job(def.ID), join(outputs))
}

// parent gives the for-each that a job is an item of, while it is under way.
func (s *step) parent(id string) *compose.Job {
	parent, _, ok := itemOf(id)
	if !ok || s.workflow.Job(id) != nil {
		return nil
	}
	def := s.workflow.Job(parent)
	if def == nil || def.ForEach == nil {
		return nil
	}
	return def
}

// itemDone goes on with the for-each that a job is an item of.
func (s *step) itemDone(id string) bool {
	def := s.parent(id)
	if def == nil {
		return false
	}
	if job := s.run.Jobs[def.ID]; job != nil && !job.Status.Ended() {
		if p := s.counts[def.ID]; p != nil {
			p.active--
			p.finished++
		}
		s.more(def)
	}
	return true
}

// itemFailed fails the for-each that a job is an item of, and lets its other items go.
func (s *step) itemFailed(item *compose.Job) bool {
	def := s.parent(item.ID)
	if def == nil {
		return false
	}
	job := s.run.Jobs[def.ID]
	if job == nil || job.Status.Ended() {
		return true
	}
	failure := s.run.Jobs[item.ID].Error
	for i := range job.Items {
		id := itemID(def.ID, i)
		if other := s.run.Jobs[id]; other != nil && !other.Status.Ended() {
			other = s.job(id)
			other.Status = event.StatusCancelled
			s.letGo(s.find(id), other)
		}
	}
	_, index, _ := itemOf(item.ID)
	s.fail(def, s.job(def.ID), Error{
		Code: failure.Code, Data: failure.Data, Permanent: true, // each item has had its attempts
		Message: fmt.Sprintf("item %d: %s", index, failure.Message),
	})
	return true
}
