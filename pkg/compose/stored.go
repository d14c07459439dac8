package compose

import (
	"slices"
	"strings"
)

// Stored reads a Document's Source that runs have begun with, perhaps under another version of the program. It refuses what is
// no document alone: nothing is judged, and what cannot be read is noted at its workflow, job or action, in Broken, or fails
// where the expression is evaluated. Unread has all of it.
func Stored(source []byte, env func(string) (string, bool)) (*Document, error) {
	d := newDecoder(env)
	d.stored = true
	var layers []*node
	if n := d.layer("", source); n != nil {
		layers = append(layers, n)
	}
	return d.finish(layers, nil, nil)
}

// piece is a part of a document that what is wrong in it keeps to.
type piece struct {
	path   string
	broken *string
}

func (p piece) holds(path string) bool {
	rest, ok := strings.CutPrefix(path, p.path)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// contain notes at each part of a stored document what cannot be carried out in it.
func (d *decoder) contain(doc *Document) {
	// Listeners, gateways and the controller are no matter of a run: they go by the file of today.
	outside := func(p Problem) bool {
		return slices.ContainsFunc([]string{"listener", "gateway", "controller"}, func(name string) bool { return strings.HasPrefix(p.Path, name) })
	}
	d.problems = slices.DeleteFunc(d.problems, outside)
	pieces := d.pieces(doc)
	for _, p := range d.problems {
		depth := -1
		for _, of := range pieces {
			if of.holds(p.Path) {
				depth = max(depth, len(of.path))
			}
		}
		for _, of := range pieces {
			if len(of.path) == depth && of.holds(p.Path) && *of.broken == "" {
				*of.broken = p.Path + ": " + p.Message
			}
		}
	}
	doc.Unread = ordered(slices.Concat(d.problems, slices.DeleteFunc(d.contained, outside)), d.files)
}

// pieces gives the parts of a document. What is wrong in a component is wrong in each of its actions.
func (d *decoder) pieces(doc *Document) []piece {
	var pieces []piece
	for _, w := range doc.Workflows {
		own := piece{d.placed[w].path, &w.Broken}
		for _, j := range w.Jobs {
			of := piece{d.jobs[j].n.path, &j.Broken}
			if pieces = append(pieces, of); of.path == own.path {
				own.broken = of.broken // the job is written right in the workflow: what sleeps goes on
			}
		}
		pieces = append(pieces, own)
	}
	for _, c := range doc.Components {
		for _, a := range c.Actions {
			if n := d.placed[a]; n != nil {
				pieces = append(pieces, piece{n.path, &a.Broken})
			}
			if n := d.placed[c]; n != nil {
				pieces = append(pieces, piece{n.path, &a.Broken})
			}
		}
	}
	return pieces
}
