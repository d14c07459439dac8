package expr

import (
	"strings"

	"github.com/switchbackhq/switchback/pkg/value"
)

// node is a compiled part of a template.
type node interface {
	eval(s Scope) (any, error)
}

type constant struct{ v any }

func (n constant) eval(Scope) (any, error) { return n.v, nil }

// path reads a reference.
type path struct{ ref *Reference }

func (n path) eval(s Scope) (any, error) { return s.Resolve(n.ref) }

// text joins its parts.
type text []node

func (n text) eval(s Scope) (any, error) {
	var b strings.Builder
	for _, part := range n {
		v, err := part.eval(s)
		if err != nil {
			return nil, err
		}
		b.WriteString(value.Text(v))
	}
	return b.String(), nil
}

// fallback stands in for null and missing.
type fallback struct{ of, instead node }

func (n fallback) eval(s Scope) (any, error) {
	if v, err := n.of.eval(s); v != nil || err != nil {
		return v, err
	}
	return n.instead.eval(s)
}

type mapping []entry

type entry struct {
	key string
	of  node
}

func (n mapping) eval(s Scope) (any, error) {
	m := make(map[string]any, len(n))
	for _, e := range n {
		v, err := e.of.eval(s)
		if err != nil {
			return nil, err
		}
		m[e.key] = v
	}
	return m, nil
}

type list []node

func (n list) eval(s Scope) (any, error) {
	l := make([]any, 0, len(n))
	for _, item := range n {
		v, err := item.eval(s)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, nil
}
