package compose

import (
	"fmt"
	"slices"
	"strings"
)

// section is a part of a document that is written in the singular with one entry, or in the plural.
type section struct {
	singular, plural string
	doc              string
	byID             bool // the plural may be a mapping by id
}

func sections() []section {
	return []section{
		{"listener", "listeners", "HTTP servers for callbacks and triggers.", false},
		{"gateway", "gateways", "Tunnels that give local ports a public URL.", false},
		{"component", "components", "Outside services, and things done in the runner.", true},
		{"workflow", "workflows", "Sets of jobs and their order.", true},
	}
}

func plurals() map[string]section {
	all := map[string]section{}
	for _, s := range sections() {
		all[s.singular] = s
	}
	return all
}

// apart finds things of different ids that are each written in the singular in files of their own. Merged they would be one
// thing, with the id of the last.
func (d *decoder) apart(layers []*node) {
	for _, s := range sections() {
		var first string
		for _, l := range layers {
			at := l.get(s.singular).get("id")
			id, ok := at.text()
			switch {
			case !ok || id == first:
			case first == "":
				first = id
			case s.byID:
				d.wrongf(at, "write "+s.plural+": in each file, as a mapping by id", "the %s %s would be laid over the %s %s of another file", s.singular, id, s.singular, first)
			default:
				d.wrongf(at, "write "+s.plural+": in one of the files, with all of them", "the %s %s would be laid over the %s %s of another file", s.singular, id, s.singular, first)
			}
		}
	}
}

// entry is one thing of a section with the id that it goes by.
type entry struct {
	id string
	n  *node
}

// entries gives the things of a section in their order, each with its id. kind is what the ids are for: "listener".
func (d *decoder) entries(in *node, s section) []entry {
	one, many := in.get(s.singular), in.get(s.plural)
	switch {
	case one.given() && many.given():
		hint := "keep one of them"
		if one.key != (Pos{}) {
			hint += fmt.Sprintf("; %s is at %s", s.singular, one.key)
		}
		d.wrongKeyf(many, hint, "both %s and %s are given", s.singular, s.plural)
		return nil
	case one.given() && one.kind == list:
		d.wrongf(one, "write "+s.plural, "%s is a list", s.singular)
		return nil
	case one.given():
		return d.identified(s, []*node{one})
	case !many.given():
		return nil
	case many.kind == list:
		return d.identified(s, many.items)
	case many.kind == mapping && s.byID && len(many.names) > maxEntries && !d.stored:
		d.wrongf(many, "", "there are more than %d %s", maxEntries, s.plural)
		return nil
	case many.kind == mapping && s.byID:
		var all []entry
		for _, id := range many.names {
			n := many.fields[id]
			if d.goodID(s.singular, id, n, n.key) {
				if inner := n.get("id"); inner.given() {
					if text, _ := inner.text(); text != id {
						d.judgef(inner, "leave it out, or write "+id, "the %s %s has another id within", s.singular, id)
					}
				}
				all = append(all, entry{id, n})
			}
		}
		return all
	default:
		what := "a list"
		if s.byID {
			what = "a list, or a mapping by id"
		}
		hint := ""
		if many.kind == mapping {
			hint = "write " + s.singular + " where there is one"
		}
		d.wrongf(many, hint, "%s must be %s, and is %s", s.plural, what, many.word())
		return nil
	}
}

// The most entries of a section, jobs of a workflow and endpoints of a listener.
const maxEntries = 1000

// identified gives each entry of a list its id. The only one needs none.
func (d *decoder) identified(s section, items []*node) []entry {
	if len(items) > maxEntries && !d.stored {
		d.wrongf(items[maxEntries], "", "there are more than %d %s", maxEntries, s.plural)
		return nil
	}
	var all []entry
	for _, n := range items {
		e := entry{n: n}
		switch id := n.get("id"); {
		case id.given():
			text, ok := d.words(id)
			if !ok || !d.goodID(s.singular, text, id, id.pos) {
				continue
			}
			e.id = text
		case len(items) == 1:
			e.id = DefaultID(s.singular)
		case n.kind == mapping:
			d.wrongf(n, "", "each of several %s needs an id", s.plural)
			continue
		}
		if first := slices.IndexFunc(all, func(o entry) bool { return o.id == e.id }); first >= 0 && e.id != "" {
			d.wrongf(n.get("id"), fmt.Sprintf("the first one is in line %d", all[first].n.place().Line), "the id %s is taken by another %s", e.id, s.singular)
			continue
		}
		all = append(all, e)
	}
	return all
}

// goodID holds ids to what can stand in expressions, subjects and invocation ids.
func (d *decoder) goodID(what, id string, n *node, pos Pos) bool {
	var message string
	switch {
	case id == "":
		message = "is empty"
	case d.stored:
		return true
	case len(id) > 128:
		message = "is longer than 128 bytes"
	case strings.IndexFunc(id, func(r rune) bool {
		return r <= ' ' || strings.ContainsRune(`/\:${}[]"'|*>#,`, r) || r == 0x7f || r == '.' && what != "workflow"
	}) >= 0:
		message = "holds more than letters, digits, _ and -"
	default:
		return true
	}
	d.report(&d.problems, pos, n.path, fmt.Sprintf("the %s's id %q %s", what, id, message), "")
	return false
}
