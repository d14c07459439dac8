package engine

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/value"
)

// decide ends a job that only routes, and starts the job that it leads to.
func (s *step) decide(def *compose.Job) error {
	input, err := s.input(def)
	if err != nil {
		return err
	}
	scope := s.inputScope(def)
	var to string
	switch {
	case def.If != nil:
		to, err = branch(def.If, scope, input)
	case def.Switch != nil:
		to, err = choose(def.Switch, scope, input)
	default:
		to = draw(def.Routings, event.InvocationID(s.run.ID, def.ID, last(s.run.Jobs[def.ID]).Number))
	}
	if err != nil {
		return err
	}
	output, err := encoded(map[string]any{"to": to})
	if err != nil {
		return err
	}
	s.done(def, s.job(def.ID), output)
	if to != "" {
		s.route(to)
	}
	return nil
}

func branch(def *compose.If, scope Scope, input any) (string, error) {
	for i, b := range def.Branches {
		holds, err := holds(b.Condition, scope, input)
		if err != nil {
			return "", fmt.Errorf("condition %d: %w", i+1, err)
		}
		if holds {
			return b.Then, nil
		}
		if b.Else != "" {
			return b.Else, nil
		}
	}
	return def.Otherwise, nil
}

func choose(def *compose.Switch, scope Scope, input any) (string, error) {
	for i, c := range def.Cases {
		v, err := c.Value.Eval(scope)
		if err != nil {
			return "", fmt.Errorf("case %d: %w", i+1, err)
		}
		if value.Text(v) == value.Text(input) && (v == nil) == (input == nil) {
			return c.Then, nil
		}
	}
	return def.Otherwise, nil
}

// draw picks one way by its weight.
func draw(ways []compose.Routing, id string) string {
	total := 0.0
	for _, w := range ways {
		total += w.Weight
	}
	at := dice(id) * total
	for _, w := range ways {
		if at < w.Weight {
			return w.To
		}
		at -= w.Weight
	}
	return ways[len(ways)-1].To
}

// dice throws a number of at least 0 and less than 1 for an invocation. Thrown again, they fall the same.
func dice(invocation string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(invocation))
	return float64(mix(h.Sum64())>>11) / (1 << 53)
}

// mix spreads a hash over all its bits (the finalizer of splitmix64): ids differ in their last characters only.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// route starts a job that another leads to. One that has run already begins its next round, and what needs it is to
// run again after it.
func (s *step) route(id string) {
	def := s.workflow.Job(id)
	if def == nil {
		return
	}
	if job := s.run.Jobs[id]; job != nil && !job.Status.Ended() && job.Status != event.StatusPending {
		return // under way already
	}
	s.reset(id)
	s.call(def)
}

// call starts a job that another leads to, as soon as what it needs is done.
func (s *step) call(def *compose.Job) {
	if !s.held(def) {
		s.start(def)
		return
	}
	job := s.job(def.ID)
	job.Status, job.Called = event.StatusPending, true
}

// held tells whether a job that another leads to has to wait for what it needs. What will not be done any more, because
// it has failed or nothing leads to it, is not waited for: whoever goes on to a job may do so just then.
func (s *step) held(def *compose.Job) bool {
	open := func(id string) bool { return s.open(id, map[string]bool{def.ID: true}) }
	return slices.ContainsFunc(def.Needs, func(group []string) bool { return !s.anyDone(group) && slices.ContainsFunc(group, open) })
}

// open tells whether a job may still be done.
func (s *step) open(id string, seen map[string]bool) bool {
	def, job := s.workflow.Job(id), s.run.Jobs[id]
	if def == nil || seen[id] {
		return false
	}
	seen[id] = true
	open := func(id string) bool { return s.open(id, seen) }
	switch {
	case job == nil || job.Status == event.StatusPending:
	case job.Status == event.StatusFailed: // until its list of on_error has taken its place
		return len(def.OnError.Jobs) > 0 && s.handled(def)
	default:
		return !job.Status.Ended()
	}
	if def.RoutedOnly && (job == nil || !job.Called) {
		return slices.ContainsFunc(s.workflow.Jobs, func(from *compose.Job) bool { return from.LeadsTo(id) && open(from.ID) })
	}
	return !slices.ContainsFunc(def.Needs, func(group []string) bool { return !s.anyDone(group) && !slices.ContainsFunc(group, open) })
}

// reset makes what needs a job ready to run again.
func (s *step) reset(id string) {
	for _, def := range s.workflow.Jobs {
		job := s.run.Jobs[def.ID]
		if job == nil || !job.Status.Ended() || !slices.ContainsFunc(def.Needs, func(g []string) bool { return slices.Contains(g, id) }) {
			continue
		}
		s.job(def.ID).Status = event.StatusPending
		s.reset(def.ID)
	}
}
