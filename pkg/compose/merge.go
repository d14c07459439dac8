package compose

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/v2"
)

// merge lays files and settings over each other, left to right: mappings are merged, all else replaces what was there.
// koanf does the merging; what it carries are numbers of nodes, so that every value keeps its place.
func merge(layers []*node) (*node, error) {
	m := merger{marks: &mark{}}
	k := koanf.NewWithConf(koanf.Conf{Delim: "\x00"})
	for _, l := range layers {
		if err := k.Load(provider(m.add(l, m.marks)), nil); err != nil {
			return nil, fmt.Errorf("merge %s: %w", l.pos.File, err)
		}
	}
	root := m.build(k.Raw(), m.marks)
	root.name("")
	return root, nil
}

// provider hands a layer to koanf.
type provider map[string]any

func (p provider) Read() (map[string]any, error) { return p, nil }
func (p provider) ReadBytes() ([]byte, error)    { return nil, errors.New("a layer has no bytes") }

type merger struct {
	leaves []*node // lists and scalars, by their number in koanf
	marks  *mark
}

// mark remembers place and order of a mapping, which koanf does not.
type mark struct {
	pos, key Pos
	names    []string
	children map[string]*mark
}

func (m *merger) add(n *node, at *mark) map[string]any {
	at.pos, at.key = n.pos, n.key
	values := make(map[string]any, len(n.names))
	for _, name := range n.names {
		child := at.children[name]
		if child == nil {
			child = &mark{}
			if at.children == nil {
				at.children = map[string]*mark{}
			}
			at.children[name] = child
			at.names = append(at.names, name)
		}
		if f := n.fields[name]; f.kind == mapping {
			values[name] = m.add(f, child)
		} else {
			m.leaves = append(m.leaves, f)
			values[name] = len(m.leaves) - 1
		}
	}
	return values
}

func (m *merger) build(values map[string]any, at *mark) *node {
	n := &node{kind: mapping, pos: at.pos, key: at.key}
	for _, name := range at.names {
		switch v := values[name].(type) {
		case map[string]any:
			n.put(name, m.build(v, at.children[name]))
		case int:
			leaf := *m.leaves[v]
			n.put(name, &leaf)
		}
	}
	return n
}

// The form of a variable that sets a value: SWITCHBACK_SET__LISTENER__PUBLIC_URL=https://…
const setPrefix = "SWITCHBACK_SET__"

// setting is one value laid over the files.
type setting struct {
	origin string // --set listener.port, or the variable's name
	path   []string
	folded bool // from a variable: case and the difference between - and _ are lost
	text   string
}

// settings reads the variables and the path=value pairs, in the order in which they count.
func settings(environ, set []string) ([]setting, []Problem) {
	var all []setting
	var problems []Problem
	for _, e := range slices.Sorted(slices.Values(environ)) {
		name, text, _ := strings.Cut(e, "=")
		if rest, ok := strings.CutPrefix(name, setPrefix); ok && rest != "" {
			all = append(all, setting{origin: name, path: strings.Split(rest, "__"), folded: true, text: text})
		}
	}
	for _, s := range set {
		path, text, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			problems = append(problems, Problem{
				Pos: Pos{File: "--set " + s}, Message: "this sets nothing", Hint: "write --set path=value, such as --set listener.port=9000",
			})
			continue
		}
		all = append(all, setting{origin: "--set " + path, path: strings.Split(path, "."), text: text})
	}
	return all, problems
}

// value reads the setting's text as YAML, so that numbers and lists can be set; what is no YAML is text.
func (s setting) value() *node {
	r := reader{file: s.origin}
	n := r.read([]byte(s.text))
	if len(r.problems) > 0 || n == nil || strings.Contains(s.text, "${") && n.kind != scalar {
		n = &node{kind: scalar, value: s.text}
	}
	n.move(Pos{File: s.origin})
	return n
}

// layer makes of a setting what can be merged over the tree: mappings down to the value, or down to the first list on
// the way, which is there again with the one value changed.
func (s setting) layer(root *node) (*node, *Problem) {
	path := slices.Clone(s.path)
	if one, ok := plurals()[s.match(root, path[0])]; ok && root.get(one.plural) != nil && root.get(one.singular) == nil {
		// listener.port, where the file has listeners with one entry
		if many := root.get(one.plural); many.kind != list || len(many.items) != 1 {
			return nil, &Problem{
				Pos: Pos{File: s.origin}, Message: "the file has " + one.plural + ", and this does not say which",
				Hint: fmt.Sprintf("write %s.ID.%s", one.plural, strings.Join(path[1:], ".")),
			}
		}
		path = slices.Insert(path, 0, one.plural)
		path[1] = "0"
	}
	top := &node{kind: mapping, pos: root.pos, key: root.key}
	return top, s.set(top, root, path)
}

func (s setting) set(into, old *node, path []string) *Problem {
	name := s.match(old, path[0])
	was := old.get(name)
	switch {
	case len(path) == 1:
		into.put(name, s.value())
		return nil
	case was != nil && was.kind == list:
		changed, problem := s.item(was, path[1:])
		if problem != nil {
			return problem
		}
		into.put(name, changed)
		return nil
	default:
		next := &node{kind: mapping, pos: Pos{File: s.origin}, key: Pos{File: s.origin}}
		if was != nil && was.kind == mapping {
			next.pos, next.key = was.pos, was.key
		}
		into.put(name, next)
		return s.set(next, was, path[1:])
	}
}

// item gives the list with one entry changed: by index, or by id.
func (s setting) item(was *node, path []string) (*node, *Problem) {
	at, ids := -1, make([]string, 0, len(was.items))
	for i, item := range was.items {
		id, _ := item.get("id").text()
		if ids = append(ids, id); id != "" && s.equal(id, path[0]) {
			at = i
		}
	}
	if i, err := strconv.Atoi(path[0]); err == nil && at < 0 && i >= 0 && i < len(was.items) {
		at = i
	}
	if at < 0 {
		return nil, &Problem{
			Pos: Pos{File: s.origin}, Message: fmt.Sprintf("the list has no entry %q", path[0]),
			Hint: strings.TrimSpace(suggest(path[0], slices.DeleteFunc(ids, func(id string) bool { return id == "" }))),
		}
	}
	changed := *was
	changed.items = slices.Clone(was.items)
	if len(path) == 1 {
		changed.items[at] = s.value()
		return &changed, nil
	}
	over := &node{kind: mapping, pos: was.items[at].pos, key: was.items[at].key}
	if problem := s.set(over, was.items[at], path[1:]); problem != nil {
		return nil, problem
	}
	merged, err := merge([]*node{was.items[at], over})
	if err != nil {
		return nil, &Problem{Pos: Pos{File: s.origin}, Message: err.Error()}
	}
	changed.items[at] = merged
	return &changed, nil
}

// match finds the key that a step of the path means.
func (s setting) match(in *node, step string) string {
	if !s.folded {
		return step
	}
	if in != nil {
		for _, name := range in.names {
			if s.equal(name, step) {
				return name
			}
		}
	}
	return strings.ToLower(step)
}

func (s setting) equal(name, step string) bool {
	if !s.folded {
		return name == step
	}
	return strings.EqualFold(strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(step, "-", "_"))
}
