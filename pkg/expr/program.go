package expr

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	lang "github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	langparser "github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/switchbackhq/switchback/pkg/fault"
)

const (
	// maxItems bounds the lists that one evaluation makes, in items; it is expr-lang's own budget.
	maxItems = 1 << 20
	// maxBytes bounds the texts and results that one evaluation makes.
	maxBytes = 64 << 20
	// itemSize is about what an item of a list takes.
	itemSize = 32
	// maxNodes bounds the size of an expression as compiled.
	maxNodes = 20_000
	// maxSteps bounds how long one evaluation goes through lists: about a second.
	maxSteps = 2_000_000
)

var (
	errTooLarge  = errors.New("the outcome would be larger than 64 MiB")
	errTooDeep   = errors.New("lists and maps would lie too deep in one another")
	errTooLong   = errors.New("the expression goes through its lists more than two million times")
	errNotFinite = errors.New("the outcome is no number")
)

// program is an expression compiled by expr-lang.
type program struct {
	code     *vm.Program
	operands []operand
	name     string // the expression as written
}

// evaluation is the environment of one run of a program: $env within it.
type evaluation struct {
	scope    Scope
	operands []operand
	grown    int
	steps    int
	failed   error // what an operand answered
}

// grow takes n bytes of the evaluation's memory.
func (e *evaluation) grow(n int) error {
	if e.grown += n; e.grown > maxBytes || n < 0 {
		return errTooLarge
	}
	return nil
}

// step counts n rounds of work.
func (e *evaluation) step(n int) error {
	if e.steps += n; e.steps > maxSteps {
		return errTooLong
	}
	return nil
}

func (n *program) eval(s Scope) (any, error) {
	e := &evaluation{scope: s, operands: n.operands}
	v, err := e.run(n.code)
	switch {
	case err == nil:
		return v, nil
	case e.failed != nil:
		return nil, fmt.Errorf("%s: %w", n.name, e.failed)
	}
	message, hint := explain(err)
	return nil, fault.New(fault.Unusable, n.name+": "+message, hint)
}

func (e *evaluation) run(code *vm.Program) (any, error) {
	machine := vm.VM{MemoryBudget: maxItems}
	v, err := machine.Run(code, e)
	if err != nil {
		return nil, err
	}
	v, _, err = settle(v, e.grow, 0)
	return v, err
}

// mistake is what the functions of this package answer.
type mistake struct{ message, hint string }

func (m *mistake) Error() string { return m.message }

// explain says what went wrong in an evaluation in words that fit this language.
func explain(err error) (message, hint string) {
	var m *mistake
	if errors.As(err, &m) {
		return m.message, m.hint
	}
	var located *file.Error
	if !errors.As(err, &located) {
		return err.Error(), ""
	}
	return reword(located.Message), ""
}

const errOperator = "an operator is missing before this"

var (
	unexpected = regexp.MustCompile(`^unexpected token (\w+)(?:\("(.*)"\))?`)
	refCall    = regexp.MustCompile(` ?\b` + refFunc + `\(\$env,\d+\) ?`)
)

// operatorHints say what is meant by operators that other languages have.
var operatorHints = map[string]string{
	"unexpected =": "write == to compare", "unexpected &": "write && for and",
}

// reword puts expr-lang's messages into this language's words.
func reword(message string) string {
	if m := unexpected.FindStringSubmatch(message); m != nil {
		switch m[1] {
		case "EOF":
			return "something is missing at the end of the expression"
		case "String", "Number", "Identifier":
			return errOperator
		}
		return "unexpected " + m[2]
	}
	if strings.Contains(message, "memory budget exceeded") {
		return "the expression makes lists of more than a million items"
	}
	return refCall.ReplaceAllString(message, "…")
}

// compile hands the expression that has been read to expr-lang. end is where it ends in the string.
func (x *scanner) compile(end int) node {
	source := x.out.String()
	if strings.TrimSpace(source) == "" {
		x.fail(x.start, "there is nothing before this", "name what to read, as in ${input.name}")
		return constant{}
	}
	if tree, err := langparser.Parse(source); err == nil {
		n := new(counter)
		if ast.Walk(&tree.Node, n); n.nodes > maxNodes {
			x.fail(x.start, "the expression is too large", "take it apart into several templates")
			return constant{}
		}
	}
	r := &rewriter{operands: x.operands, done: map[astNode]astNode{}}
	code, err := lang.Compile(source,
		lang.Env(evaluation{}), lang.Optimize(false), lang.Patch(r),
		func(c *conf.Config) { declare(c.Functions); declareOnly(c) })
	name := "${" + short(strings.TrimSpace(x.s[x.start:end])) + "}"
	switch {
	case r.failed != nil:
		x.fail(x.position(source, r.at.From, end), r.failed.message, r.failed.hint)
		return constant{}
	case err != nil:
		x.explain(source, err, end)
		return constant{}
	}
	if len(x.operands) > 0 || x.varies {
		return &program{code: code, operands: x.operands, name: name}
	}
	v, err := new(evaluation).run(code)
	if err != nil {
		x.explain(source, err, end)
	}
	return constant{v}
}

// counter counts the nodes of a tree as expr-lang goes through them: a < b < c and a ?: b hold nodes twice, which
// doubles the work in each level of nesting. Past the limit it cuts the tree, so that counting ends.
type counter struct{ nodes int }

// Visit is called for each node after its children.
func (c *counter) Visit(node *ast.Node) {
	if c.nodes++; c.nodes > maxNodes {
		*node = &ast.NilNode{}
	}
}

// short cuts what messages quote.
func short(s string) string {
	const most = 100
	n := 0
	for i := range s {
		if n == most {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// explain makes a problem of what went wrong in expr-lang.
func (x *scanner) explain(source string, err error, end int) {
	message, hint := explain(err)
	at := x.start
	var located *file.Error
	if errors.As(err, &located) {
		at = x.position(source, located.From, end)
		switch {
		case strings.Contains(located.Message, "token EOF"):
			at = end
		case message == "unexpected #":
			message = "unexpected " + x.s[at:at+1]
		case message == errOperator:
			hint = "put blanks on both sides of an operator; a text stands in quotes"
		default:
			hint = cmp.Or(operatorHints[message], hint)
		}
	}
	x.fail(at, message, hint)
}

// position gives the byte in the string of a character of what expr-lang was given.
func (x *scanner) position(source string, char, end int) int {
	at := len(source)
	for i := range source {
		if char == 0 {
			at = i
			break
		}
		char--
	}
	for _, m := range slices.Backward(x.marks) {
		if m.out > at {
			continue
		}
		if m.copied {
			return min(m.in+at-m.out, end)
		}
		return m.in
	}
	return x.start
}
