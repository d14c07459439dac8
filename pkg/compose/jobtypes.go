package compose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// typedJobFields are the fields of jobs that are not of type component.
func typedJobFields(sc scopes) []field[draft] {
	return slices.Concat(delayFields(sc), ifFields(), otherFields(), waitFields(sc))
}

func ifFields() []field[draft] {
	doc := map[string]string{
		"operator": "if: how the input is compared.", "value": "if: what the input is compared to.", "condition": "if: an expression, in their place.",
		"if_true": "if: the job to go on with where it holds.", "if_false": "if: the job to go on with where it does not hold.",
	}
	fields := []field[draft]{
		special("conditions", "if: several conditions; the first that holds decides.", schema{"type": "array", "items": ref(branchShape)},
			func(d *decoder, n *node, j *draft) {
				for _, item := range d.items(n, "conditions") {
					b := branch{draft: j}
					if branchShape().read(d, item, &b) {
						b.finish(d, item)
						j.branch(b.Branch)
					}
				}
			}),
		special("otherwise", "if, switch: the job to go on with where nothing holds.", textSchema(),
			func(d *decoder, n *node, j *draft) {
				d.route(n, j, &j.otherwise)
			}),
	}
	for _, f := range branchShape().fields {
		if f.name != "input" {
			fields = append(fields, special(f.name, doc[f.name], f.schema,
				skip[draft]))
		}
	}
	return fields
}

func (j *draft) branch(b Branch) {
	if j.If == nil {
		j.If = &If{}
	}
	j.If.Branches = append(j.If.Branches, b)
}

// switchCase is a Case that is being read.
type switchCase struct {
	*draft
	Case
}

func caseShape() shape[switchCase] {
	return shape[switchCase]{name: "case", doc: "One value and where it leads.", fields: []field[switchCase]{
		template("value", "The value of the input.", newScopes().input, func(c *switchCase) **expr.Template { return &c.Value }).must(),
		special("then", "The job to go on with.", textSchema(),
			func(d *decoder, n *node, c *switchCase) { d.route(n, c.draft, &c.Then) }).must(),
	}}
}

// routing is a Routing that is being read.
type routing struct {
	*draft
	Routing
}

func routingShape() shape[routing] {
	return shape[routing]{name: "routing", doc: "One way of a random-router.", fields: []field[routing]{
		special("to", "The job to go on with.", textSchema(),
			func(d *decoder, n *node, r *routing) { d.route(n, r.draft, &r.To) }).must(),
		special("weight", "How often, in proportion to the others.", schema{"type": "number", "minimum": 0},
			func(d *decoder, n *node, r *routing) {
				f, ok := d.float(n, "weight")
				switch {
				case !ok:
				case (f < 0 || f > 1e9) && !d.stored:
					d.wrongf(n, "", "weight must be from 0 to 1000000000, and is %s", n.word())
				default:
					r.Weight = f
				}
			}).or("1"),
	}}
}

func otherFields() []field[draft] {
	return []field[draft]{
		special("cases", "switch: the values and where they lead.", schema{"type": "array", "items": ref(caseShape)},
			func(d *decoder, n *node, j *draft) {
				j.Switch = &Switch{}
				for _, item := range d.items(n, "cases") {
					c := switchCase{draft: j}
					if caseShape().read(d, item, &c) {
						j.Switch.Cases = append(j.Switch.Cases, c.Case)
					}
				}
			}),
		special("routings", "random-router: the ways and their weights.", schema{"type": "array", "items": ref(routingShape), "minItems": 1},
			func(d *decoder, n *node, j *draft) {
				for _, item := range d.items(n, "routings") {
					r := routing{draft: j}
					if routingShape().read(d, item, &r) {
						j.Routings = append(j.Routings, r.Routing)
					}
				}
			}),
		special("do", "for-each: what is done with each item.", ref(doShape),
			func(d *decoder, n *node, j *draft) {
				j.ForEach, j.does = &ForEach{}, n
				if !doShape().read(d, n, j.ForEach) {
					j.ForEach = nil
				}
			}),
		special("batch_size", "for-each: how many items at once; all where it is not given.", schema{"type": "integer", "minimum": 1},
			func(d *decoder, n *node, j *draft) {
				if i, ok := d.integer(n, "batch_size", 1, 100_000); ok {
					j.batch = i
				}
			}),
		special("where", "filter: the items to keep: an expression, or a condition.", ref(conditionShape),
			func(d *decoder, n *node, j *draft) {
				j.Filter = d.condition(n)
			}),
		special("workflow", "workflow: the workflow to run.", textSchema(),
			func(d *decoder, n *node, j *draft) {
				if s, ok := d.words(n); ok {
					j.Workflow = s
					d.wanted = append(d.wanted, wanted{s, n})
				}
			}),
	}
}

func doShape() shape[ForEach] {
	sc := newScopes()
	return shape[ForEach]{name: "do", doc: "What is done with each item.", fields: []field[ForEach]{
		text("component", "The component that does it; the only one where it is not given.", func(f *ForEach) *string { return &f.Component }),
		text("action", "Which of the component's actions.", func(f *ForEach) *string { return &f.Action }),
		template("input", "What the component gets; the item where it is not given.", sc.each, func(f *ForEach) **expr.Template { return &f.Input }),
		template("output", "What stands in the list; the component's output where it is not given.", sc.eachDone,
			func(f *ForEach) **expr.Template { return &f.Output }),
	}}
}

func waitFields(sc scopes) []field[draft] {
	wait := func(j *draft) *Completion {
		if j.Wait == nil {
			j.Wait = &Completion{Kind: CompleteCallback}
		}
		return j.Wait
	}
	fields := []field[draft]{
		template("wait_for", "wait: the id, or several, to wait for; <run id>.<job id> where it is not given.", sc.input,
			func(j *draft) **expr.Template { return &wait(j).WaitFor }),
	}
	for _, f := range completionShape().fields {
		if slices.Contains([]string{"accept_early", "quorum", "heartbeat"}, f.name) {
			fields = append(fields, special(f.name, strings.Replace(f.doc, "callback:", "wait:", 1), f.schema,
				func(d *decoder, n *node, j *draft) {
					f.read(d, n, wait(j))
				}))
		}
	}
	return fields
}

// typedJob completes a job of a type, and reports what it lacks.
func (d *decoder) typedJob(j *draft) {
	need := func(name string) {
		if !j.n.get(name).given() {
			d.wrongf(j.n, "", "a job of type %s needs %s", j.Type, name)
		}
	}
	switch j.Type {
	case JobDelay:
		switch duration, moment := j.n.get("duration").given(), j.n.get("time").given(); {
		case duration && moment:
			d.judgeKeyf(j.n.get("time"), "keep one of them", "both duration and time are given")
		case !duration && !moment:
			d.wrongf(j.n, "", "a job of type delay needs duration or time")
		}
		if zone := j.n.get("timezone"); zone.given() && !j.n.get("time").given() {
			d.judgeKeyf(zone, "", "timezone goes with time")
		}
	case JobIf:
		d.ifJob(j)
	case JobSwitch:
		need("input")
		need("cases")
		if j.Switch != nil {
			j.Switch.Otherwise = j.otherwise
			d.distinct(j)
		}
	case JobForEach:
		need("input")
		need("do")
		d.listed(j)
		if j.ForEach != nil {
			j.ForEach.BatchSize = j.batch
		}
	case JobFilter:
		need("input")
		need("where")
		d.listed(j)
	case JobRouter:
		need("routings")
		total := 0.0
		for _, r := range j.Routings {
			total += r.Weight
		}
		if ways := j.n.get("routings"); ways.given() && ways.kind == list && len(ways.items) == 0 {
			d.wrongf(ways, "", "a random-router without routings leads nowhere")
		}
		if len(j.Routings) > 0 && total <= 0 {
			d.judgef(j.n.get("routings"), "", "every weight is 0")
		}
	case JobWorkflow:
		need("workflow")
	case JobWait:
		d.waitJob(j)
	}
}

// listed reports an input that is written out, and is no list.
func (d *decoder) listed(j *draft) {
	v, ok := literal(j.Input)
	if _, list := v.([]any); ok && v != nil && !list {
		n := j.n.get("input")
		d.judgef(n, "write a list, or ${…} that gives one", "the input of a job of type %s is a list, and this is %s", j.Type, n.word())
	}
}

// distinct reports a case of a switch that is never reached, because one before it has the same value.
func (d *decoder) distinct(j *draft) {
	first := map[string]*node{}
	for _, item := range j.n.get("cases").items {
		n := item.get("value")
		if n == nil || n.kind != scalar {
			continue
		}
		if s, ok := n.text(); ok && hasExpression(s) {
			continue
		}
		text := value.Text(n.value)
		if before := first[text]; before != nil {
			d.judgef(n, fmt.Sprintf("the first one is in line %d", before.pos.Line), "the value %s has a case already", text)
			continue
		}
		first[text] = n
	}
}

func (d *decoder) ifJob(j *draft) {
	single := []string{"operator", "value", "condition", "if_true", "if_false"}
	if j.n.get("conditions").given() {
		for _, name := range single {
			if v := j.n.get(name); v != nil {
				d.wrongKeyf(v, "move it into an entry of conditions", "an if with conditions has no %s of its own", name)
			}
		}
	} else {
		one := &node{kind: mapping, pos: j.n.pos, key: j.n.key, path: j.n.path}
		for _, name := range single {
			if v := j.n.get(name); v != nil {
				one.put(name, v)
			}
		}
		b := branch{draft: j}
		if branchShape().read(d, one, &b) {
			b.finish(d, one)
			j.branch(b.Branch)
		}
	}
	if j.If == nil {
		j.If = &If{}
	}
	j.If.Otherwise = j.otherwise
	if len(j.routes) == 0 {
		d.judgef(j.n, "", "an if leads nowhere: it needs if_true, if_false or otherwise")
	}
}

func (d *decoder) waitJob(j *draft) {
	if j.Wait == nil {
		j.Wait = &Completion{Kind: CompleteCallback}
	}
	if j.Wait.AcceptEarly == "" {
		j.Wait.AcceptEarly = "run"
	}
	d.completion(j.Wait, j.n, &Action{})
	j.Wait.OwnID = j.Wait.WaitFor == nil
}
