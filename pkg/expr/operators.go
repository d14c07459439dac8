package expr

import (
	"cmp"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm/runtime"

	"github.com/switchbackhq/switchback/pkg/value"
)

type operator = func(c *invocation, a []any) (any, error)

// operators are this package's own, by the name that the rewriter gives them.
var operators = map[string]operator{
	"+":  operatorAdd,
	"-":  arithmetic(subtract, func(a, b float64) float64 { return a - b }, runtime.Subtract),
	"*":  arithmetic(multiply, func(a, b float64) float64 { return a * b }, runtime.Multiply),
	"/":  operatorDivide,
	"%":  arithmetic(modulo, nil, nil),
	"^":  arithmetic(power, math.Pow, nil),
	"<":  ordering(func(c int) bool { return c < 0 }),
	"<=": ordering(func(c int) bool { return c <= 0 }),
	">":  ordering(func(c int) bool { return c > 0 }),
	">=": ordering(func(c int) bool { return c >= 0 }),

	"==":         func(c *invocation, a []any) (any, error) { return c.equal(a[0], a[1]) },
	"!=":         unequal,
	"in":         operatorIn,
	"contains":   overText(strings.Contains),
	"startsWith": overText(strings.HasPrefix),
	"endsWith":   overText(strings.HasSuffix),
	"matches":    matches,
	"..":         interval,

	memberFunc: member,
	sliceFunc:  slice,
	truthFunc:  truth,
	listFunc:   func(c *invocation, a []any) (any, error) { return c.list(0, a[0]) },
	keyFunc:    key,
	methodFunc: method,
	stepFunc:   func(c *invocation, a []any) (any, error) { return a[0], c.step(1) },
	negateFunc: negate,
	plusFunc:   unaryPlus,
	"?sum":     func(c *invocation, a []any) (any, error) { return sum(c, arg[[]any](a, 1)) },
	"?sortBy":  sortBy,
	"?groupBy": groupBy,
}

func (c *invocation) equal(a, b any) (bool, error) {
	// Small lists of large lists unfold: settle bounds that.
	for _, v := range []*any{&a, &b} {
		switch (*v).(type) {
		case []any, map[string]any:
			var err error
			if *v, _, err = settle(*v, c.grow, 0); err != nil {
				return false, err
			}
		}
	}
	return value.Equal(a, b), nil
}

func unequal(c *invocation, a []any) (any, error) {
	equal, err := c.equal(a[0], a[1])
	return !equal, err
}

func operatorDivide(c *invocation, a []any) (any, error) {
	if y, ok, _ := toNum(a[1]); ok && y.is == isFloat && y.f == 0 {
		return nil, errZero
	}
	return arithmetic(divide, func(a, b float64) float64 { return a / b }, nil)(c, a)
}

func ordering(holds func(int) bool) operator {
	return func(c *invocation, a []any) (any, error) {
		order, err := c.compare(a[0], a[1])
		return holds(order), err
	}
}

// compare orders two numbers, texts, times or durations.
func (c *invocation) compare(a, b any) (int, error) {
	switch x := a.(type) {
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y), nil
		}
	case time.Duration:
		if y, ok := b.(time.Duration); ok {
			return cmp.Compare(x, y), nil
		}
	}
	if order, ok := value.Compare(a, b); ok {
		return order, nil
	}
	for i, v := range []any{a, b} {
		other := [2]any{b, a}[i]
		switch _, text := v.(string); {
		case value.IsNumber(v) || isTime(v):
		case text && !value.IsNumber(other):
		case text:
			return 0, c.fail(i, v, "numbers on both sides, or texts")
		default:
			return 0, c.fail(i, v, "numbers or texts")
		}
	}
	return 0, c.fail(0, a, "two values of one kind")
}

func operatorIn(c *invocation, a []any) (any, error) {
	switch of := a[1].(type) {
	case nil:
		return false, nil
	case map[string]any:
		k, ok := keyText(a[0])
		if ok {
			_, ok = of[k]
		}
		return ok, nil
	case string:
		return nil, &mistake{"in looks into lists and maps, not into texts", "write TEXT contains PART"}
	}
	l, err := c.list(1, a[1])
	if err != nil {
		return nil, err
	}
	if err := c.step(len(l)); err != nil {
		return nil, err
	}
	for _, v := range l {
		if equal, err := c.equal(v, a[0]); equal || err != nil {
			return equal, err
		}
	}
	return false, nil
}

// keyText gives the key of a map that v stands for: a text, a number, true or false.
func keyText(v any) (string, bool) {
	switch v.(type) {
	case nil, []any, map[string]any:
		return "", false
	}
	return value.Text(plain(v)), true
}

// overText makes an operator over two texts; it is false where either is null.
func overText(f func(s, t string) bool) operator {
	return func(c *invocation, a []any) (any, error) {
		if a[0] == nil || a[1] == nil {
			return false, nil
		}
		if _, ok := a[0].([]any); ok && c.name == "contains" {
			return nil, &mistake{"contains looks into texts, not into lists", "write ITEM in LIST"}
		}
		s, err := c.text(0, a[0])
		if err != nil {
			return nil, err
		}
		t, err := c.text(1, a[1])
		if err == nil {
			err = c.step(1 + len(s)/64)
		}
		return f(s, t), err
	}
}

func matches(c *invocation, a []any) (any, error) {
	re, ok := a[1].(*regexp.Regexp)
	if a[0] == nil || a[1] == nil {
		return false, nil
	}
	s, err := c.text(0, a[0])
	if err != nil {
		return nil, err
	}
	if !ok {
		pattern, err := c.text(1, a[1])
		if err != nil {
			return nil, err
		}
		if re, err = regexp.Compile(pattern); err != nil {
			return nil, &mistake{"the pattern cannot be read: " + err.Error(), "patterns are regular expressions as in Go (RE2)"}
		}
	}
	return re.MatchString(s), c.step(1 + len(s)/8)
}

// interval makes the list from..to.
func interval(c *invocation, a []any) (any, error) {
	from, err := c.integer(0, a[0])
	if err != nil {
		return nil, err
	}
	to, err := c.integer(1, a[1])
	if err != nil {
		return nil, err
	}
	if to < from {
		return []any{}, nil
	}
	if n := to - from; n < 0 || n >= maxItems { // below zero: out of an int64's range
		return nil, &mistake{"the range has more than a million items", ""}
	}
	l := make([]any, 0, to-from+1)
	if err := c.grow(itemSize * cap(l)); err != nil {
		return nil, err
	}
	for i := from; ; i++ {
		if l = append(l, i); i == to {
			return l, nil
		}
	}
}

// member reads x.name and x[key]; what is not there is null.
func member(_ *invocation, a []any) (any, error) {
	switch of := a[0].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		if k, ok := keyText(a[1]); ok {
			return of[k], nil
		}
		return nil, nil
	case []any:
		if i, ok := whole(a[1]); ok {
			if i, ok := i.(int64); ok && i >= -int64(len(of)) && i < int64(len(of)) {
				return Walk(of, Path{{Kind: Index, Index: int(i)}}), nil
			}
		}
		return nil, nil
	case time.Time, time.Duration:
		return runtime.Fetch(of, a[1]), nil
	}
	return nil, nil
}

// method lets only times and durations have methods.
func method(c *invocation, a []any) (any, error) {
	if !isTime(a[0]) {
		return nil, &mistake{c.arg(0) + " is " + KindOf(a[0]) + ", and " + c.name + "() is for times and durations", "functions are called as NAME(VALUE)"}
	}
	return a[0], nil
}

// slice reads x[from:to] of a list or, by characters, of a text.
func slice(c *invocation, a []any) (any, error) {
	if a[0] == nil {
		return nil, nil
	}
	var runes []rune
	s, text := a[0].(string)
	l, list := a[0].([]any)
	size := len(l)
	if text {
		if err := c.grow(4 * len(s)); err != nil {
			return nil, err
		}
		runes = []rune(s)
		size = len(runes)
	} else if !list {
		return nil, c.fail(0, a[0], "a list or a text")
	}
	from, to := 0, size
	for i, bound := range []*int{&from, &to} {
		if a[i+1] == nil {
			continue
		}
		n, err := c.integer(i+1, a[i+1])
		if err != nil {
			return nil, err
		}
		if n < 0 {
			n += int64(size)
		}
		*bound = int(min(max(n, 0), int64(size)))
	}
	from = min(from, to)
	if text {
		return string(runes[from:to]), nil
	}
	return l[from:to:to], nil
}

// truth takes null for false, and nothing else but true and false.
func truth(c *invocation, a []any) (any, error) {
	switch v := a[0].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return nil, c.fail(0, a[0], "true or false")
}

func key(c *invocation, a []any) (any, error) {
	if k, ok := keyText(a[0]); ok {
		return k, nil
	}
	return nil, c.fail(0, a[0], "a text or a number")
}

func (c *invocation) text(i int, v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", c.fail(i, v, "a text")
	}
	return s, nil
}

func (c *invocation) list(i int, v any) ([]any, error) {
	if l, ok := v.([]any); ok {
		return l, nil
	}
	// Functions of expr-lang give lists of other types as well.
	r := reflect.ValueOf(v)
	if k := r.Kind(); k != reflect.Slice && k != reflect.Array {
		return nil, c.fail(i, v, "a list")
	}
	if err := c.grow(itemSize * r.Len()); err != nil {
		return nil, err
	}
	l := make([]any, r.Len())
	for i := range l {
		l[i] = r.Index(i).Interface()
	}
	return l, nil
}

func (c *invocation) integer(i int, v any) (int64, error) {
	n, ok := whole(v)
	if n, ok := n.(int64); ok {
		return n, nil
	}
	if ok {
		return 0, &mistake{"a number is too large for " + c.name, ""}
	}
	return 0, c.fail(i, v, "a whole number")
}

// characters gives the position of a byte of s, counted in characters.
func characters(s string, at int) int64 {
	if at < 0 {
		return -1
	}
	return int64(utf8.RuneCountInString(s[:at]))
}
