package compose

import (
	"fmt"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

func workflowShape() shape[Workflow] {
	sc := newScopes()
	return shape[Workflow]{name: "workflow", doc: "A set of jobs and their order.", fields: []field[Workflow]{
		text("id", "Its name, where workflows are a list.", func(w *Workflow) *string { return &w.ID }).like(idSchema()),
		text("title", "What people call it.", func(w *Workflow) *string { return &w.Title }),
		text("description", "What it does.", func(w *Workflow) *string { return &w.Description }),
		special("input", "The fields of a run's input, or, where its one job is written right here, that job's input.", schema{"type": "object"},
			readInputs),
		template("output", "The run's output; the terminal job's where it is not given.", sc.whole, func(w *Workflow) **expr.Template { return &w.Output }),
		span("timeout", "How long a run may take.", func(w *Workflow) *time.Duration { return &w.Timeout }),
		part("concurrency", "How many runs go at once.", concurrencyShape, func(w *Workflow) **Concurrency { return &w.Concurrency }),
		part("on_failure", "A workflow that is run when a run has failed.", hookShape, func(w *Workflow) **Hook { return &w.OnFailure }),
		part("on_success", "A workflow that is run when a run has completed.", hookShape, func(w *Workflow) **Hook { return &w.OnSuccess }),
		special("job", "The job, where there is one.", ref(jobShape),
			skip[Workflow]),
		special("jobs", "The jobs.", schema{"type": "array", "items": ref(jobShape)},
			skip[Workflow]),
	}}
}

func concurrencyShape() shape[Concurrency] {
	limit := whole("limit", "Runs at once.", func(c *Concurrency) *int { return &c.Limit }, 1, 5000).must()
	return shape[Concurrency]{
		name: "concurrency", doc: "How many runs go at once. More are queued, and start in the order in which they were asked for.",
		fields: []field[Concurrency]{
			limit,
			template("key", "The limit is for each value of this.", newScopes().start, func(c *Concurrency) **expr.Template { return &c.Key }),
			span("timeout", "How long a run may be queued; it fails then. A day where it is not given.", func(c *Concurrency) *time.Duration { return &c.Timeout }),
		},
		short: &shorthand[Concurrency]{kinds: []kind{scalar}, schema: limit.schema, read: limit.read},
	}
}

func hookShape() shape[Hook] {
	name := special("workflow", "The workflow to run.", textSchema(),
		func(d *decoder, n *node, h *Hook) {
			h.Pos = n.pos
			if s, ok := d.words(n); ok {
				h.Workflow = s
				d.wanted = append(d.wanted, wanted{s, n})
			}
		}).must()
	return shape[Hook]{
		name: "hook", doc: "A workflow that is run when another has ended.",
		fields: []field[Hook]{
			name,
			template("input", "Its input; the run document where it is not given.", newScopes().hook, func(h *Hook) **expr.Template { return &h.Input }),
		},
		short: &shorthand[Hook]{kinds: []kind{scalar}, schema: name.schema, read: name.read},
	}
}

// readWorkflows reads the section workflows.
func (d *decoder) readWorkflows(doc *Document, entries []entry) {
	for _, e := range entries {
		if e.n.kind != mapping {
			d.wrongf(e.n, "", "a workflow must be a mapping, and is %s", e.n.word())
			continue
		}
		doc.Workflows = append(doc.Workflows, d.workflow(e))
	}
}

func (d *decoder) workflow(e entry) *Workflow {
	w := &Workflow{Pos: e.n.place()}
	d.placed[w] = e.n
	d.uses = nil
	own, inline := d.inlineJob(e.n)
	workflowShape().read(d, own, w)
	w.ID = e.id
	d.outputs = append(d.outputs, workflowUses{w, d.uses})
	jobs := section{singular: "job", plural: "jobs"}
	entries := []entry{{DefaultID("job"), inline}}
	if inline == nil {
		if entries = d.entries(e.n, jobs); len(entries) == 0 {
			if j := e.n.get("jobs"); j == nil || j.kind <= null || j.kind == list && len(j.items) == 0 {
				d.wrongf(e.n, "", "the workflow %s has no job", w.ID)
			}
		}
	}
	list := d.jobList(entries)
	w.Jobs = slices.Concat(list, d.fallbacks(list))
	return w
}

// inlineJob parts a workflow's own fields from those of a job that is written right in it. inline is nil where the
// jobs stand in a list.
func (d *decoder) inlineJob(n *node) (own, inline *node) {
	if n.has("jobs") || n.has("job") {
		return d.withoutJobFields(n), nil
	}
	mine, job := workflowShape(), jobShape()
	own = &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
	inline = &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
	for _, name := range n.names {
		f := n.fields[name]
		switch {
		case name == "input" || name == "output" || name == "timeout":
			inline.put(name, f)
		case mine.has(name):
			own.put(name, f)
		case job.has(name):
			inline.put(name, f)
		default:
			d.wrongKeyf(f, suggest(name, slices.Concat(mine.names(), job.names())), "a workflow has no field %q", name)
		}
	}
	return own, inline
}

// withoutJobFields reports a job's fields beside a list of jobs.
func (d *decoder) withoutJobFields(n *node) *node {
	mine, job := workflowShape(), jobShape()
	own := &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
	for _, name := range n.names {
		f := n.fields[name]
		switch {
		case mine.has(name):
			own.put(name, f)
		case job.has(name):
			d.wrongKeyf(f, "move it into a job", "a workflow with several jobs has no %s of its own", name)
		default:
			d.wrongKeyf(f, suggest(name, mine.names()), "a workflow has no field %q", name)
		}
	}
	return own
}

// wanted is a workflow that something names.
type wanted struct {
	id string
	n  *node
}

// workflowUses are the references of a workflow's own templates.
type workflowUses struct {
	w    *Workflow
	uses []use
}

// known checks that the workflows that are named are there.
func (d *decoder) known(doc *Document) {
	ids := doc.workflowIDs()
	for _, w := range d.wanted {
		switch {
		case slices.Contains(ids, w.id):
		case len(ids) == 0:
			d.needf(w.n, "", "the file has no workflow, and %s is to be run", w.id)
		default:
			d.judgef(w.n, suggest(w.id, ids), "there is no workflow %q", w.id)
		}
	}
}

// hooks reports workflows that run each other when they have ended: they would never come to an end.
func (d *decoder) hooks(doc *Document) {
	byID := make(map[string]*Workflow, len(doc.Workflows))
	for _, w := range doc.Workflows {
		byID[w.ID] = w
	}
	var path []string
	done := map[string]bool{}
	var follow func(w *Workflow)
	follow = func(w *Workflow) {
		path = append(path, w.ID)
		for _, h := range []*Hook{w.OnFailure, w.OnSuccess} {
			if h == nil || byID[h.Workflow] == nil || done[h.Workflow] {
				continue
			}
			if at := slices.Index(path, h.Workflow); at >= 0 {
				if d.stored {
					continue
				}
				circle := append(slices.Clone(path[at:]), h.Workflow)
				d.report(&d.problems, h.Pos, "workflows."+w.ID,
					fmt.Sprintf("the workflow %s runs itself when it has ended, without end: %s", h.Workflow, arrows(circle)),
					"each arrow is an on_success or on_failure")
				continue
			}
			follow(byID[h.Workflow])
		}
		path = path[:len(path)-1]
		done[w.ID] = true
	}
	for _, w := range doc.Workflows {
		if !done[w.ID] {
			follow(w)
		}
	}
}
