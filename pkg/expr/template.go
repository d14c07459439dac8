package expr

import "github.com/switchbackhq/switchback/pkg/fault"

// Template is one compiled value of a compose file: a scalar, text with ${…} in it, a map or a list. It is
// immutable and may be evaluated by several goroutines at once.
type Template struct {
	source  any
	root    node
	refs    []*Reference
	literal bool
}

// Compile reads a decoded YAML value with ${…} in its strings. It gives either a template or all that is wrong.
func Compile(v any, rules Rules) (*Template, []Problem) {
	t, problems := Lenient(v, rules)
	if len(problems) > 0 {
		return nil, problems
	}
	return t, nil
}

// Lenient is Compile for a value that has to be lived with: there is a template always, with the references as far as they
// can be told. Evaluating one with problems is an error.
func Lenient(v any, rules Rules) (*Template, []Problem) {
	c := &compiler{rules: rules}
	root := c.value(v, nil)
	if len(c.problems) > 0 {
		root = broken{c.problems[0]}
	}
	_, isConst := root.(constant)
	return &Template{source: v, root: root, refs: c.refs, literal: isConst}, c.problems
}

// broken is what cannot be compiled.
type broken struct{ why Problem }

func (n broken) eval(Scope) (any, error) {
	return nil, fault.New(fault.Unusable, "this cannot be read: "+n.why.Message, n.why.Hint)
}

func references(from []*Reference) []Reference {
	refs := make([]Reference, len(from))
	for i, r := range from {
		refs[i] = *r
	}
	return refs
}

// Literal is a template that gives v, whatever stands in it.
func Literal(v any) *Template {
	return &Template{source: v, root: constant{v}, literal: true}
}

// Eval gives the template's value. A template that is one ${…} keeps the type of its value, nil where it is
// missing; inside text a missing value is empty. The value may share maps and lists with the scope and with the
// template: it is not to be changed.
func (t *Template) Eval(s Scope) (any, error) { return t.root.eval(s) }

// References gives every path that the template reads, in the order of writing (maps by key).
func (t *Template) References() []Reference { return references(t.refs) }

// Source gives the value that was compiled, as written.
func (t *Template) Source() any { return t.source }

// Literal gives the value if nothing in it is evaluated.
func (t *Template) Literal() (any, bool) {
	if !t.literal {
		return nil, false
	}
	v, err := t.root.eval(nil)
	return v, err == nil
}
