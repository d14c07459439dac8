package expr

import (
	"encoding/json"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/builtin"

	"github.com/switchbackhq/switchback/pkg/value"
)

func length(c *invocation, a []any) (any, error) {
	switch v := a[0].(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), nil
	case map[string]any:
		return int64(len(v)), nil
	case nil, bool:
		return nil, c.fail(0, v, "a text, a list or a map")
	}
	l, err := c.list(0, a[0])
	if err != nil {
		err = c.fail(0, a[0], "a text, a list or a map")
	}
	return int64(len(l)), err
}

func typeOf(_ *invocation, a []any) (any, error) {
	if n, ok := a[0].(json.Number); ok {
		if strings.ContainsAny(string(n), ".eE") {
			return "float", nil
		}
		return "int", nil
	}
	return builtin.Type(a[0]), nil
}

func toString(c *invocation, a []any) (any, error) {
	v, _, err := settle(a[0], c.grow, 0)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return "", nil
	}
	return value.Text(v), nil
}

func toJSON(c *invocation, a []any) (any, error) {
	v, _, err := settle(a[0], c.grow, 0)
	if err != nil {
		return nil, err
	}
	b, err := value.Encode(v)
	return string(b), err
}

func fromJSON(c *invocation, a []any) (any, error) {
	s := arg[string](a, 0)
	if err := c.grow(8 * len(s)); err != nil {
		return nil, err
	}
	v, err := value.Decode([]byte(s))
	if err != nil {
		return nil, &mistake{"fromJSON: " + err.Error(), ""}
	}
	return v, nil
}

func split(c *invocation, a []any) (any, error) {
	n := -1
	if len(a) > 2 {
		n = arg[int](a, 2)
	}
	s, at := arg[string](a, 0), arg[string](a, 1)
	if err := c.grow(itemSize * (strings.Count(s, at) + 1)); err != nil {
		return nil, err
	}
	parts := strings.SplitN
	if c.name == "splitAfter" {
		parts = strings.SplitAfterN
	}
	out := []any{}
	for _, part := range parts(s, at, n) {
		out = append(out, part)
	}
	return out, nil
}

func replace(c *invocation, a []any) (any, error) {
	s, from, to, n := arg[string](a, 0), arg[string](a, 1), arg[string](a, 2), -1
	if len(a) > 3 {
		n = arg[int](a, 3)
	}
	times := strings.Count(s, from)
	if n >= 0 {
		times = min(times, n)
	}
	if err := c.growTimes(len(to), times); err != nil {
		return nil, err
	}
	return strings.Replace(s, from, to, n), c.grow(len(s))
}

func repeat(c *invocation, a []any) (any, error) {
	s, n := arg[string](a, 0), arg[int](a, 1)
	if n < 0 {
		return nil, &mistake{"repeat: the number is negative", ""}
	}
	if err := c.growTimes(len(s), n); err != nil {
		return nil, err
	}
	return strings.Repeat(s, n), nil
}

// growTimes takes size bytes, times over.
func (c *invocation) growTimes(size, times int) error {
	if size > 0 && times > math.MaxInt/4/size {
		return errTooLarge
	}
	return c.grow(size * times)
}

// join puts texts together; numbers, true and false are written as in a template.
func join(c *invocation, a []any) (any, error) {
	between := ""
	if len(a) > 1 {
		between = arg[string](a, 1)
	}
	var b strings.Builder
	for i, v := range arg[[]any](a, 0) {
		switch v.(type) {
		case nil, []any, map[string]any:
			return nil, &mistake{"join: an item is " + KindOf(v) + ", not a text", ""}
		}
		s := value.Text(plain(v))
		if err := c.grow(len(s) + len(between)); err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(between)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// index counts characters, as len and [from:to] do.
func index(f func(s, of string) int) operator {
	return func(_ *invocation, a []any) (any, error) {
		s := arg[string](a, 0)
		return characters(s, f(s, arg[string](a, 1))), nil
	}
}
