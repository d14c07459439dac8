package compose

import (
	"regexp"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

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
		template("condition", "An expression, in the place of input, operator and value.", sc.input,
			func(b *branch) **expr.Template { return &cond(b).Expr }),
		special("if_true", "The job to go on with where it holds.", textSchema(),
			func(d *decoder, n *node, b *branch) { d.route(n, b.draft, &b.Then) }),
		special("if_false", "The job to go on with where it does not hold.", textSchema(),
			func(d *decoder, n *node, b *branch) { d.route(n, b.draft, &b.Else) }),
	}}
}

// finish makes the condition a plain one, or an expression.
func (b *branch) finish(d *decoder, n *node) {
	c := b.Condition
	c.Pos = n.pos
	d.operand(c, n)
	if c.Expr == nil {
		if !n.get("value").given() && !n.has("value") {
			d.wrongf(n, "", "a condition needs value, or condition: ${…}")
		}
		return
	}
	for _, name := range []string{"operator", "value"} {
		if v := n.get(name); v.given() {
			d.judgeKeyf(v, "keep one of them", "both condition and %s are given", name)
		}
	}
	c.Operator = ""
}

func conditionShape() shape[Condition] {
	in := newScopes().each
	several := func(name, doc string, p func(*Condition) *[]*Condition) field[Condition] {
		return field[Condition]{name: name, doc: doc, schema: schema{"type": "array", "items": ref(conditionShape)}, read: func(d *decoder, n *node, c *Condition) {
			for _, item := range d.items(n, name) {
				if of := d.condition(item); of != nil {
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
		special("not", "This does not hold.", ref(conditionShape),
			func(d *decoder, n *node, c *Condition) { c.Not = d.condition(n) }),
	}, short: &shorthand[Condition]{
		kinds: []kind{scalar}, schema: schema{"type": []string{"boolean", "string"}},
		read: func(d *decoder, n *node, c *Condition) { c.Expr = d.template(n, in) },
	}}
}

// condition reads a test: an expression, or a mapping.
func (d *decoder) condition(n *node) *Condition {
	c := &Condition{Pos: n.pos}
	if !conditionShape().read(d, n, c) {
		return nil
	}
	if n.kind == scalar {
		return c
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
		d.wrongf(n, "", "a condition is one of: input, operator and value; all; any; not")
	case plain && !n.has("value"):
		d.wrongf(n, "", "a condition needs value")
	case plain && c.Operator == "" && !n.get("operator").given():
		c.Operator = "eq"
	}
	d.operand(c, n)
	return c
}

// operand reports a value that is written out, and that its operator can do nothing with.
func (d *decoder) operand(c *Condition, n *node) {
	v, ok := literal(c.Value)
	if !ok {
		return
	}
	switch c.Operator {
	case "match":
		if _, err := regexp.Compile(value.Text(v)); err != nil {
			d.judgef(n.get("value"), "patterns are regular expressions as in Go (RE2)", "the pattern cannot be read: %v", err)
		}
	case "in", "not-in":
		if value.IsNumber(v) || isBool(v) {
			d.judgef(n.get("value"), "write value: [a, b]", "operator %s looks into a list, a mapping or a text, and this is %v", c.Operator, value.Text(v))
		}
	}
}
