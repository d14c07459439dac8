package expr

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds ${…} within ${…}.
const maxNesting = 50

// parser reads one string of the compose file. Positions are bytes in it.
type parser struct {
	*compiler
	s     string
	at    []any
	depth int
}

func (p *parser) fail(pos int, message, hint string) {
	p.problem(p.at, pos, message, hint)
}

// parsed is a text with ${…} in it.
type parsed struct {
	parts text
	whole node // set where the text is exactly one ${…}
	end   int  // where reading stopped: at the stop byte or the end of the string
	ok    bool // the stop byte was found
	words bool // the last part is literal text, not a ${…}
	// tails are the references that whatever follows the text follows directly.
	tails []*Reference
}

// node is the text as one part; what is literal all through is put together here and now.
func (t *parsed) node() node {
	for _, part := range t.parts {
		if _, ok := part.(constant); !ok {
			return t.parts
		}
	}
	v, err := t.parts.eval(nil)
	if err != nil {
		return t.parts
	}
	return constant{v}
}

// text reads text from pos up to the byte stop, or to the end of the string where stop is 0. Within quotes, stop
// being the quote, backslashes escape as in Go.
func (p *parser) text(pos int, stop byte) parsed {
	var t parsed
	var literal strings.Builder
	flush := func() {
		if literal.Len() == 0 {
			return
		}
		for _, r := range t.tails {
			r.Follow += literal.String()
		}
		t.parts, t.words = append(t.parts, constant{literal.String()}), true
		literal.Reset()
	}
	holes := 0
	i := pos
	for i < len(p.s) {
		c := p.s[i]
		switch {
		case stop != 0 && c == stop:
			t.ok = true
		case stop == '}' && c == '|':
			p.fail(i, errSecondDefault, hintSecondDefault)
			t.end = i
			return t
		case strings.HasPrefix(p.s[i:], "$${"):
			literal.WriteString("${")
			i += 3
			continue
		case strings.HasPrefix(p.s[i:], "${"):
			flush()
			n, end, tails := p.hole(i)
			t.parts, t.tails, t.words = append(t.parts, n), tails, false
			holes++
			i = end
			continue
		case c == '\\' && (stop == '"' || stop == '\''):
			i = p.escape(&literal, i, stop)
			continue
		default:
			literal.WriteByte(c)
			i++
			continue
		}
		break
	}
	flush()
	t.end, t.ok = i, t.ok || stop == 0
	if len(t.parts) == 1 && holes == 1 {
		t.whole = t.parts[0]
	}
	return t
}

// escape reads a backslash and what belongs to it within quotes.
func (p *parser) escape(to *strings.Builder, i int, quote byte) int {
	r, wide, rest, err := strconv.UnquoteChar(p.s[i:], quote)
	if err != nil {
		p.fail(i, `an unknown escape after \`, `a backslash itself is written \\`)
		to.WriteByte('\\')
		return i + 1
	}
	if !wide && r >= utf8.RuneSelf {
		to.WriteByte(byte(r)) // not wide: one byte, as \xff gives
	} else {
		to.WriteRune(r)
	}
	return len(p.s) - len(rest)
}

// hole reads a ${…} at pos. It gives the position behind it, and the references that what follows it follows.
func (p *parser) hole(pos int) (n node, end int, tails []*Reference) {
	problems := len(p.problems)
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNesting {
		p.fail(pos, "${…} lies too deep in one another", "")
		return constant{}, len(p.s), nil
	}
	i := p.blanks(pos + 2)
	if i < len(p.s) && p.s[i] == '}' {
		p.fail(pos, "there is nothing within ${ }", "name what to read, as in ${input.name}, or write $${ for a literal ${")
		return constant{}, i + 1, nil
	}
	if end := p.doubled(pos, i); end > 0 {
		return constant{}, end, nil
	}
	n, i, tails = p.operand(i)
	if len(p.problems) == problems {
		n, i, tails = p.ending(n, pos, i, tails)
	}
	if len(p.problems) > problems {
		return constant{}, p.recover(pos, i), nil
	}
	if i >= len(p.s) {
		p.fail(pos, "${ is not closed", "add the }, or write $${ for a literal ${")
		return constant{}, len(p.s), nil
	}
	return n, i + 1, tails
}

// doubled reports ${{ … }}, as other languages have it, and gives the position behind it; 0 where there is a map.
func (p *parser) doubled(pos, i int) int {
	if i != pos+2 || i >= len(p.s) || p.s[i] != '{' {
		return 0
	}
	from := p.blanks(i + 1)
	problems := len(p.problems)
	ref, behind := p.path(from)
	p.problems = p.problems[:problems]
	end := strings.Index(p.s[from:], "}}")
	if ref == nil || end < 0 || strings.HasPrefix(p.s[p.blanks(behind):], ":") {
		return 0
	}
	within := strings.TrimSpace(p.s[from : from+end])
	p.fail(i, "an expression stands in one pair of braces", "write ${"+short(within)+"}")
	return from + end + 2
}

// recover gives where to go on after a ${ at pos that went wrong at i.
func (p *parser) recover(pos, i int) int {
	i = max(pos+2, min(i, len(p.s)))
	if end := strings.IndexByte(p.s[i:], '}'); end >= 0 {
		return i + end + 1
	}
	return len(p.s)
}

// operand reads what comes first within ${…}: a path, or failing that an expression.
func (p *parser) operand(i int) (node, int, []*Reference) {
	refs, problems := len(p.refs), len(p.problems)
	if ref, end := p.path(i); ref != nil {
		if k := p.blanks(end); p.ends(k) || p.keywordAs(k) {
			p.refs = append(p.refs, ref)
			return path{ref}, k, []*Reference{ref}
		}
	}
	p.refs, p.problems = p.refs[:refs], p.problems[:problems]
	return p.expression(i)
}

// ends tells whether the operand of a ${…} is over at i: there is }, or | but not ||, or nothing.
func (p *parser) ends(i int) bool {
	return i >= len(p.s) || p.s[i] == '}' || p.s[i] == '|' && !strings.HasPrefix(p.s[i:], "||")
}

// keywordAs tells whether the word "as" stands at i.
func (p *parser) keywordAs(i int) bool {
	return strings.HasPrefix(p.s[i:], "as") && scanName(p.s[i:]) == len("as")
}

// ending reads what may follow the operand: as TYPE, defaults, as TYPE. A conversion applies to the defaults too.
func (p *parser) ending(n node, pos, i int, tails []*Reference) (node, int, []*Reference) {
	problems := len(p.problems)
	values, places := []node{n}, []int{pos}
	first, i := p.as(i)
	for i < len(p.s) && p.s[i] == '|' && len(p.problems) == problems {
		if neverNull(values[len(values)-1]) && len(values) > 1 {
			p.fail(i, errSecondDefault, hintSecondDefault)
			break
		}
		at := p.blanks(i + 1)
		d, end, more := p.defaultAt(at)
		values, places, tails = append(values, d), append(places, at), append(tails, more...)
		i = end
	}
	second, i := p.as(i)
	if len(p.problems) == problems && !p.ends(i) {
		p.fail(i, "nothing may stand behind a conversion but a default or }", "to go on with the value, write ${ ${… as number} + 1 }")
	}
	if len(p.problems) > problems {
		return n, i, nil
	}
	name := short(p.s[pos:min(i+1, len(p.s))])
	for k := range values {
		values[k] = p.convert(values[k], first, name, places[k])
		values[k] = p.convert(values[k], second, name, places[k])
	}
	n = values[len(values)-1]
	for k := len(values) - 2; k >= 0; k-- {
		n = fallback{of: values[k], instead: n}
	}
	return n, i, tails
}

// convert applies a conversion to a value or default at pos; a literal is converted here and now.
func (p *parser) convert(n node, to conversion, name string, pos int) node {
	c, literal := n.(constant)
	switch {
	case to == "" || literal && c.v == nil:
		return n
	case !literal:
		return converted{of: n, to: to, name: name}
	}
	v, err := convert(c.v, to)
	if err != nil {
		p.fail(pos, "this is "+err.Error(), "")
	}
	return constant{v}
}

const (
	errSecondDefault  = "a second default, behind one that is never null"
	hintSecondDefault = `put a text with | in it into quotes: | "…"; another source is given as ${…}`
)

// neverNull tells whether a default gives something whatever happens.
func neverNull(n node) bool {
	switch n := n.(type) {
	case constant:
		return n.v != nil
	case text:
		return true
	}
	return false
}

// as reads "as TYPE" at i, if it is there.
func (p *parser) as(i int) (conversion, int) {
	i = p.blanks(i)
	if !p.keywordAs(i) {
		return "", i
	}
	at := p.blanks(i + 2)
	n := scanName(p.s[at:])
	t := conversion(p.s[at : at+n])
	switch {
	case t == "":
		p.fail(at, "a conversion is missing behind as", t.hint())
	case !t.known():
		p.fail(at, "unknown conversion "+strconv.Quote(string(t)), t.hint())
	}
	return t, p.blanks(at + n)
}

func (p *parser) blanks(i int) int {
	for i < len(p.s) && isBlank(p.s[i]) {
		i++
	}
	return i
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
