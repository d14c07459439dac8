package expr

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/switchbackhq/switchback/pkg/value"
)

type compiler struct {
	rules    Rules
	refs     []*Reference
	problems []Problem
}

func (c *compiler) value(v any, at []any) node {
	switch v := v.(type) {
	case string:
		return c.text(v, at)
	case []any:
		l, literal := make(list, len(v)), true
		for i, item := range v {
			l[i] = c.value(item, append(slices.Clip(at), i))
			_, isConst := l[i].(constant)
			literal = literal && isConst
		}
		if literal {
			return constant{v}
		}
		return l
	case map[string]any:
		m, literal := make(mapping, 0, len(v)), true
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n := c.value(v[k], append(slices.Clip(at), k))
			_, isConst := n.(constant)
			literal = literal && isConst
			m = append(m, entry{k, n})
		}
		if literal {
			return constant{v}
		}
		return m
	default:
		return constant{v}
	}
}

func (c *compiler) text(s string, at []any) node {
	if !strings.Contains(s, "${") {
		return constant{s}
	}
	var parts text
	rest, pos := s, 0
	var last *Reference
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			break
		}
		if i > 0 {
			parts = append(parts, constant{rest[:i]})
			if last != nil {
				last.Follow = rest[:i]
			}
		}
		end := strings.IndexByte(rest[i:], '}')
		if end < 0 {
			c.problems = append(c.problems, Problem{at, pos + i, "${ without }", "close it with }"})
			return constant{s}
		}
		var n node
		n, last = c.hole(rest[i+2:i+end], at, pos+i+2)
		parts = append(parts, n)
		pos += i + end + 1
		rest = s[pos:]
	}
	if rest != "" {
		parts = append(parts, constant{rest})
		if last != nil {
			last.Follow = rest
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return parts
}

func (c *compiler) hole(s string, at []any, offset int) (node, *Reference) {
	body, def, hasDefault := strings.Cut(s, "|")
	body = strings.TrimSpace(body)
	n := scanName(body)
	ref := &Reference{Source: body[:n], Text: body, At: at, Offset: offset}
	if _, ok := c.rules.Sources[ref.Source]; !ok {
		c.problems = append(c.problems, Problem{at, offset, "unknown source " + strconv.Quote(ref.Source), ""})
		return constant{}, nil
	}
	rest := body[n:]
	if strings.HasPrefix(rest, ":") {
		n = scanName(rest[1:])
		ref.Arg, rest = rest[1:1+n], rest[1+n:]
	}
	for strings.HasPrefix(rest, ".") {
		n = scanName(rest[1:])
		ref.Path = append(ref.Path, Step{Name: rest[1 : 1+n]})
		rest = rest[1+n:]
		if n == 0 {
			break
		}
	}
	if rest != "" {
		c.problems = append(c.problems, Problem{at, offset, "cannot read " + strconv.Quote(rest), ""})
		return constant{}, nil
	}
	c.refs = append(c.refs, ref)
	if !hasDefault {
		return path{ref}, ref
	}
	def = strings.TrimSpace(def)
	var d any = def
	if v, err := value.Decode([]byte(def)); err == nil {
		d = v
	}
	return fallback{path{ref}, constant{d}}, ref
}

// scanName gives the length of the name that s begins with.
func scanName(s string) int {
	n := 0
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			break
		}
		n += size
	}
	return n
}
