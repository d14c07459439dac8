package engine

import (
	"iter"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// itemID is the job of one item of a for-each.
func itemID(job string, index int) string { return job + ".i" + strconv.Itoa(index) }

// itemOf gives the for-each and the index that a job is the item of.
func itemOf(id string) (job string, index int, ok bool) {
	dot := strings.LastIndex(id, ".i")
	if dot < 0 {
		return "", 0, false
	}
	index, err := strconv.Atoi(id[dot+2:])
	return id[:dot], index, err == nil
}

// find gives the job with the id, or nil: one of the workflow's, or an item of one.
func (s *step) find(id string) *compose.Job {
	if def := s.workflow.Job(id); def != nil {
		return def
	}
	if def := s.items[id]; def != nil {
		return def
	}
	parent, _, ok := itemOf(id)
	if !ok {
		return nil
	}
	each := s.workflow.Job(parent)
	if each == nil || each.ForEach == nil {
		return nil
	}
	def := &compose.Job{
		Pos: each.Pos, ID: id, Type: compose.JobComponent, Component: each.ForEach.Component, Action: each.ForEach.Action,
		Input: each.ForEach.Input, Output: each.ForEach.Output, Before: each.Before, Timeout: each.Timeout, Retry: each.Retry,
	}
	if s.items == nil {
		s.items = map[string]*compose.Job{}
	}
	s.items[id] = def
	return def
}

// defs goes through the jobs that have begun, or are routed to, and for which it is so; each for-each is followed by its items.
// Those left out cost next to nothing: a for-each may have thousands of items.
func (s *step) defs(so func(id string, job *event.Job) bool) iter.Seq[*compose.Job] {
	return func(yield func(*compose.Job) bool) {
		for _, def := range s.workflow.Jobs {
			job := s.run.Jobs[def.ID]
			if job == nil {
				continue
			}
			items := job.Items
			if so(def.ID, job) && !yield(def) {
				return
			}
			for i := range items {
				id := itemID(def.ID, i)
				if item := s.run.Jobs[id]; item != nil && so(id, item) && !yield(s.find(id)) {
					return
				}
			}
		}
	}
}

// setOff tells whether a job's last attempt was set off by the step's trigger.
func (s *step) setOff(_ string, job *event.Job) bool {
	a := last(job)
	return a != nil && a.Trigger == s.trigger
}

// routes tells whether a job only decides which jobs run.
func routes(def *compose.Job) bool {
	return def.If != nil || def.Switch != nil || len(def.Routings) > 0
}

func last(job *event.Job) *event.Attempt {
	if len(job.Attempts) == 0 {
		return nil
	}
	return job.Attempts[len(job.Attempts)-1]
}

// round gives the attempts of the job's present round.
func round(job *event.Job) []*event.Attempt { return job.Attempts[min(job.First, len(job.Attempts)):] }
