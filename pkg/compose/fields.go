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

// The kinds of fields. Each reads a node into what p points at, and knows its JSON Schema.

// special is a field that is read in its own way.
func special[T any](name, doc string, of schema, read func(d *decoder, n *node, into *T)) field[T] {
	return field[T]{name: name, doc: doc, schema: of, read: read}
}

// text is a string; a number or a boolean is taken as it is written.
func text[T any](name, doc string, p func(*T) *string) field[T] {
	return field[T]{name: name, doc: doc, schema: textSchema(), read: func(d *decoder, n *node, into *T) {
		if s, ok := d.words(n); ok {
			*p(into) = s
		}
	}}
}

// like gives a field another schema.
func (f field[T]) like(s schema) field[T] {
	f.schema = s
	return f
}

// choice is one of a few words.
func choice[T any](name, doc string, p func(*T) *string, words ...string) field[T] {
	return field[T]{name: name, doc: doc, schema: schema{"enum": words}, read: func(d *decoder, n *node, into *T) {
		if s, ok := d.words(n); ok && d.oneOf(n, name, s, words) {
			*p(into) = s
		}
	}}
}

// oneOf reports a word that is not among the known.
func (d *decoder) oneOf(n *node, name, word string, words []string) bool {
	if slices.Contains(words, word) {
		return true
	}
	d.wrongf(n, suggest(word, words), "%s %q is not known", name, word)
	return false
}

// whole is an integer within bounds.
func whole[T any](name, doc string, p func(*T) *int, least, most int) field[T] {
	return field[T]{name: name, doc: doc, schema: schema{"type": "integer", "minimum": least, "maximum": most}, read: func(d *decoder, n *node, into *T) {
		if i, ok := d.integer(n, name, least, most); ok {
			*p(into) = i
		}
	}}
}

func (d *decoder) integer(n *node, name string, least, most int) (int, bool) {
	v, ok := d.plain(n)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimSpace(value.Text(v)))
	switch {
	case err != nil || isBool(v):
		d.wrongf(n, "", "%s must be a whole number, and is %s", name, shown(n, v))
	case i < least || i > most:
		d.judgef(n, "", "%s must be from %d to %d, and is %d", name, least, most, i)
		return i, d.stored
	default:
		return i, true
	}
	return 0, false
}

// shown is a value for messages, and what it comes from.
func shown(n *node, v any) string {
	if n.value == v {
		return n.word()
	}
	return fmt.Sprintf("%q, from %v", value.Text(v), n.value)
}

func isBool(v any) bool {
	_, ok := v.(bool)
	return ok
}

// toggle is true or false.
func toggle[T any](name, doc string, p func(*T) *bool) field[T] {
	return field[T]{name: name, doc: doc, schema: schema{"type": "boolean"}, read: func(d *decoder, n *node, into *T) {
		v, ok := d.plain(n)
		if !ok {
			return
		}
		switch strings.ToLower(value.Text(v)) {
		case "true":
			*p(into) = true
		case "false":
			*p(into) = false
		default:
			d.wrongf(n, "", "%s must be true or false, and is %s", name, shown(n, v))
		}
	}}
}

// span is a length of time.
func span[T any](name, doc string, p func(*T) *time.Duration) field[T] {
	return field[T]{name: name, doc: doc, schema: durationSchema(), read: func(d *decoder, n *node, into *T) {
		if v, ok := d.duration(n, name); ok {
			*p(into) = v
		}
	}}
}

func (d *decoder) duration(n *node, name string) (time.Duration, bool) {
	v, ok := d.plain(n)
	if !ok {
		return 0, false
	}
	t, err := parseDuration(value.Text(v))
	if err != nil || isBool(v) {
		d.wrongf(n, `write milliseconds as a number, or a unit: "250ms", "30s", "5m", "2h", "7d"`, "%s must be a duration, and is %s", name, shown(n, v))
		return 0, false
	}
	return t, true
}

// amount is an amount of data.
func amount[T any](name, doc string, p func(*T) *int64) field[T] {
	return field[T]{name: name, doc: doc, schema: sizeSchema(), read: func(d *decoder, n *node, into *T) {
		v, ok := d.plain(n)
		if !ok {
			return
		}
		size, err := parseSize(value.Text(v))
		if err != nil || isBool(v) {
			d.wrongf(n, `write bytes as a number, or a unit: "512KiB", "4MiB", "1GB"`, "%s must be a size, and is %s", name, shown(n, v))
			return
		}
		*p(into) = size
	}}
}

// texts is one value or a list of them.
func texts[T any](name, doc string, p func(*T) *[]string) field[T] {
	one := schema{"type": []string{"string", "number", "boolean"}}
	return field[T]{name: name, doc: doc, schema: oneOrMany(one), read: func(d *decoder, n *node, into *T) {
		*p(into) = d.many(n)
	}}
}

// many reads one value or a list of values as texts. It is never nil.
func (d *decoder) many(n *node) []string {
	all := []string{}
	items := []*node{n}
	if n.kind == list {
		items = n.items
	}
	for _, item := range items {
		if !item.given() {
			d.wrongf(item, "", "this must be text")
		} else if s, ok := d.words(item); ok {
			all = append(all, s)
		}
	}
	return all
}

// template is any value with ${…} in it.
func template[T any](name, doc string, in scope, p func(*T) **expr.Template) field[T] {
	return field[T]{name: name, doc: doc, schema: schema{}, read: func(d *decoder, n *node, into *T) {
		*p(into) = d.template(n, in)
	}}
}

// templateOf is a template that must be a mapping, a list or text.
func templateOf[T any](name, doc string, in scope, p func(*T) **expr.Template, kinds ...kind) field[T] {
	f := template(name, doc, in, p)
	f.schema = templateSchema(kinds...)
	read := f.read
	f.read = func(d *decoder, n *node, into *T) {
		s, isText := n.text()
		if !slices.Contains(kinds, n.kind) && n.given() && (!isText || !hasExpression(s)) {
			if d.judgef(n, "", "%s must be %s, and is %s", name, kinds[0], n.word()); !d.stored {
				return
			}
		}
		read(d, n, into)
	}
	return f
}

// part is a mapping of its own.
func part[T, U any](name, doc string, s func() shape[U], p func(*T) **U) field[T] {
	return field[T]{name: name, doc: doc, schema: ref(s), read: func(d *decoder, n *node, into *T) {
		u := new(U)
		if n.given() && s().read(d, n, u) {
			*p(into) = u
		}
	}}
}

// parts is a list of mappings.
func parts[T, U any](name, doc string, s func() shape[U], p func(*T) *[]*U) field[T] {
	return field[T]{name: name, doc: doc, schema: schema{"type": "array", "items": ref(s)}, read: func(d *decoder, n *node, into *T) {
		of := s()
		for _, item := range d.items(n, name) {
			u := new(U)
			if of.read(d, item, u) {
				d.placed[u] = item
				*p(into) = append(*p(into), u)
			}
		}
	}}
}

// items gives the entries of a list.
func (d *decoder) items(n *node, name string) []*node {
	if n.kind != list {
		if n.given() {
			d.wrongf(n, "", "%s must be a list, and is %s", name, n.word())
		}
		return nil
	}
	return n.items
}

// plain gives the value of a scalar in a typed field, variables resolved. It is not ok where there is none, which is
// then reported.
func (d *decoder) plain(n *node) (any, bool) {
	if n.kind != scalar {
		if n.given() {
			d.wrongf(n, "", "this must be a single value, and is %s", n.word())
		}
		return nil, false
	}
	s, isText := n.value.(string)
	if !isText || !hasExpression(s) {
		return n.value, true
	}
	t, ok := d.compile(n, d.scopes.env)
	if !ok || d.unset(n) {
		return nil, false
	}
	v, err := t.Eval(environment(d.env))
	switch v.(type) {
	case nil:
		if err != nil {
			d.wrongf(n, "", "%v", err)
		}
		return nil, false
	case bool, string, int64, float64:
		return v, err == nil
	default:
		return value.Text(v), err == nil
	}
}

// words is plain as text.
func (d *decoder) words(n *node) (string, bool) {
	v, ok := d.plain(n)
	if !ok {
		return "", false
	}
	return value.Text(v), true
}

// environment is a scope that knows variables alone.
type environment func(string) (string, bool)

// Resolve gives a variable's value.
func (e environment) Resolve(r *expr.Reference) (any, error) {
	if r.Source != "env" || len(r.Path) != 1 {
		return nil, fmt.Errorf("%s is not known here", r.Text)
	}
	if v, ok := e(r.Path[0].Name); ok {
		return v, nil
	}
	return nil, nil
}
