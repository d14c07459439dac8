package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// order resolves, in every workflow, what each job needs, and reports jobs that wait for themselves.
func (d *decoder) order(doc *Document) {
	d.known(doc)
	d.hooks(doc)
	for _, w := range doc.Workflows {
		d.unique(w)
		for _, j := range w.Jobs {
			d.jobComponent(doc, d.jobs[j])
		}
		for _, j := range w.Jobs {
			d.routed(w, d.jobs[j])
		}
		for _, j := range w.Jobs {
			d.jobNeeds(w, d.jobs[j])
		}
		d.cycles(w)
		d.loops(w)
	}
	for _, o := range d.outputs {
		for _, u := range o.uses {
			for _, r := range u.refs {
				if r.Source == "jobs" {
					d.mentioned(o.w, u, r)
				}
			}
		}
	}
}

// unique reports ids that two jobs have: a list is checked when it is read, the lists of on_error share its names.
func (d *decoder) unique(w *Workflow) {
	seen := map[string]*Job{}
	for _, j := range w.Jobs {
		if first := seen[j.ID]; first != nil {
			n := d.jobs[j].n
			if id := n.get("id"); id != nil {
				n = id
			}
			d.wrongf(n, fmt.Sprintf("the first one is in line %d", first.Pos.Line), "the id %s is taken by another job", j.ID)
			continue
		}
		seen[j.ID] = j
	}
}

func (w *Workflow) ids() []string {
	var ids []string
	for _, j := range w.Jobs {
		if !slices.Contains(ids, j.ID) {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

// jobComponent resolves a job's component and action.
func (d *decoder) jobComponent(doc *Document, j *draft) {
	switch {
	case j.Type == JobComponent && (!j.misfit || j.Component != ""):
		d.resolve(doc, j.n, &j.Component, &j.Action)
	case j.Type == JobForEach && j.ForEach != nil:
		d.resolve(doc, j.does, &j.ForEach.Component, &j.ForEach.Action)
	}
}

func (d *decoder) resolve(doc *Document, n *node, component, action *string) {
	ids := slices.Sorted(maps.Keys(doc.Components))
	at := n.get("component")
	missing := d.needf
	if d.stored {
		missing = d.wrongf
	}
	if *component == "" {
		if at.given() {
			return // reported already
		}
		declared := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !d.declared[id] })
		switch len(declared) {
		case 1:
			*component, at = declared[0], n
		case 0:
			if len(d.broken) == 0 {
				missing(n, "add components", "the file has no component, and a job needs one")
			}
			return
		default:
			d.wrongf(n, "there is: "+strings.Join(declared, ", "), "a job needs component")
			return
		}
	}
	c := doc.Components[*component]
	switch {
	case c != nil:
	case d.broken[*component] && !d.stored:
		return // that is reported
	case *component == Logger:
		c = d.logger()
		doc.Components[Logger] = c
	case len(d.declared) == 0 && len(d.broken) == 0:
		missing(at, "add it to components", "the component %s is not in the file", *component)
		return
	default:
		ids = slices.Concat(ids, slices.Sorted(maps.Keys(d.broken)))
		if !slices.Contains(ids, Logger) {
			ids = append(ids, Logger)
		}
		d.wrongf(at, suggest(*component, ids), "there is no component %q", *component)
		return
	}
	actions := slices.Sorted(maps.Keys(c.Actions))
	switch {
	case len(actions) == 0:
	case *action == "" && len(actions) == 1:
		*action = actions[0]
	case *action == "" && c.Actions[DefaultAction] != nil:
		*action = DefaultAction
	case *action == "" && !n.get("action").given():
		d.wrongf(n, "there is: "+strings.Join(actions, ", "), "the component %s has several actions, and the job does not say which", *component)
	case *action != "" && c.Actions[*action] == nil:
		d.wrongf(n.get("action"), suggest(*action, actions), "the component %s has no action %q", *component, *action)
	}
}

// logger is the component logger that nobody has declared.
func (d *decoder) logger() *Component {
	a := &Action{ID: DefaultAction, Component: Logger, Type: Logger, Completion: Completion{Kind: CompleteNow}}
	a.loggerDefaults(d)
	return &Component{ID: Logger, Type: Logger, Actions: map[string]*Action{DefaultAction: a}}
}

// routed checks where a job routes to.
func (d *decoder) routed(w *Workflow, j *draft) {
	for _, r := range j.routes {
		to := w.Job(r.id)
		switch {
		case to == nil:
			d.wrongf(r.n, suggest(r.id, w.ids()), "there is no job %q", r.id)
		case d.jobs[to].parent != nil && d.jobs[to].parent != j.parent:
			d.judgef(r.n, "", "the job %s is one of on_error of %s, and runs when that has failed", r.id, d.jobs[to].parent.ID)
		default:
			to.RoutedOnly = true
		}
	}
}

// jobNeeds collects what must be done before a job: what depends_on says, every job that it mentions, and the job
// before it where its input mentions ${output}.
func (d *decoder) jobNeeds(w *Workflow, j *draft) {
	named := map[string]bool{}
	for _, group := range j.depends {
		var ids []string
		for _, n := range group {
			id := value.Text(n.value)
			switch {
			case w.Job(id) == nil:
				d.wrongf(n, suggest(id, w.ids()), "there is no job %q", id)
			case id == j.ID && len(group) == 1:
				d.wrongf(n, "", "the job %s waits for itself", id)
			case !slices.Contains(ids, id):
				ids = append(ids, id)
			}
			named[id] = true
		}
		if len(ids) > 0 {
			j.Needs = append(j.Needs, ids)
		}
	}
	need := func(id string) {
		// A job in an any-of group is waited for as the group says.
		if !named[id] {
			named[id] = true
			j.Needs = append(j.Needs, []string{id})
		}
	}
	for _, u := range j.uses {
		for _, r := range u.refs {
			switch {
			case r.Source == "jobs":
				switch id := d.mentioned(w, u, r); {
				case id == j.ID:
					d.wrongRef(u, r, "in its output, ${output} is the component's; what it gave in an earlier round of a loop is not kept",
						"the job "+id+" waits for itself: it mentions itself")
				case id != "" && !j.within(d, id):
					need(id)
				}
			case r.Source == "error":
				if u.in.name != d.scopes.failed.name && !d.afterFailure(w, j) {
					d.judgeRef(u, r, "${error} is known in on_error, and in the jobs that it leads to; elsewhere write ${jobs.ID.error}",
						"no job that has failed leads here, so there is no error")
				}
			case r.Source == "output" && (u.in.name == d.scopes.input.name || u.in.name == d.scopes.each.name):
				if before := j.before(); before != nil {
					j.Before = before.ID
					need(before.ID)
				} else {
					d.judgeRef(u, r, "${output} in an input is the output of the job before it in the list", "there is no job before this one")
				}
			}
		}
	}
}

// afterFailure tells whether another job's failure leads to this one.
func (d *decoder) afterFailure(w *Workflow, j *draft) bool {
	return j.parent != nil || slices.ContainsFunc(w.Jobs, func(o *Job) bool { return o.OnError.To == j.ID })
}

// within tells whether a job is one of the on_error of the job with the id, which has then failed.
func (j *draft) within(d *decoder, id string) bool {
	for p := j.parent; p != nil; p = d.jobs[p].parent {
		if p.ID == id {
			return true
		}
	}
	return false
}

// before gives the job before this one in its list.
func (j *draft) before() *Job {
	if i := slices.Index(j.list, j.Job); i > 0 {
		return j.list[i-1]
	}
	return nil
}

// mentioned gives the job that a reference ${jobs.X…} means.
func (d *decoder) mentioned(w *Workflow, u use, r expr.Reference) string {
	if len(r.Path) == 0 || r.Path[0].Kind != expr.Name {
		d.judgeRef(u, r, "write ${jobs.ID.output}", "${jobs} needs the id of a job")
		return ""
	}
	id := r.Path[0].Name
	if len(d.problems) >= maxProblems && !d.stored {
		return ""
	}
	if w.Job(id) == nil {
		d.wrongRef(u, r, suggest(id, w.ids()), fmt.Sprintf("there is no job %q", id))
		return ""
	}
	parts := []string{"output", "input", "status", "error", "attempts"}
	if len(r.Path) > 1 && r.Path[1].Kind == expr.Name && !slices.Contains(parts, r.Path[1].Name) {
		hint := suggest(r.Path[1].Name, parts)
		if !strings.HasPrefix(hint, "did") {
			hint = fmt.Sprintf("write ${jobs.%s.output.%s}", id, r.Path[1].Name)
		}
		d.judgeRef(u, r, hint, "a job has no "+r.Path[1].Name)
	}
	return id
}

// arrows writes a circle of ids, the middle of a large one left out.
func arrows(circle []string) string {
	if len(circle) > 12 {
		circle = slices.Concat(circle[:6], []string{"…"}, circle[len(circle)-4:])
	}
	return strings.Join(circle, " → ")
}

// cycles reports jobs that wait for themselves. A job with a list in on_error is done when that is.
func (d *decoder) cycles(w *Workflow) {
	const (
		open = iota + 1
		done
	)
	state := map[string]int{}
	var path []string
	var visit func(id string)
	visit = func(id string) {
		switch state[id] {
		case done:
			return
		case open:
			circle := append(slices.Clone(path[slices.Index(path, id):]), id)
			j := w.Job(circle[0])
			if d.stored {
				w.Broken = "the job " + id + " waits for itself: " + arrows(circle)
			}
			d.report(&d.problems, j.Pos, d.jobs[j].n.path, "the job "+id+" waits for itself: "+arrows(circle),
				"each arrow is a depends_on, a ${jobs.…} or an ${output} in an input")
			return
		}
		state[id] = open
		path = append(path, id)
		j := w.Job(id)
		for _, group := range j.Needs {
			for _, need := range group {
				visit(need)
			}
		}
		for _, fallback := range j.OnError.Jobs {
			visit(fallback)
		}
		path = path[:len(path)-1]
		state[id] = done
	}
	for _, j := range w.Jobs {
		visit(j.ID)
	}
}
