package compose

import (
	"slices"

	"go.yaml.in/yaml/v4"
)

// Changes says in what two documents differ: "workflow pay changed", "component bank added".
func Changes(was, is *Document) []string {
	a, b := things(was), things(is)
	var all []string
	for _, name := range b.names {
		switch text, ok := a.text[name]; {
		case !ok:
			all = append(all, name+" added")
		case text != b.text[name]:
			all = append(all, name+" changed")
		}
	}
	for _, name := range a.names {
		if _, ok := b.text[name]; !ok {
			all = append(all, name+" removed")
		}
	}
	return all
}

// written are the things of a document, each with its text.
type written struct {
	names []string
	text  map[string]string
}

func things(doc *Document) written {
	w := written{text: map[string]string{}}
	root := (&reader{}).read(doc.Source)
	if root == nil || root.kind != mapping {
		return w
	}
	add := func(name string, n *node) {
		v := n.any()
		if m, ok := v.(map[string]any); ok {
			delete(m, "id") // it is in the name
		}
		// Of a Go map the keys are written in order: another order is no change.
		if text, err := yaml.Marshal(v); err == nil && !slices.Contains(w.names, name) {
			w.names = append(w.names, name)
			w.text[name] = string(text)
		}
	}
	d := newDecoder(nil)
	for _, s := range sections() {
		for _, e := range d.entries(root, s) {
			name := s.singular
			if e.id != DefaultID(s.singular) {
				name += " " + e.id
			}
			add(name, e.n)
		}
	}
	if c := root.get("controller"); c.given() {
		add("controller", c)
	}
	return w
}
