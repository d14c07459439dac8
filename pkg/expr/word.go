package expr

import (
	"slices"
	"strings"
)

// word reads a name within an expression: a keyword, a function, a key, a local name or a path.
func (x *scanner) word(i int) int {
	w := x.s[i : i+scanName(x.s[i:])]
	end := i + len(w)
	after := x.blanks(end)
	switch {
	case x.declares:
		return x.declare(i, w)
	case x.last == '{' && x.isKey(after), x.last == ',' && x.isKey(after) && x.inBraces():
		x.put(i, quote(w))
		x.ended = false
		return end
	}
	switch w {
	case "true", "false", "nil":
		x.copy(i, end)
		x.ended = true
		return end
	case "null":
		x.put(i, "nil")
		x.ended = true
		return end
	case "not", "and", "or", "in", "contains", "startsWith", "endsWith", "matches", "if", "else", "let":
		x.declares = w == "let"
		return x.operator(i, len(w))
	}
	switch {
	case w == "as" && x.ended:
		x.fail(i, "as stands behind all of a ${…}, not within it",
			"write ${ ${… as json}.name }, or call a function: fromJSON(…), int(…), float(…), string(…), toBase64(…)")
		return -1
	case x.locals[w]:
		x.copy(i, end)
		x.ended = true
		return end
	case after < len(x.s) && x.s[after] == '(':
		return x.function(i, w)
	}
	return x.source(i, w)
}

// isKey tells whether the colon of a map's key stands at i.
func (x *scanner) isKey(i int) bool {
	return strings.HasPrefix(x.s[i:], ":") && !strings.HasPrefix(x.s[i:], "::")
}

func (x *scanner) inBraces() bool {
	n := len(x.open)
	return n > 0 && x.s[x.open[n-1]] == '{'
}

// declare reads the name behind let.
func (x *scanner) declare(i int, w string) int {
	if _, known := x.rules.Sources[w]; known || strings.Contains(w, "-") || isFunction(w) {
		x.fail(i, "let cannot give the name "+w, "use letters, digits and _, and no name of a source or function")
		return -1
	}
	x.declares, x.locals[w] = false, true
	return x.operator(i, len(w))
}

func (x *scanner) function(i int, w string) int {
	if !isFunction(w) {
		hint := "functions are those of https://expr-lang.org/docs/language-definition"
		if n := nearest(w, slices.Values(functionNames())); n != "" {
			hint = "did you mean " + n + "?"
		}
		x.fail(i, "unknown function "+w, hint)
		return -1
	}
	x.varies = x.varies || w == "now"
	return x.operator(i, len(w))
}

// source reads a path.
func (x *scanner) source(i int, w string) int {
	problems := len(x.problems)
	ref, end := x.path(i)
	if ref != nil && strings.HasPrefix(x.s[end:], ":") && !x.asks && len(x.open) == 0 {
		x.fail(end, ref.Source+" takes no argument", "")
		return -1
	}
	if ref != nil {
		x.refs = append(x.refs, ref)
		x.tails = append(x.tails, ref)
		return x.operand(i, end, path{ref})
	}
	if len(x.problems) > problems {
		return -1
	}
	hint := x.sourceHint(w)
	if isFunction(w) {
		hint = "a function is called: " + w + "(…)"
	}
	x.fail(i, "unknown source "+w, hint)
	// Go on behind the path, for further problems.
	for end = i + len(w); ; {
		before := len(x.problems)
		_, next, ok := x.step(end)
		x.problems = x.problems[:before]
		if !ok || next == end {
			break
		}
		end = next
	}
	return x.operand(i, end, constant{})
}
