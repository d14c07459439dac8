package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

func inputTypes() []string {
	return []string{"any", "string", "integer", "number", "boolean", "object", "array"}
}

func inputShape() shape[Input] {
	kindOf := choice("type", "The type of the value.", func(i *Input) *string { return &i.Type }, inputTypes()...).or("any")
	bound := func(name, doc string, p func(*Input) **float64) field[Input] {
		return field[Input]{name: name, doc: doc, schema: schema{"type": "number"}, read: func(d *decoder, n *node, i *Input) {
			f, ok := d.float(n, name)
			if ok {
				*p(i) = &f
			}
		}}
	}
	return shape[Input]{
		name: "input", doc: "A field of a run's input: what it must be is checked before the run is accepted.",
		fields: []field[Input]{
			kindOf,
			toggle("required", "It must be there.", func(i *Input) *bool { return &i.Required }).or("false"),
			special("default", "Its value where it is missing.", schema{},
				func(d *decoder, n *node, i *Input) {
					if v, ok := d.once(n); ok {
						i.Default = expr.Literal(v)
					}
				}),
			special("enum", "The values that it may have.", schema{"type": "array", "minItems": 1},
				func(d *decoder, n *node, i *Input) {
					for _, item := range d.items(n, "enum") {
						i.Enum = append(i.Enum, item.any())
					}
				}),
			text("description", "What it is.", func(i *Input) *string { return &i.Description }),
			bound("minimum", "The least number.", func(i *Input) **float64 { return &i.Minimum }),
			bound("maximum", "The greatest number.", func(i *Input) **float64 { return &i.Maximum }),
			special("pattern", "A regular expression that text must match.", textSchema(),
				func(d *decoder, n *node, i *Input) {
					if s, ok := d.words(n); ok {
						if _, err := regexp.Compile(s); err != nil {
							d.judgef(n, "", "pattern: %v", err)
						}
						i.Pattern = s
					}
				}),
		},
		short: &shorthand[Input]{kinds: []kind{scalar}, schema: kindOf.schema, read: kindOf.read},
	}
}

func readInputs(d *decoder, n *node, w *Workflow) {
	if n.kind != mapping {
		if n.given() {
			d.wrongf(n, "a job's input goes into the job", "a workflow's input must be a mapping of its fields, and is %s", n.word())
		}
		return
	}
	w.Inputs = []*Input{}
	for _, name := range n.names {
		i := &Input{Pos: n.fields[name].pos, Name: name}
		f := n.fields[name]
		if !f.given() {
			f = fallbackNode("any", f) // a name alone
		}
		problems := len(d.problems)
		if inputShape().read(d, f, i) {
			w.Inputs = append(w.Inputs, i)
			if len(d.problems) == problems {
				d.fitting(i, f)
			}
		}
	}
}

// once evaluates a value when the file is loaded: only variables are known to it.
func (d *decoder) once(n *node) (any, bool) {
	t, ok := d.compile(n, d.scopes.env)
	if !ok || d.unset(n) {
		return nil, false
	}
	v, err := t.Eval(environment(d.env))
	switch {
	case err == nil:
		return v, true
	case d.stored:
		return n.any(), true // as it was taken before there were expressions in it
	default:
		d.wrongf(n, "", "%v", err)
		return nil, false
	}
}

// fitting reports a default and values of an enum that no request could have brought.
func (d *decoder) fitting(i *Input, n *node) {
	if i.Minimum != nil && i.Maximum != nil && *i.Minimum > *i.Maximum {
		d.judgef(n.get("minimum"), "", "minimum is more than maximum, so nothing is between them")
		return
	}
	if enum := n.get("enum"); enum.given() && len(i.Enum) == 0 {
		d.judgef(enum, "leave it out where any value will do", "enum has no value")
		return
	}
	for at, v := range i.Enum {
		if err := i.Check(v); err != nil {
			d.judgef(n.get("enum").entry(at), "", "this value of the enum %v", err)
		}
	}
	if v, ok := literal(i.Default); ok && v != nil {
		v = typed(i.Type, v, n.get("default"))
		i.Default = expr.Literal(v)
		if err := i.Check(v); err != nil {
			d.judgef(n.get("default"), "", "the default %v", err)
		}
	}
}

// typed gives what a variable holds, which is text always, in the type of the input that it is for.
func typed(kind string, v any, from *node) any {
	written, _ := from.text()
	if _, isText := v.(string); !isText || !hasExpression(written) {
		return v
	}
	switch kind {
	case "integer", "number", "boolean":
	case "object", "array":
		kind = "json"
	default:
		return v
	}
	if converted, err := expr.Convert(v, kind); err == nil {
		return converted
	}
	return v // which does not fit, and is told so
}

// Check holds a value against what is declared: "must be of type integer, and is a text".
func (i *Input) Check(v any) error {
	if i.Type != "" && i.Type != "any" && !isType(i.Type, v) {
		return fmt.Errorf("must be of type %s, and is %s", i.Type, expr.KindOf(v))
	}
	if i.Enum != nil && !slices.ContainsFunc(i.Enum, func(e any) bool { return value.Equal(e, v) || value.Text(e) == value.Text(v) }) {
		allowed := make([]string, len(i.Enum))
		for at, e := range i.Enum {
			allowed[at] = value.Text(e)
		}
		return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
	}
	if n, ok := value.Rational(v); ok {
		if f, _ := n.Float64(); i.Minimum != nil && f < *i.Minimum {
			return fmt.Errorf("must be at least %v", *i.Minimum)
		} else if i.Maximum != nil && f > *i.Maximum {
			return fmt.Errorf("must be at most %v", *i.Maximum)
		}
	}
	if i.Pattern != "" {
		re, err := regexp.Compile(i.Pattern)
		if err != nil {
			return fmt.Errorf("has a pattern that cannot be read: %w", err)
		}
		if !re.MatchString(value.Text(v)) {
			return fmt.Errorf("must match %s", i.Pattern)
		}
	}
	return nil
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	default:
		n, ok := value.Rational(v)
		return name == "number" || name == "integer" && ok && n.IsInt()
	}
}
