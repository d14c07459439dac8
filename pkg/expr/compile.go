package expr

import (
	"maps"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/value"
)

// spread is the key, and in lists the beginning of an item, that puts another map's or list's content in place.
const spread = "..."

type compiler struct {
	rules    Rules
	refs     []*Reference
	problems []Problem
}

func (c *compiler) problem(at []any, offset int, message, hint string) {
	c.problems = append(c.problems, Problem{Path: at, Offset: offset, Message: message, Hint: hint})
}

func (c *compiler) value(v any, at []any) node {
	if len(at) > value.MaxDepth {
		c.problem(at[:8], 0, "maps and lists lie too deep in one another", "")
		return constant{}
	}
	switch v := v.(type) {
	case string:
		return c.text(v, at)
	case []any:
		return c.list(v, at)
	case map[string]any:
		return c.mapping(v, at)
	default:
		return constant{plain(v)}
	}
}

func (c *compiler) list(v []any, at []any) node {
	n := make(list, len(v))
	for i, item := range v {
		at := append(slices.Clip(at), i)
		if s, ok := item.(string); ok && strings.HasPrefix(s, spread+"${") {
			if of, whole := c.whole(s, len(spread), at); whole {
				n[i] = element{of: of, spread: true, name: s[len(spread):]}
				continue
			}
		}
		n[i] = element{of: c.value(item, at)}
	}
	return n.simplest()
}

func (c *compiler) mapping(v map[string]any, at []any) node {
	n := make(mapping, 0, len(v))
	if from, ok := v[spread]; ok {
		n = c.spreads(n, from, append(slices.Clip(at), spread))
	}
	for _, k := range slices.Sorted(maps.Keys(v)) {
		if k == spread {
			continue
		}
		at := append(slices.Clip(at), k)
		if before, _, found := strings.Cut(k, "${"); found && !strings.HasSuffix(before, "$") {
			c.problem(at, 0, "a key cannot hold ${…}: "+k, `spread a map instead: "...": ${fromPairs([[input.name, input.value]])}`)
		}
		n = append(n, entry{key: k, of: c.value(v[k], at)})
	}
	return n.simplest()
}

// spreads compiles what stands behind the key "...": a template or a list of them.
func (c *compiler) spreads(n mapping, v any, at []any) mapping {
	if l, ok := v.([]any); ok {
		for i, item := range l {
			n = append(n, entry{spread: true, of: c.value(item, append(slices.Clip(at), i)), name: name(item)})
		}
		return n
	}
	return append(n, entry{spread: true, of: c.value(v, at), name: name(v)})
}

// name is what a message calls a spread value.
func name(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return "the value"
}

// text compiles a string of the compose file.
func (c *compiler) text(s string, at []any) node {
	if !strings.Contains(s, "${") {
		return constant{s}
	}
	p := &parser{compiler: c, s: s, at: at}
	t := p.text(0, 0)
	if t.whole != nil {
		return t.whole
	}
	return t.node()
}

// whole compiles a string that is one ${…} from pos on; it is false, and nothing has been done, where the string is not.
func (c *compiler) whole(s string, pos int, at []any) (node, bool) {
	refs, problems := len(c.refs), len(c.problems)
	p := &parser{compiler: c, s: s, at: at}
	t := p.text(pos, 0)
	if t.whole == nil && len(c.problems) == problems {
		c.refs = c.refs[:refs]
		return nil, false
	}
	if t.whole == nil {
		return constant{}, true
	}
	return t.whole, true
}
