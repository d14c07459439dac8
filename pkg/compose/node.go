package compose

import (
	"fmt"
	"strings"
)

type kind uint8

const (
	null kind = iota
	scalar
	list
	mapping
)

func (k kind) String() string { return [...]string{"nothing", "a value", "a list", "a mapping"}[k] }

// node is a value of a compose file with its place. A tree of nodes has no aliases and no merge keys any more.
type node struct {
	kind   kind
	pos    Pos
	key    Pos    // of the key that leads here
	path   string // components.api.body.url
	value  any    // of a scalar
	items  []*node
	names  []string // the keys of a mapping, in their order
	fields map[string]*node
}

// get gives the value of a key, or nil.
func (n *node) get(name string) *node {
	if n == nil || n.kind != mapping {
		return nil
	}
	return n.fields[name]
}

// put adds a key or replaces its value.
func (n *node) put(name string, v *node) {
	if n.fields == nil {
		n.fields = map[string]*node{}
	}
	if _, ok := n.fields[name]; !ok {
		n.names = append(n.names, name)
	}
	n.fields[name] = v
}

// place is where a person looks for the value: a mapping is at its key.
func (n *node) place() Pos {
	if n.kind == mapping && n.key != (Pos{}) {
		return n.key
	}
	return n.pos
}

// move gives all of the tree one place.
func (n *node) move(to Pos) {
	n.pos, n.key = to, to
	for _, item := range n.items {
		item.move(to)
	}
	for _, f := range n.fields {
		f.move(to)
	}
}

// has tells whether there is such a key, be it with null.
func (n *node) has(name string) bool { return n.get(name) != nil }

// given tells whether there is a value that is not null.
func (n *node) given() bool { return n != nil && n.kind != null }

// text gives a scalar that is a string.
func (n *node) text() (string, bool) {
	if n == nil || n.kind != scalar {
		return "", false
	}
	s, ok := n.value.(string)
	return s, ok
}

// any gives the value without places, as templates are compiled from it.
func (n *node) any() any {
	switch n.kind {
	case scalar:
		return n.value
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = item.any()
		}
		return items
	case mapping:
		m := make(map[string]any, len(n.names))
		for name, f := range n.fields {
			m[name] = f.any()
		}
		return m
	default:
		return nil
	}
}

// at follows map keys and list indexes as far as they lead.
func (n *node) at(path []any) *node {
	for _, step := range path {
		var next *node
		switch s := step.(type) {
		case string:
			next = n.get(s)
		case int:
			if n.kind == list && s >= 0 && s < len(n.items) {
				next = n.items[s]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// entry gives an item of a list; of a single value it is that value.
func (n *node) entry(i int) *node {
	if n.kind == list && i < len(n.items) {
		return n.items[i]
	}
	return n
}

// leaves calls f for each scalar below.
func (n *node) leaves(f func(*node)) {
	switch n.kind {
	case scalar:
		f(n)
	case list:
		for _, item := range n.items {
			item.leaves(f)
		}
	case mapping:
		for _, name := range n.names {
			n.fields[name].leaves(f)
		}
	case null:
	}
}

// name gives every node below its path.
func (n *node) name(path string) {
	n.path = path
	for i, item := range n.items {
		item.name(fmt.Sprintf("%s[%d]", path, i))
	}
	for name, f := range n.fields {
		f.name(join(path, name))
	}
}

func join(path, name string) string {
	switch {
	case path == "":
		return name
	case name == "" || strings.ContainsAny(name, ".[] \""):
		return fmt.Sprintf("%s[%q]", path, name)
	default:
		return path + "." + name
	}
}

// word gives what a value is, for messages: "a list", "text", "the number 3".
func (n *node) word() string {
	if n.kind != scalar {
		return n.kind.String()
	}
	switch v := n.value.(type) {
	case string:
		if len(v) > 40 {
			return "text"
		}
		return fmt.Sprintf("%q", v)
	default:
		return fmt.Sprint(v)
	}
}
