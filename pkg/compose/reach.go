package compose

import "slices"

// LeadsTo tells whether a job may go on to the one with the id.
func (j *Job) LeadsTo(id string) bool {
	switch {
	case slices.Contains(j.OnError.Jobs, id), j.OnError.To == id,
		slices.ContainsFunc(j.Routings, func(r Routing) bool { return r.To == id }):
		return true
	case j.If != nil:
		return j.If.Otherwise == id || slices.ContainsFunc(j.If.Branches, func(b Branch) bool { return b.Then == id || b.Else == id })
	case j.Switch != nil:
		return j.Switch.Otherwise == id || slices.ContainsFunc(j.Switch.Cases, func(c Case) bool { return c.Then == id })
	default:
		return false
	}
}

// loops finds the jobs that others only go back to. Nothing would ever lead there, so they begin by themselves.
func (d *decoder) loops(w *Workflow) {
	ways := map[string][]string{} // from where a job that runs only when another routes to it is reached
	for _, j := range w.Jobs {
		for _, id := range j.OnError.Jobs {
			ways[id] = append(ways[id], j.ID)
		}
		for _, r := range d.jobs[j].routes {
			ways[r.id] = append(ways[r.id], j.ID)
		}
	}
	// Each job is reached when one job of each group is.
	type group struct {
		of  *Job
		met bool
	}
	waiting := map[string][]*group{}
	left := map[*Job]int{}
	led := map[*Job]*group{} // by those that lead to it
	var next []string
	for _, j := range w.Jobs {
		needs := func(ids []string) *group {
			g := &group{of: j}
			left[j]++
			for _, id := range ids {
				waiting[id] = append(waiting[id], g)
			}
			return g
		}
		for _, ids := range j.Needs {
			needs(ids)
		}
		if j.RoutedOnly {
			led[j] = needs(ways[j.ID])
		}
		if left[j] == 0 {
			next = append(next, j.ID)
		}
	}
	for {
		for ; len(next) > 0; next = next[1:] {
			for _, g := range waiting[next[0]] {
				if g.met {
					continue
				}
				g.met = true
				if left[g.of]--; left[g.of] == 0 {
					next = append(next, g.of.ID)
				}
			}
		}
		at := slices.IndexFunc(w.Jobs, func(j *Job) bool {
			return led[j] != nil && !led[j].met && left[j] == 1 && d.jobs[j].parent == nil
		})
		if at < 0 {
			return
		}
		w.Jobs[at].RoutedOnly, led[w.Jobs[at]].met = false, true
		next = append(next, w.Jobs[at].ID)
	}
}
