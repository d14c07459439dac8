package expr

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/switchbackhq/switchback/pkg/value"
)

// maxExpression bounds the length of one expression.
const maxExpression = 16 << 10

// scanner reads an expression with operators. Paths, and what else is ours, become calls of ref, numbered; all
// the rest is handed to expr-lang as it stands.
type scanner struct {
	*parser
	start    int
	out      strings.Builder
	marks    []mark
	operands []operand
	tails    []*Reference
	locals   map[string]bool // declared by let
	open     []int           // positions of brackets that are not closed
	// ended tells that the last token ended an operand; last is its first byte.
	ended    bool
	last     byte
	declares bool // the last token was let
	asks     bool // there is a ?, which a : may belong to
	varies   bool // the outcome depends on more than the operands
}

// mark says where in the string a piece of the output comes from.
type mark struct {
	out, in int
	copied  bool
}

// operand is what a call of ref evaluates.
type operand struct {
	of   node
	name string // for messages
}

// expression reads an expression at i and compiles it.
func (p *parser) expression(i int) (node, int, []*Reference) {
	problems := len(p.problems)
	x := &scanner{parser: p, start: i, locals: map[string]bool{}}
	end := x.scan(i)
	if len(p.problems) > problems {
		return constant{}, end, nil
	}
	if n := len(x.open); n > 0 {
		at := x.open[n-1]
		p.fail(at, p.s[at:at+1]+" is not closed", "")
		return constant{}, end, nil
	}
	if end-i > maxExpression {
		p.fail(i, "the expression is longer than 16 KiB", "")
		return constant{}, end, nil
	}
	if end >= len(p.s) {
		return constant{}, end, nil // the caller says that } is missing
	}
	return x.compile(end), end, x.tails
}

// scan goes through the expression to its end: }, a single |, or as.
func (x *scanner) scan(i int) int {
	for i < len(x.s) {
		rest, c := x.s[i:], x.s[i]
		switch {
		case isBlank(c):
			x.copy(i, i+1)
			i++
			continue
		case c == '}' && len(x.open) == 0:
			return i
		case c == '|' && len(x.open) == 0 && !strings.HasPrefix(rest, "||"):
			return i
		case x.ended && len(x.open) == 0 && x.keywordAs(i):
			return i
		}
		next := x.token(i, rest, c)
		if next < 0 {
			return i
		}
		x.last, i = c, next
	}
	return i
}

// token reads one token and gives the position behind it, -1 where reading on makes no sense.
func (x *scanner) token(i int, rest string, c byte) int {
	switch {
	case c == '"' || c == '\'':
		return x.quotedText(i)
	case c == '`':
		return x.rawText(i)
	case c >= '0' && c <= '9', c == '.' && !x.ended && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		return x.number(i)
	case strings.HasPrefix(rest, "${"):
		return x.nested(i)
	case c == '(' || c == '[' || c == '{':
		x.open = append(x.open, i)
		return x.operator(i, 1)
	case c == ')' || c == ']' || c == '}':
		return x.closing(i, c)
	case strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "/*"):
		x.fail(i, "an expression holds no comments", "put a text into quotes; divide with one / and blanks around it")
		return -1
	case strings.HasPrefix(rest, ".."), strings.HasPrefix(rest, "??"), strings.HasPrefix(rest, "||"):
		return x.operator(i, 2)
	case c == '.':
		return x.member(i, i+1)
	case strings.HasPrefix(rest, "?.["):
		x.open = append(x.open, i+2)
		x.copy(i+2, i+3)
		x.ended = false
		return i + 3
	case strings.HasPrefix(rest, "?.") && scanName(rest[2:]) > 0:
		return x.member(i, i+2)
	case c == '#':
		n := 1 + scanName(rest[1:])
		x.copy(i, i+n)
		x.ended = true
		return i + n
	case c != '-' && scanName(rest) > 0:
		return x.word(i)
	case c == '?':
		x.asks = true
	case c == '$':
		x.fail(i, "a $ stands alone", "a path is written without it: input.name")
		return -1
	}
	_, n := utf8.DecodeRuneInString(rest)
	return x.operator(i, n)
}

func (x *scanner) operator(i, n int) int {
	x.copy(i, i+n)
	x.ended = false
	return i + n
}

func (x *scanner) closing(i int, c byte) int {
	n := len(x.open)
	if n == 0 || strings.IndexByte("([{", x.s[x.open[n-1]]) != strings.IndexByte(")]}", c) {
		if n > 0 {
			at := x.open[n-1]
			x.fail(at, x.s[at:at+1]+" is not closed", "")
		} else {
			x.fail(i, string(c)+" closes nothing", "")
		}
		return -1
	}
	x.open = x.open[:n-1]
	x.copy(i, i+1)
	x.ended = true
	return i + 1
}

// copy hands a piece of the string to expr-lang as it stands.
func (x *scanner) copy(from, to int) {
	if n := len(x.marks); n == 0 || !x.marks[n-1].copied || x.marks[n-1].in+x.out.Len()-x.marks[n-1].out != from {
		x.marks = append(x.marks, mark{out: x.out.Len(), in: from, copied: true})
	}
	x.out.WriteString(x.s[from:to])
}

// put writes something else in the place of what stands at i.
func (x *scanner) put(i int, text string) {
	x.marks = append(x.marks, mark{out: x.out.Len(), in: i})
	x.out.WriteString(text)
}

// operand puts the value of a node in the place of what stands from i to end.
func (x *scanner) operand(i, end int, of node) int {
	x.put(i, " "+refFunc+"($env,"+strconv.Itoa(len(x.operands))+") ")
	x.operands = append(x.operands, operand{of: of, name: x.s[i:end]})
	x.ended = true
	return end
}

func (x *scanner) nested(i int) int {
	if x.ended {
		x.fail(i, "an operator is missing before ${", "")
		return -1
	}
	problems := len(x.problems)
	n, end, tails := x.hole(i)
	x.tails = append(x.tails, tails...)
	if len(x.problems) > problems {
		return -1
	}
	return x.operand(i, end, n)
}

// quotedText reads a quoted text; one with ${…} in it is an operand.
func (x *scanner) quotedText(i int) int {
	problems := len(x.problems)
	t := x.text(i+1, x.s[i])
	switch {
	case len(x.problems) > problems:
		return -1
	case !t.ok:
		x.fail(i, "the text that begins here does not end", "add the closing "+x.s[i:i+1])
		return -1
	}
	n := t.node()
	c, literal := n.(constant)
	if !literal {
		x.tails = append(x.tails, t.tails...)
		return x.operand(i, t.end+1, n)
	}
	x.put(i, quote(c.text()))
	x.ended = true
	return t.end + 1
}

// quote writes a text the way expr-lang reads it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\x`)
			b.WriteString(string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func (x *scanner) rawText(i int) int {
	for end := i + 1; end < len(x.s); end++ {
		if x.s[end] != '`' {
			continue
		}
		if end+1 < len(x.s) && x.s[end+1] == '`' {
			end++
			continue
		}
		x.copy(i, end+1)
		x.ended = true
		return end + 1
	}
	x.fail(i, "the text that begins here does not end", "add the closing `")
	return -1
}

// number reads a number. One that neither int64 nor float64 keeps becomes an operand.
func (x *scanner) number(i int) int {
	end := i
	for end < len(x.s) {
		c := x.s[end]
		sign := (c == '+' || c == '-') && (x.s[end-1] == 'e' || x.s[end-1] == 'E') && !strings.HasPrefix(x.s[i:], "0x")
		point := c == '.' && !strings.HasPrefix(x.s[end:], "..")
		if !sign && !point && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		end++
	}
	if v, err := value.Number(x.s[i:end]); err == nil {
		if _, kept := v.(json.Number); kept {
			return x.operand(i, end, constant{v})
		}
	}
	x.copy(i, end)
	x.ended = true
	return end
}

// member reads .name behind an operand, or in a predicate the short form of #.name.
func (x *scanner) member(i, at int) int {
	n := scanName(x.s[at:])
	switch {
	case n == 0:
		x.fail(at, "a name is missing behind the dot", `other keys are written ["…"]`)
		return -1
	case x.s[at+n-1] == '-':
		x.fail(at+n-1, "a - belongs to the name that it touches", "put blanks on both sides of an operator")
		return -1
	case strings.HasPrefix(x.s[at+n:], "("):
		x.copy(i, at+n)
		x.ended = false
		return at + n
	}
	if !x.ended {
		x.put(i, "#")
	}
	x.put(i, "["+quote(x.s[at:at+n])+"]")
	x.ended = true
	return at + n
}
