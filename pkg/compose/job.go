package compose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// draft is a job with what is resolved once all jobs of the workflow are known.
type draft struct {
	*Job
	n         *node
	list      []*Job // the list that it stands in, itself included
	parent    *Job   // whose on_error it belongs to
	uses      []use
	depends   [][]*node
	routes    []routeTo
	fallback  *node // the list of on_error
	does      *node // of for-each
	otherwise string
	batch     int
	misfit    bool // it has fields that jobs of its type have not
}

// routeTo is the id of a job that another goes on to, at its place.
type routeTo struct {
	id string
	n  *node
}

func jobTypes() []string {
	return []string{JobComponent, JobDelay, JobIf, JobSwitch, JobForEach, JobFilter, JobRouter, JobWorkflow, JobWait}
}

// jobFields gives the fields that a job of a type has beside those of all jobs.
func jobFields() map[string][]string {
	return map[string][]string{
		JobComponent: {"component", "action"},
		JobDelay:     {"duration", "time", "timezone"},
		JobIf:        {"operator", "value", "if_true", "if_false", "conditions", "otherwise", "condition"},
		JobSwitch:    {"cases", "otherwise"},
		JobForEach:   {"do", "batch_size"},
		JobFilter:    {"where"},
		JobRouter:    {"routings"},
		JobWorkflow:  {"workflow"},
		JobWait:      {"wait_for", "accept_early", "quorum", "heartbeat"},
	}
}

func jobShape() shape[draft] {
	sc := newScopes()
	s := shape[draft]{name: "job", doc: "One step of a workflow.", rules: jobRules, fields: []field[draft]{
		text("id", "Its name, for ${jobs.ID.output}. Needed where there are several.", func(j *draft) *string { return &j.ID }).like(idSchema()),
		choice("type", "What the job is.", func(j *draft) *string { return &j.Type }, jobTypes()...).or(JobComponent),
		text("component", "The component that does it; the only one where it is not given.", func(j *draft) *string { return &j.Component }),
		text("action", "Which of the component's actions.", func(j *draft) *string { return &j.Action }),
		template("input", "What the component gets as ${input}; the run's input where it is not given.", sc.input,
			func(j *draft) **expr.Template { return &j.Input }),
		template("output", "What others get as ${jobs.ID.output}; the component's output where it is not given.", sc.output,
			func(j *draft) **expr.Template { return &j.Output }),
		special("depends_on", "Jobs that must be done before; a list within is satisfied when one of it is.", dependsSchema(),
			readDepends),
		template("when", "The job is left out where this is false.", sc.input, func(j *draft) **expr.Template { return &j.When }),
		span("timeout", "How long the job may take, all attempts together.", func(j *draft) *time.Duration { return &j.Timeout }),
		special("retry", "How often a failed job is tried again.", ref(retryShape),
			func(d *decoder, n *node, j *draft) {
				if n.given() {
					retryShape().read(d, n, &j.Retry)
				}
			}),
		special("on_error", "What happens when the job has failed: ignore, {output, to}, or a list of jobs that stand in.", onErrorSchema(),
			readOnError),
		whole("max_run_count", "How often the job may run within one run.", func(j *draft) *int { return &j.MaxRunCount }, 1, 1_000_000).or("25"),
	}}
	s.fields = append(s.fields, typedJobFields(sc)...)
	return s
}

func retryShape() shape[Retry] {
	attempts := whole("max_attempts", "How often it is tried, the first time included.",
		func(r *Retry) *int { return &r.MaxAttempts }, 1, 1_000_000).must()
	return shape[Retry]{
		name: "retry", doc: "How often and when a failed job is tried again.",
		fields: []field[Retry]{
			attempts,
			span("delay", "The pause before the next attempt.", func(r *Retry) *time.Duration { return &r.Delay }),
			choice("backoff", "fixed, or exponential: each pause twice the one before, with jitter.", func(r *Retry) *string { return &r.Backoff },
				"fixed", "exponential").or("fixed"),
			span("max_delay", "The longest pause.", func(r *Retry) *time.Duration { return &r.MaxDelay }),
		},
		short: &shorthand[Retry]{kinds: []kind{scalar}, schema: attempts.schema, read: attempts.read},
	}
}

func readDepends(d *decoder, n *node, j *draft) {
	items := []*node{n}
	if n.kind == list {
		items = n.items
	}
	for _, item := range items {
		group := []*node{item}
		if item.kind == list {
			if group = item.items; len(group) == 0 {
				d.judgef(item, "", "a group of depends_on is empty")
				continue
			}
		}
		for _, member := range group {
			if (member.kind != scalar || isBool(member.value)) && member.given() {
				d.wrongf(member, "write depends_on: [a, [b, c]]", "depends_on takes ids of jobs, and this is %s", member.word())
				group = nil
				break
			}
		}
		if len(group) > 0 && n.given() {
			j.depends = append(j.depends, group)
		}
	}
}

func onErrorShape() shape[draft] {
	return shape[draft]{name: "on_error", doc: "What happens when a job has failed.", rules: func() []schema { return []schema{{"minProperties": 1}} }, fields: []field[draft]{
		template("output", "What stands for the job's output.", newScopes().failed, func(j *draft) **expr.Template { return &j.OnError.Output }),
		special("to", "The job to go on with.", textSchema(),
			func(d *decoder, n *node, j *draft) {
				d.route(n, j, &j.OnError.To)
			}),
	}}
}

func readOnError(d *decoder, n *node, j *draft) {
	switch n.kind {
	case null:
	case list:
		if len(n.items) == 0 {
			d.judgef(n, "write on_error: ignore, where nothing is to be done", "on_error is an empty list")
		}
		j.fallback = n
	case scalar:
		if n.value != "ignore" {
			d.wrongf(n, "write ignore, {output, to}, or a list of jobs", "on_error %s is not known", n.word())
		}
		j.OnError.Ignore = true
	default:
		if n.has("component") || n.has("type") {
			d.wrongf(n, "put a - before the job: a list of jobs stands in", "on_error holds a job, and is not a list")
			return
		}
		if onErrorShape().read(d, n, j) && len(n.names) == 0 {
			d.judgef(n, "", "on_error needs output or to")
		}
	}
}

// route notes that a job goes on to another.
func (d *decoder) route(n *node, j *draft, to *string) {
	s, ok := d.words(n)
	if !ok {
		return
	}
	*to = s
	j.routes = append(j.routes, routeTo{s, n})
}

// jobList reads the jobs of one list.
func (d *decoder) jobList(entries []entry) []*Job {
	var jobs []*Job
	for _, e := range entries {
		if e.n.kind != mapping {
			d.wrongf(e.n, "", "a job must be a mapping, and is %s", e.n.word())
			continue
		}
		j := d.job(e)
		jobs = append(jobs, j)
	}
	for _, j := range jobs {
		d.jobs[j].list = jobs
	}
	return jobs
}

func (d *decoder) job(e entry) *Job {
	d.uses = nil
	j := &Job{Pos: e.n.place(), Retry: Retry{MaxAttempts: 1, Backoff: "fixed"}}
	dr := &draft{Job: j, n: e.n}
	d.jobs[j] = dr
	jobShape().read(d, e.n, dr)
	if t := e.n.get("type"); t.given() {
		if word, ok := d.words(t); !slices.Contains(jobTypes(), word) {
			j.Type = "" // reported; its fields are judged by what it was probably meant to be
			if ok {
				j.Type = Nearest(word, jobTypes())
			}
		}
	}
	j.ID = e.id
	d.fits(dr)
	dr.uses = d.uses
	return j
}

// fits checks that a job has what its type needs, and nothing that other types have.
func (d *decoder) fits(j *draft) {
	if j.Type == "" {
		return
	}
	for _, name := range j.n.names {
		var owners []string
		for _, kind := range jobTypes() {
			if slices.Contains(jobFields()[kind], name) {
				owners = append(owners, kind)
			}
		}
		if len(owners) > 0 && !slices.Contains(owners, j.Type) && j.n.fields[name].given() {
			j.misfit = true
			d.wrongKeyf(j.n.fields[name], "it belongs to type: "+strings.Join(owners, " or type: "), "a job of type %s has no %s", j.Type, name)
		}
	}
	d.typedJob(j)
}

// fallbacks reads the jobs of on_error, and theirs in turn. They are routed to by the job that has failed.
func (d *decoder) fallbacks(jobs []*Job) []*Job {
	var all []*Job
	for _, j := range jobs {
		dr := d.jobs[j]
		if dr.fallback == nil {
			continue
		}
		if d.depth++; d.depth > maxDepth && !d.stored {
			d.depth--
			d.wrongf(dr.fallback, "", "on_error is nested too deep")
			continue
		}
		var entries []entry
		for i, n := range dr.fallback.items {
			id := fmt.Sprintf("%s-on-error-%d", j.ID, i+1)
			if given := n.get("id"); given.given() {
				s, ok := d.words(given)
				if !ok || !d.goodID("job", s, given, given.pos) {
					continue
				}
				id = s
			}
			entries = append(entries, entry{id, n})
		}
		list := d.jobList(entries)
		for _, f := range list {
			f.RoutedOnly = true
			d.jobs[f].parent = j
			j.OnError.Jobs = append(j.OnError.Jobs, f.ID)
		}
		all = append(all, list...)
		all = append(all, d.fallbacks(list)...)
		d.depth--
	}
	return all
}

// float reads a number.
func (d *decoder) float(n *node, name string) (float64, bool) {
	v, ok := d.plain(n)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(value.Text(v), 64)
	if err != nil || isBool(v) {
		d.wrongf(n, "", "%s must be a number, and is %s", name, n.word())
		return 0, false
	}
	return f, true
}
