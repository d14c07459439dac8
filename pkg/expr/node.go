package expr

import (
	"maps"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

// maxText bounds what one template may put together as text: references repeated many times must not fill the memory.
const maxText = 64 << 20

// node is a compiled part of a template.
type node interface {
	eval(s Scope) (any, error)
}

type constant struct{ v any }

// text is the constant where it is known to be text.
func (n constant) text() string {
	s, _ := n.v.(string)
	return s
}

func (n constant) eval(Scope) (any, error) { return n.v, nil }

// path reads a reference.
type path struct{ ref *Reference }

func (n path) eval(s Scope) (any, error) {
	if s == nil {
		return nil, nil
	}
	return s.Resolve(n.ref)
}

// text joins its parts.
type text []node

func (n text) eval(s Scope) (any, error) {
	var short [128]byte
	b := short[:0]
	for _, part := range n {
		v, err := part.eval(s)
		if err != nil {
			return nil, err
		}
		t := value.Text(v)
		if len(b)+len(t) > maxText {
			return nil, fault.New(fault.Unusable, "a text would be longer than 64 MiB", "put fewer or smaller values into it")
		}
		b = append(b, t...)
	}
	return string(b), nil
}

// fallback stands in for null and missing.
type fallback struct{ of, instead node }

func (n fallback) eval(s Scope) (any, error) {
	if v, err := n.of.eval(s); v != nil || err != nil {
		return v, err
	}
	return n.instead.eval(s)
}

// mapping is a map. Spread maps come first, so that what is written out counts.
type mapping []entry

type entry struct {
	key    string
	of     node
	spread bool
	name   string // of a spread value, for messages
}

func (n mapping) eval(s Scope) (any, error) {
	m := make(map[string]any, len(n))
	for _, e := range n {
		v, err := e.of.eval(s)
		switch {
		case err != nil:
			return nil, err
		case !e.spread:
			m[e.key] = v
		case v != nil:
			from, ok := v.(map[string]any)
			if !ok {
				return nil, fault.New(fault.Unusable, e.name+" is "+KindOf(v)+", and only a map can be spread into a map", "")
			}
			maps.Copy(m, from)
		}
	}
	return m, nil
}

// simplest is a constant where nothing in the map is evaluated.
func (n mapping) simplest() node {
	m := make(map[string]any, len(n))
	for _, e := range n {
		c, ok := e.of.(constant)
		if !ok || e.spread {
			return n
		}
		m[e.key] = c.v
	}
	return constant{m}
}

type list []element

type element struct {
	of     node
	spread bool
	name   string // of a spread value, for messages
}

func (n list) eval(s Scope) (any, error) {
	l := make([]any, 0, len(n))
	for _, e := range n {
		v, err := e.of.eval(s)
		switch {
		case err != nil:
			return nil, err
		case !e.spread:
			l = append(l, v)
		case v != nil:
			items, ok := v.([]any)
			if !ok {
				return nil, fault.New(fault.Unusable, e.name+" is "+KindOf(v)+", and only a list can be spread into a list", "")
			}
			l = append(l, items...)
		}
	}
	return l, nil
}

func (n list) simplest() node {
	l := make([]any, 0, len(n))
	for _, e := range n {
		c, ok := e.of.(constant)
		if !ok || e.spread {
			return n
		}
		l = append(l, c.v)
	}
	return constant{l}
}
