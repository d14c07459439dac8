package compose

import (
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// typedJobFields are the fields of jobs that are not of type component.
func typedJobFields(sc scopes) []field[draft] {
	return slices.Concat(delayFields(sc), ifFields(sc), otherFields(sc), waitFields(sc))
}

func delayFields(sc scopes) []field[draft] {
	delay := func(j *draft) *Delay {
		if j.Delay == nil {
			j.Delay = &Delay{}
		}
		return j.Delay
	}
	return []field[draft]{
		{name: "duration", doc: "delay: how long.", schema: durationSchema(), read: func(d *decoder, n *node, j *draft) {
			t := d.template(n, sc.input)
			if t == nil {
				return
			}
			if _, ok := t.Literal(); ok {
				if _, ok := d.duration(n, "duration"); !ok {
					return
				}
			}
			delay(j).Duration = t
		}},
		{name: "time", doc: "delay: until when: 2030-01-31T08:00:00Z, 2030-01-31 08:00, or 08:00 for the next time it is that late.", schema: schema{"type": "string"},
			read: func(d *decoder, n *node, j *draft) {
				t := d.template(n, sc.input)
				if t == nil {
					return
				}
				if v, ok := t.Literal(); ok {
					s, _ := v.(string)
					if _, _, err := ParseMoment(s); err != nil {
						d.wrong(n, "write 2030-01-31T08:00:00Z, 2030-01-31 08:00, or 08:00", "time must be a moment, and is %s", n.word())
						return
					}
				}
				delay(j).Time = t
			}},
		{name: "timezone", doc: "delay: the time zone of time, such as Asia/Seoul; UTC.", schema: schema{"type": "string"}, read: func(d *decoder, n *node, j *draft) {
			s, ok := d.words(n)
			if !ok {
				return
			}
			zone, err := time.LoadLocation(s)
			if err != nil {
				d.wrong(n, "write a name such as Asia/Seoul or UTC", "the time zone %q is not known", s)
				return
			}
			delay(j).Timezone = zone
		}},
	}
}

// ParseMoment reads the time of a delay. clock: it is a time of day, with no date. A moment without a zone is in UTC,
// for the caller to move.
func ParseMoment(s string) (t time.Time, clock bool, err error) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err = time.Parse(layout, s); err == nil {
			return t, false, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err = time.Parse(layout, s); err == nil {
			return t, true, nil
		}
	}
	return t, false, err
}

// branch is a Branch that is being read.
type branch struct {
	*draft
	Branch
}

func branchShape() shape[branch] {
	sc := newScopes()
	cond := func(b *branch) *Condition {
		if b.Condition == nil {
			b.Condition = &Condition{}
		}
		return b.Condition
	}
	return shape[branch]{name: "if condition", doc: "One condition and where it leads.", fields: []field[branch]{
		template("input", "What is tested; the job's input where it is not given.", sc.input, func(b *branch) **expr.Template { return &cond(b).Input }),
		choice("operator", "How it is compared.", func(b *branch) *string { return &cond(b).Operator }, Operators()...).or("eq"),
		template("value", "What it is compared to.", sc.input, func(b *branch) **expr.Template { return &cond(b).Value }),
		template("condition", "An expression, in the place of input, operator and value.", sc.input, func(b *branch) **expr.Template { return &cond(b).Expr }),
		{name: "if_true", doc: "The job to go on with where it holds.", schema: schema{"type": "string"}, read: func(d *decoder, n *node, b *branch) { d.route(n, b.draft, &b.Then) }},
		{name: "if_false", doc: "The job to go on with where it does not hold.", schema: schema{"type": "string"}, read: func(d *decoder, n *node, b *branch) { d.route(n, b.draft, &b.Else) }},
	}}
}

// finish makes the condition a plain one, or an expression.
func (b *branch) finish(d *decoder, n *node) {
	c := b.Condition
	c.Pos = n.pos
	if c.Expr == nil {
		if !n.get("value").given() && !n.has("value") {
			d.wrong(n, "", "a condition needs value, or condition: ${…}")
		}
		return
	}
	for _, name := range []string{"operator", "value"} {
		if v := n.get(name); v.given() {
			d.wrongKey(v, "keep one of them", "both condition and %s are given", name)
		}
	}
	c.Operator = ""
}

func ifFields(sc scopes) []field[draft] {
	doc := map[string]string{
		"operator": "if: how the input is compared.", "value": "if: what the input is compared to.", "condition": "if: an expression, in their place.",
		"if_true": "if: the job to go on with where it holds.", "if_false": "if: the job to go on with where it does not hold.",
	}
	fields := []field[draft]{
		{name: "conditions", doc: "if: several conditions; the first that holds decides.", schema: schema{"type": "array", "items": ref(branchShape)},
			read: func(d *decoder, n *node, j *draft) {
				for _, item := range d.items(n, "conditions") {
					b := branch{draft: j}
					if branchShape().read(d, item, &b) {
						b.finish(d, item)
						j.branch(b.Branch)
					}
				}
			}},
		{name: "otherwise", doc: "if, switch: the job to go on with where nothing holds.", schema: schema{"type": "string"}, read: func(d *decoder, n *node, j *draft) {
			d.route(n, j, &j.otherwise)
		}},
	}
	for _, f := range branchShape().fields {
		if f.name != "input" {
			fields = append(fields, field[draft]{name: f.name, doc: doc[f.name], schema: f.schema, read: skip[draft]})
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
		{name: "then", doc: "The job to go on with.", schema: schema{"type": "string"}, required: true, read: func(d *decoder, n *node, c *switchCase) { d.route(n, c.draft, &c.Then) }},
	}}
}

// routing is a Routing that is being read.
type routing struct {
	*draft
	Routing
}

func routingShape() shape[routing] {
	return shape[routing]{name: "routing", doc: "One way of a random-router.", fields: []field[routing]{
		{name: "to", doc: "The job to go on with.", schema: schema{"type": "string"}, required: true, read: func(d *decoder, n *node, r *routing) { d.route(n, r.draft, &r.To) }},
		{name: "weight", doc: "How often, in proportion to the others.", schema: schema{"type": "number", "minimum": 0}, fallback: "1", read: func(d *decoder, n *node, r *routing) {
			f, ok := d.float(n, "weight")
			switch {
			case !ok:
			case f < 0 || f > 1e9:
				d.wrong(n, "", "weight must be from 0 to 1000000000, and is %s", n.word())
			default:
				r.Weight = f
			}
		}},
	}}
}

func otherFields(sc scopes) []field[draft] {
	return []field[draft]{
		{name: "cases", doc: "switch: the values and where they lead.", schema: schema{"type": "array", "items": ref(caseShape)}, read: func(d *decoder, n *node, j *draft) {
			j.Switch = &Switch{}
			for _, item := range d.items(n, "cases") {
				c := switchCase{draft: j}
				if caseShape().read(d, item, &c) {
					j.Switch.Cases = append(j.Switch.Cases, c.Case)
				}
			}
		}},
		{name: "routings", doc: "random-router: the ways and their weights.", schema: schema{"type": "array", "items": ref(routingShape)}, read: func(d *decoder, n *node, j *draft) {
			for _, item := range d.items(n, "routings") {
				r := routing{draft: j}
				if routingShape().read(d, item, &r) {
					j.Routings = append(j.Routings, r.Routing)
				}
			}
		}},
		{name: "do", doc: "for-each: what is done with each item.", schema: ref(doShape), read: func(d *decoder, n *node, j *draft) {
			j.ForEach, j.does = &ForEach{}, n
			if !doShape().read(d, n, j.ForEach) {
				j.ForEach = nil
			}
		}},
		{name: "batch_size", doc: "for-each: how many items at once; all where it is not given.", schema: schema{"type": "integer", "minimum": 1}, read: func(d *decoder, n *node, j *draft) {
			if i, ok := d.integer(n, "batch_size", 1, 100_000); ok {
				j.batch = i
			}
		}},
		{name: "where", doc: "filter: the items to keep: an expression, or a condition.", schema: ref(conditionShape), read: func(d *decoder, n *node, j *draft) {
			j.Filter = d.condition(n, sc.each)
		}},
		{name: "workflow", doc: "workflow: the workflow to run.", schema: schema{"type": "string"}, read: func(d *decoder, n *node, j *draft) {
			if s, ok := d.words(n); ok {
				j.Workflow = s
				d.wanted = append(d.wanted, wanted{s, n})
			}
		}},
	}
}

func doShape() shape[ForEach] {
	sc := newScopes()
	return shape[ForEach]{name: "do", doc: "What is done with each item.", fields: []field[ForEach]{
		text("component", "The component that does it; the only one where it is not given.", func(f *ForEach) *string { return &f.Component }),
		text("action", "Which of the component's actions.", func(f *ForEach) *string { return &f.Action }),
		template("input", "What the component gets; the item where it is not given.", sc.each, func(f *ForEach) **expr.Template { return &f.Input }),
		template("output", "What stands in the list; the component's output where it is not given.", sc.eachDone, func(f *ForEach) **expr.Template { return &f.Output }),
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
		template("wait_for", "wait: the id, or several, to wait for; <run id>.<job id> where it is not given.", sc.input, func(j *draft) **expr.Template { return &wait(j).WaitFor }),
	}
	for _, f := range completionShape().fields {
		if slices.Contains([]string{"accept_early", "quorum", "heartbeat"}, f.name) {
			fields = append(fields, field[draft]{name: f.name, doc: strings.Replace(f.doc, "callback:", "wait:", 1), schema: f.schema, read: func(d *decoder, n *node, j *draft) {
				f.read(d, n, wait(j))
			}})
		}
	}
	return fields
}

func conditionShape() shape[Condition] {
	in := newScopes().each
	several := func(name, doc string, p func(*Condition) *[]*Condition) field[Condition] {
		return field[Condition]{name: name, doc: doc, schema: schema{"type": "array"}, read: func(d *decoder, n *node, c *Condition) {
			for _, item := range d.items(n, name) {
				if of := d.condition(item, in); of != nil {
					*p(c) = append(*p(c), of)
				}
			}
		}}
	}
	return shape[Condition]{name: "condition", doc: "A test.", fields: []field[Condition]{
		template("input", "What is tested; the item where it is not given.", in, func(c *Condition) **expr.Template { return &c.Input }),
		choice("operator", "How it is compared; eq where it is not given.", func(c *Condition) *string { return &c.Operator }, Operators()...),
		template("value", "What it is compared to.", in, func(c *Condition) **expr.Template { return &c.Value }),
		several("all", "Each of these holds.", func(c *Condition) *[]*Condition { return &c.All }),
		several("any", "One of these holds.", func(c *Condition) *[]*Condition { return &c.Any }),
		{name: "not", doc: "This does not hold.", schema: schema{}, read: func(d *decoder, n *node, c *Condition) { c.Not = d.condition(n, in) }},
	}}
}

// condition reads a test: an expression, or a mapping.
func (d *decoder) condition(n *node, in scope) *Condition {
	c := &Condition{Pos: n.pos}
	if n.kind == scalar {
		c.Expr = d.template(n, in)
		return c
	}
	if !conditionShape().read(d, n, c) {
		return nil
	}
	plain := n.has("input") || n.has("operator") || n.has("value")
	count := 0
	for _, is := range []bool{plain, n.has("all"), n.has("any"), n.has("not")} {
		if is {
			count++
		}
	}
	switch {
	case count != 1:
		d.wrong(n, "", "a condition is one of: input, operator and value; all; any; not")
	case plain && !n.has("value"):
		d.wrong(n, "", "a condition needs value")
	case plain && c.Operator == "" && !n.get("operator").given():
		c.Operator = "eq"
	}
	return c
}

// typedJob completes a job of a type, and reports what it lacks.
func (d *decoder) typedJob(j *draft) {
	need := func(name string) {
		if !j.n.get(name).given() {
			d.wrong(j.n, "", "a job of type %s needs %s", j.Type, name)
		}
	}
	switch j.Type {
	case JobDelay:
		switch duration, moment := j.n.get("duration").given(), j.n.get("time").given(); {
		case duration && moment:
			d.wrongKey(j.n.get("time"), "keep one of them", "both duration and time are given")
		case !duration && !moment:
			d.wrong(j.n, "", "a job of type delay needs duration or time")
		}
		if zone := j.n.get("timezone"); zone.given() && !j.n.get("time").given() {
			d.wrongKey(zone, "", "timezone goes with time")
		}
	case JobIf:
		d.ifJob(j)
	case JobSwitch:
		need("input")
		need("cases")
		if j.Switch != nil {
			j.Switch.Otherwise = j.otherwise
		}
	case JobForEach:
		need("input")
		need("do")
		if j.ForEach != nil {
			j.ForEach.BatchSize = j.batch
		}
	case JobFilter:
		need("input")
		need("where")
	case JobRouter:
		need("routings")
		total := 0.0
		for _, r := range j.Routings {
			total += r.Weight
		}
		if len(j.Routings) > 0 && total <= 0 {
			d.wrong(j.n.get("routings"), "", "every weight is 0")
		}
	case JobWorkflow:
		need("workflow")
	case JobWait:
		d.waitJob(j)
	}
}

func (d *decoder) ifJob(j *draft) {
	single := []string{"operator", "value", "condition", "if_true", "if_false"}
	if j.n.get("conditions").given() {
		for _, name := range single {
			if v := j.n.get(name); v != nil {
				d.wrongKey(v, "move it into an entry of conditions", "an if with conditions has no %s of its own", name)
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
		d.wrong(j.n, "", "an if leads nowhere: it needs if_true, if_false or otherwise")
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
