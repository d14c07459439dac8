package expr

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"

	"github.com/switchbackhq/switchback/pkg/value"
)

// function is a function of expr-lang. Arguments are checked before it is called, one letter each: t text, l list,
// m map, n number, i integer, v any value; those behind ? may be left out, the last one repeats before *.
type function struct {
	takes string
	call  operator // nil: expr-lang's own
}

// functions are those of expr-lang without a predicate. The ones written here keep every digit, bound what they
// make, or count characters where expr-lang counts bytes.
var functions = map[string]function{
	"len": {"v", length}, "type": {"v", typeOf}, "get": {"vv", member},
	"abs": {"n", abs}, "ceil": {"n", rounding(math.Ceil)}, "floor": {"n", rounding(math.Floor)}, "round": {"n", rounding(math.Round)},
	"int": {"v", toInt}, "float": {"v", toFloat}, "string": {"v", toString},
	"max": {"v*", extreme(func(c int) bool { return c > 0 })}, "min": {"v*", extreme(func(c int) bool { return c < 0 })},
	"mean": {"v*", mean}, "median": {"v*", median},

	"trim": {"t?t", nil}, "trimPrefix": {"t?t", nil}, "trimSuffix": {"t?t", nil},
	"upper": {"t", nil}, "lower": {"t", nil}, "hasPrefix": {"tt", nil}, "hasSuffix": {"tt", nil},
	"split": {"tt?i", split}, "splitAfter": {"tt?i", split}, "replace": {"ttt?i", replace}, "repeat": {"ti", repeat},
	"join": {"l?t", join}, "indexOf": {"tt", index(strings.Index)}, "lastIndexOf": {"tt", index(strings.LastIndex)},
	"toJSON": {"v", toJSON}, "fromJSON": {"t", fromJSON}, "toBase64": {"t", nil}, "fromBase64": {"t", nil},

	"now": {"?v", nil}, "duration": {"t", nil}, "date": {"v?vvv", nil}, "timezone": {"t", nil},

	"first": {"l", firstOf}, "last": {"l", lastOf}, "take": {"li", take}, "reverse": {"l", reverse},
	"uniq": {"l", uniq}, "concat": {"l*", concat}, "flatten": {"l", flatten}, "sort": {"l?t", sortList},
	"keys": {"m", keys}, "values": {"m", values}, "toPairs": {"m", toPairs}, "fromPairs": {"l", fromPairs},

	"bitand": {"ii", nil}, "bitor": {"ii", nil}, "bitxor": {"ii", nil}, "bitnand": {"ii", nil},
	"bitshl": {"ii", nil}, "bitshr": {"ii", nil}, "bitushr": {"ii", nil}, "bitnot": {"i", nil},
}

// predicates are expr-lang's functions that take an expression over each item.
func predicates(yield func(string) bool) {
	for _, f := range builtin.Builtins {
		if f.Predicate && !yield(f.Name) {
			return
		}
	}
}

func functionNames() []string {
	return slices.AppendSeq(slices.Collect(maps.Keys(functions)), predicates)
}

func isFunction(name string) bool {
	if _, ok := functions[name]; ok {
		return true
	}
	i, ok := builtin.Index[name]
	return ok && builtin.Builtins[i].Predicate
}

// count gives the least and the greatest number of arguments.
func (f function) count() (least, most int) {
	takes, repeats := strings.CutSuffix(f.takes, "*")
	must, may, _ := strings.Cut(takes, "?")
	if repeats {
		return len(must), math.MaxInt
	}
	return len(must), len(must) + len(may)
}

func (f function) arity() string {
	least, most := f.count()
	s := strconv.Itoa(least)
	switch {
	case most == math.MaxInt:
		s = "at least " + s
	case most == least+1:
		s += " or " + strconv.Itoa(most)
	case most > least:
		s += " to " + strconv.Itoa(most)
	}
	if s == "1" || strings.HasSuffix(s, " 1") {
		return s + " argument"
	}
	return s + " arguments"
}

// apply checks the arguments and calls the function.
func (f function) apply(c *invocation, args []any) (any, error) {
	takes := strings.ReplaceAll(f.takes, "?", "")
	if least, _ := f.count(); least == 0 && len(args) == 1 && args[0] == nil {
		args = nil // see rewriter.apply
	}
	for i := range args {
		t := takes[min(i, len(takes)-1)]
		if t == '*' {
			t = takes[len(takes)-2]
		}
		var err error
		if args[i], err = c.argument(i, t, args[i]); err != nil {
			return nil, err
		}
	}
	if f.call != nil {
		return f.call(c, args)
	}
	return c.own(args)
}

// arg gives an argument that argument has checked.
func arg[T any](a []any, i int) T {
	v, _ := a[i].(T)
	return v
}

func (c *invocation) argument(i int, takes byte, v any) (any, error) {
	switch takes {
	case 't':
		return c.text(i, v)
	case 'l':
		return c.list(i, v)
	case 'm':
		if _, ok := v.(map[string]any); !ok {
			return nil, c.fail(i, v, "a map")
		}
	case 'n':
		if !value.IsNumber(v) {
			return nil, c.fail(i, v, "a number")
		}
	case 'i':
		n, err := c.integer(i, v)
		return int(n), err
	}
	return v, nil
}

// own calls expr-lang's function.
func (c *invocation) own(args []any) (any, error) {
	f := builtin.Builtins[builtin.Index[c.name]]
	switch {
	case f.Fast != nil:
		return f.Fast(args[0]), c.growBy(args)
	case f.Safe != nil:
		v, _, err := f.Safe(args...)
		return v, err
	}
	v, err := f.Func(args...)
	if err != nil {
		return nil, &mistake{c.name + ": " + err.Error(), ""}
	}
	return v, c.growBy(args)
}

// growBy takes memory for a text made of the texts among args.
func (c *invocation) growBy(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok {
			if err := c.grow(2 * len(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// declareOnly keeps the library's other functions out, should a new version bring some.
func declareOnly(c *conf.Config) {
	for name := range c.Builtins {
		if !isFunction(name) {
			c.Disabled[name] = true
		}
	}
}
