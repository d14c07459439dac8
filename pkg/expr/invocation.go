package expr

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
)

// site is where a function is called, for its messages.
type site struct {
	name string
	args []string // as written; "" where that is not short to say

	binary   bool // an operator between two operands
	function bool
}

// declare makes this package's functions known to expr-lang.
func declare(to conf.FunctionsTable) {
	add := func(name string, f func(...any) (any, error)) {
		to[name] = &builtin.Function{Name: name, Func: f, Validate: anyOutcome}
	}
	add(refFunc, func(args ...any) (any, error) {
		e := arg[*evaluation](args, 0)
		v, err := e.operands[arg[int](args, 1)].of.eval(e.scope)
		if err != nil {
			e.failed = err
		}
		return v, err
	})
	for name, f := range operators {
		add(name, func(args ...any) (any, error) {
			return f(&invocation{arg[*evaluation](args, 0), arg[*site](args, 1)}, args[2:])
		})
	}
	for name, f := range functions {
		add(name, func(args ...any) (any, error) {
			return f.apply(&invocation{arg[*evaluation](args, 0), arg[*site](args, 1)}, args[2:])
		})
	}
}

// anyOutcome is the type of every function: the rewriter counts arguments, and types are known only at run time.
func anyOutcome([]reflect.Type) (reflect.Type, error) { return reflect.TypeFor[any](), nil }

// invocation is one call of a function.
type invocation struct {
	*evaluation
	*site
}

// fail says that argument i is not what the function needs.
func (c *invocation) fail(i int, v any, needs string) error {
	which := c.arg(i)
	named := i < len(c.args) && c.args[i] != ""
	is, hint := KindOf(v), ""
	switch {
	case v == nil && named:
		instead := `""`
		switch {
		case strings.Contains(needs, "number"):
			instead = "0"
		case strings.HasPrefix(needs, "a list"):
			instead = "[]"
		case strings.HasPrefix(needs, "a map"):
			instead = "{}"
		}
		hint = "write (" + which + " ?? " + instead + ") for a default"
	case is == "a text" && strings.Contains(needs, "number"):
		hint = "int(…) and float(…) make a number of a text"
	}
	if v == nil && which != "null" {
		is = "missing or null"
	}
	return &mistake{fmt.Sprintf("%s is %s, but %s needs %s", which, is, c.title(), needs), hint}
}

// title is what messages call the operator or function.
func (s *site) title() string {
	if s.function {
		return s.name + "()"
	}
	return strconv.Quote(s.name)
}

// arg names argument i.
func (s *site) arg(i int) string {
	switch {
	case i < len(s.args) && s.args[i] != "":
		return s.args[i]
	case s.binary && i == 0:
		return "what stands to the left"
	case s.binary:
		return "what stands to the right"
	}
	return "argument " + strconv.Itoa(i+1)
}
