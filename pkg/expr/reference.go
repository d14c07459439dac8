package expr

import (
	"strconv"
	"strings"
)

// Reference is one path that a template reads: ${jobs.fetch.output.url} or ${gateway:8090.public_url}.
type Reference struct {
	Source string // jobs, gateway
	Arg    string // 8090: what stands behind the source's colon
	Path   Path   // fetch, output, url
	Text   string // the path as written

	// Follow is the literal text that follows the ${…} directly within the same string, up to the next ${:
	// "/webhooks/done" in "${gateway:8090.public_url}/webhooks/done".
	Follow string

	// At leads to the string that holds the reference, within the compiled value: map keys and list indexes.
	At []any
	// Offset is the byte in that string where the path begins.
	Offset int
}

// Path is what follows the source: .output.items[0]["odd key"].
type Path []Step

// Step is one step of a path.
type Step struct {
	Name  string // of kind Name
	Index int    // of kind Index; -1 is the last
	Kind  StepKind
}

// StepKind is what a step selects.
type StepKind uint8

// The kinds of steps.
const (
	Name  StepKind = iota // .name or ["name"]: a map's value
	Index                 // [0] or [-1]: a list's item
	All                   // [*]: the rest of the path for every item of a list
)

// String writes the path as it stands behind a source.
func (p Path) String() string {
	var b strings.Builder
	for _, s := range p {
		switch s.Kind {
		case Index:
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		case All:
			b.WriteString("[*]")
		default:
			if n := scanName(s.Name); n > 0 && n == len(s.Name) && !strings.HasSuffix(s.Name, "-") {
				b.WriteString("." + s.Name)
			} else {
				b.WriteString("[" + strconv.Quote(s.Name) + "]")
			}
		}
	}
	return b.String()
}

// Walk follows a path into a value. What is not there, or is not of the kind that a step needs, is nil.
// [*] gives a list of what the rest of the path finds in every item.
func Walk(v any, p Path) any {
	for i, s := range p {
		switch s.Kind {
		case Name:
			m, ok := v.(map[string]any)
			if !ok {
				return nil
			}
			v = m[s.Name]
		case Index:
			l, ok := v.([]any)
			at := s.Index
			if at < 0 {
				at += len(l)
			}
			if !ok || at < 0 || at >= len(l) {
				return nil
			}
			v = l[at]
		case All:
			l, ok := v.([]any)
			if !ok {
				return nil
			}
			return project(l, p[i+1:])
		}
	}
	return v
}

func project(l []any, rest Path) any {
	out := make([]any, 0, len(l))
	for _, item := range l {
		out = append(out, Walk(item, rest))
	}
	return out
}
