package compose

import (
	"fmt"
	"io/fs"
	"slices"
)

// decoder turns nodes into the document and collects what is wrong.
type decoder struct {
	env       func(string) (string, bool)
	look      func(path string) ([]byte, error) // reads a file that the document names; nil: they are not looked at
	stat      func(path string) (fs.FileInfo, error)
	lines     map[string][]string // by file
	stored    bool                // a definition that runs have begun with is read: nothing in it is judged, and what is wrong keeps to its part
	problems  []Problem
	contained []Problem // in expressions of what is stored
	holes     bool      // a file could not be read whole
	needs     []Problem
	uses      []use // of templates, in the part of the document that is being read
	all       []use
	scopes    scopes
	files     []string // in the order of loading
	depth     int
	declared  map[string]bool // components
	broken    map[string]bool // components that are there, and wrong in themselves
	placed    map[any]*node   // what things were read from, by the pointer to them
	jobs      map[*Job]*draft
	wanted    []wanted
	outputs   []workflowUses
}

// wrongf reports what cannot be carried out, at a value.
func (d *decoder) wrongf(n *node, hint, format string, args ...any) {
	d.report(&d.problems, n.place(), n.path, fmt.Sprintf(format, args...), hint)
}

// wrongKeyf reports a problem at the key that leads to a value.
func (d *decoder) wrongKeyf(n *node, hint, format string, args ...any) {
	pos := n.key
	if pos == (Pos{}) {
		pos = n.pos
	}
	d.report(&d.problems, pos, n.path, fmt.Sprintf(format, args...), hint)
}

// judgef reports what is unwise, contradictory or out of bounds, and can be carried out nevertheless. All that a version finds
// and an earlier one did not is of this kind, and the value is read all the same.
func (d *decoder) judgef(n *node, hint, format string, args ...any) {
	if !d.stored {
		d.wrongf(n, hint, format, args...)
	}
}

// judgeKeyf is judgef at the key that leads to a value.
func (d *decoder) judgeKeyf(n *node, hint, format string, args ...any) {
	if !d.stored {
		d.wrongKeyf(n, hint, format, args...)
	}
}

// needf reports what must be there before the document can be started.
func (d *decoder) needf(n *node, hint, format string, args ...any) {
	d.report(&d.needs, n.place(), n.path, fmt.Sprintf(format, args...), hint)
}

func (d *decoder) report(to *[]Problem, pos Pos, path, message, hint string) {
	if len(*to) < maxProblems || d.stored {
		*to = append(*to, Problem{Pos: pos, Path: path, Message: message, Hint: hint, Line: lineAt(d.lines[pos.File], pos.Line)})
	}
}

// shape says what a mapping may hold. It is what the decoder reads by, and what the JSON Schema is made from.
type shape[T any] struct {
	name   string // of the thing, as messages call it: "callback"
	doc    string
	fields []field[T]
	short  *shorthand[T]   // what may stand in the place of the mapping
	rules  func() []schema // what else holds of it, as far as a schema can say so; nil: nothing
}

// field is one key of a mapping.
type field[T any] struct {
	name     string
	doc      string
	schema   schema
	required bool
	fallback string // YAML; read where the key is not given
	read     func(d *decoder, n *node, into *T)
}

// shorthand is another form of a mapping: a word, a list.
type shorthand[T any] struct {
	kinds  []kind
	schema schema
	read   func(d *decoder, n *node, into *T)
}

// must makes a field a required one.
func (f field[T]) must() field[T] {
	f.required = true
	return f
}

// or gives a field its default, as it would be written.
func (f field[T]) or(fallback string) field[T] {
	f.fallback = fallback
	return f
}

// names gives the keys.
func (s shape[T]) names() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// has tells whether there is such a key.
func (s shape[T]) has(name string) bool {
	return slices.ContainsFunc(s.fields, func(f field[T]) bool { return f.name == name })
}

// read reads a mapping or its shorthand. It tells whether it was one.
func (s shape[T]) read(d *decoder, n *node, into *T) bool {
	if d.depth++; d.depth > maxDepth && !d.stored {
		d.depth--
		return false
	}
	defer func() { d.depth-- }()
	if n.kind != mapping {
		if s.short != nil && slices.Contains(s.short.kinds, n.kind) {
			s.defaults(d, n, into, nil)
			s.short.read(d, n, into)
			return true
		}
		d.wrongf(n, "", "%s must be a mapping, and is %s", s.article(), n.word())
		return false
	}
	d.unknown(n, s.name, s.names())
	s.defaults(d, n, into, n)
	return true
}

// defaults reads the defaults, and over them the fields that n gives.
func (s shape[T]) defaults(d *decoder, at *node, into *T, n *node) {
	for _, f := range s.fields {
		if f.fallback != "" {
			f.read(d, fallbackNode(f.fallback, at), into)
		}
		switch v := n.get(f.name); {
		case v.given(), v != nil && f.fallback == "" && !f.required:
			f.read(d, v, into)
		case f.required && n != nil:
			if v == nil && s.misspelt(n, f.name) {
				continue // and that is reported
			}
			if v == nil {
				v = at
			}
			d.wrongf(v, "", "%s needs %s", s.article(), f.name)
		}
	}
}

// misspelt tells whether a key that nobody reads was probably meant to be the one of the name.
func (s shape[T]) misspelt(n *node, name string) bool {
	return slices.ContainsFunc(n.names, func(key string) bool { return !s.has(key) && Nearest(key, s.names()) == name })
}

func fallbackNode(text string, at *node) *node {
	n := (&reader{}).read([]byte(text))
	n.move(at.place())
	n.path = at.path
	return n
}

func (s shape[T]) article() string { return article(s.name) }

func article(name string) string {
	switch name[0] {
	case 'a', 'e', 'i', 'o':
		return "an " + name
	default:
		return "a " + name
	}
}

// unknown reports the keys of a mapping that nobody reads.
func (d *decoder) unknown(n *node, what string, known []string) {
	for _, name := range n.names {
		if !slices.Contains(known, name) {
			d.wrongKeyf(n.fields[name], suggest(name, known), "%s has no field %q", article(what), name)
		}
	}
}
